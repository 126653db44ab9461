#include <cblas.h>

// LAPACK's factorisation of a matrix into an orthogonal and a triangular one, which OpenBLAS holds as well; Debian has no
// header for it beside cblas.h. The matrix is column-major, m by n; see netlib.org/lapack.
void dgeqrf_(const int *m, const int *n, double *a, const int *lda, double *tau, double *work, const int *lwork, int *info);
void dorgqr_(
    const int *m, const int *n, const int *k, double *a, const int *lda, const double *tau, double *work, const int *lwork,
    int *info);
