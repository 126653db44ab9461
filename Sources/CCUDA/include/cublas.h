#ifndef NNSTORE_CUBLAS_H
#define NNSTORE_CUBLAS_H

#include "cuda_driver.h"

// What NNDevices uses of cuBLAS: types only, as in cuda_driver.h. Names and numbers are those of its reference
// (docs.nvidia.com/cuda/cublas), the same in versions 12 and 13. The functions' names in the library end in _v2 where there is an
// older one without.

typedef struct nnstore_cublas_object *nnstore_cublas;

enum {
    /// cublasOperation_t
    nnstore_cublas_as_it_is = 0,
    nnstore_cublas_transposed = 1,
};

typedef int (*nnstore_cublasCreate)(nnstore_cublas *handle);
typedef int (*nnstore_cublasDestroy)(nnstore_cublas handle);
typedef int (*nnstore_cublasSetStream)(nnstore_cublas handle, nnstore_cu_stream stream);
typedef int (*nnstore_cublasSetWorkspace)(nnstore_cublas handle, nnstore_cu_pointer workspace, size_t bytes);
/// cublasSgemmStridedBatched, with column-major matrices on the device and factors on the host.
typedef int (*nnstore_cublasSgemmStridedBatched)(
    nnstore_cublas handle, int left_operation, int right_operation, int rows, int columns, int inner,
    const float *factor, nnstore_cu_pointer left, int left_stride, long long left_batch, nnstore_cu_pointer right,
    int right_stride, long long right_batch, const float *kept, nnstore_cu_pointer result, int result_stride,
    long long result_batch, int batch);
/// cublasDgemmStridedBatched
typedef int (*nnstore_cublasDgemmStridedBatched)(
    nnstore_cublas handle, int left_operation, int right_operation, int rows, int columns, int inner,
    const double *factor, nnstore_cu_pointer left, int left_stride, long long left_batch, nnstore_cu_pointer right,
    int right_stride, long long right_batch, const double *kept, nnstore_cu_pointer result, int result_stride,
    long long result_batch, int batch);

#endif
