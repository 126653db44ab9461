#ifndef NNSTORE_NORMALIZATION_H
#define NNSTORE_NORMALIZATION_H

#include <stddef.h>

// Layer normalisation (J. Ba, J. Kiros, G. Hinton: Layer Normalization, 2016) of `rows` rows of `count` contiguous elements.
// Sums are doubles.

/// (x - mean) / sqrt(variance + epsilon) * weight + bias of each row; weight and bias may be NULL. `statistics` gets the mean
/// and the reciprocal of the root of each row.
void nnstore_normalize_rows_f32(
    size_t rows, size_t count, const float *x, const float *weight, const float *bias, double epsilon, float *to,
    double *statistics);
void nnstore_normalize_rows_f64(
    size_t rows, size_t count, const double *x, const double *weight, const double *bias, double epsilon, double *to,
    double *statistics);

/// The gradients, of that of the result. `to` gets that of x; those of weight and bias, `count` each, are added to the sums.
/// What is NULL is not wanted.
void nnstore_normalize_rows_gradient_f32(
    size_t rows, size_t count, const float *gradient, const float *x, const float *weight, const double *statistics,
    float *to, double *weight_sums, double *bias_sums);
void nnstore_normalize_rows_gradient_f64(
    size_t rows, size_t count, const double *gradient, const double *x, const double *weight, const double *statistics,
    double *to, double *weight_sums, double *bias_sums);

#endif
