#ifndef NNSTORE_FUNCTIONS_H
#define NNSTORE_FUNCTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Functions of rows, images and parameters; for F64 and F32, everything contiguous.

/// softmax of each of `rows` rows of `count` elements, or its logarithm.
void nnstore_softmax_f32(size_t rows, size_t count, const float *from, float *to, bool logarithm);
void nnstore_softmax_f64(size_t rows, size_t count, const double *from, double *to, bool logarithm);

/// The gradient of the argument, of that of the result and the result.
void nnstore_softmax_gradient_f32(
    size_t rows, size_t count, const float *gradient, const float *result, float *to, bool logarithm);
void nnstore_softmax_gradient_f64(
    size_t rows, size_t count, const double *gradient, const double *result, double *to, bool logarithm);

/// Where windows lie in an image with channels, height and width.
typedef struct nnstore_windows {
    size_t channels, height, width;
    size_t kernel_height, kernel_width;
    size_t stride_height, stride_width;
    size_t padding_height, padding_width;
    size_t dilation_height, dilation_width;
    /// The number of windows below and beside each other.
    size_t out_height, out_width;
} nnstore_windows;

/// Writes each element of the windows: [channels * kernel_height * kernel_width, out_height * out_width]; 0 in the padding.
void nnstore_unfold_f32(const nnstore_windows *windows, const float *image, float *columns);
void nnstore_unfold_f64(const nnstore_windows *windows, const double *image, double *columns);

/// Adds each element of the windows to where it came from.
void nnstore_fold_f32(const nnstore_windows *windows, const float *columns, float *image);
void nnstore_fold_f64(const nnstore_windows *windows, const double *columns, double *image);

/// The largest element of each window, [channels, out_height, out_width], and its position in the channel; NaN is the
/// largest, of equals the first one counts.
void nnstore_max_pool_f32(const nnstore_windows *windows, const float *image, float *to, int64_t *positions);
void nnstore_max_pool_f64(const nnstore_windows *windows, const double *image, double *to, int64_t *positions);

// Gathering by index. Everything lies contiguous as [outer, extent, inner]; the result is the first position at `indices`
// whose index is not from 0 to `extent` - 1, where the work ends, or -1 if there is none.

/// to[o, i, n] = from[o, indices[o, i, n], n], for elements of `size` bytes (1, 2, 4 or 8).
int64_t nnstore_gather(
    size_t outer, size_t extent, size_t index_extent, size_t inner, size_t size, const void *from,
    const int64_t *indices, void *to);

/// to[o, indices[o, i, n], n] += from[o, i, n].
int64_t nnstore_scatter_add_f32(
    size_t outer, size_t extent, size_t index_extent, size_t inner, const float *from, const int64_t *indices, float *to);
int64_t nnstore_scatter_add_f64(
    size_t outer, size_t extent, size_t index_extent, size_t inner, const double *from, const int64_t *indices,
    double *to);

/// to[o, i, n] = from[o, indices[i], n], `inner` being in bytes.
int64_t nnstore_take(
    size_t outer, size_t extent, size_t index_count, size_t inner, const void *from, const int64_t *indices, void *to);

/// to[o, indices[i], n] += from[o, i, n].
int64_t nnstore_add_at_f32(
    size_t outer, size_t extent, size_t index_count, size_t inner, const float *from, const int64_t *indices, float *to);
int64_t nnstore_add_at_f64(
    size_t outer, size_t extent, size_t index_count, size_t inner, const double *from, const int64_t *indices, double *to);

/// The product of an m by k and a k by n matrix of integers, which wrap around: to = left right.
void nnstore_multiply_matrices_i64(
    size_t m, size_t n, size_t k, const int64_t *left, size_t left_row, size_t left_column, const int64_t *right,
    size_t right_row, size_t right_column, int64_t *to);

#endif
