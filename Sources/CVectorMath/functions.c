#include "functions.h"

#include <math.h>

#include "vector_functions.h"

enum { lanes = 16 };

// MARK: Rows

#define ROWS(suffix, T, EXP)                                                                                           \
    INLINE T largest_##suffix(size_t count, const T *from) {                                                           \
        T largest = -INFINITY;                                                                                         \
        for (size_t i = 0; i < count; i++) largest = from[i] > largest ? from[i] : largest;                            \
        return largest;                                                                                                \
    }                                                                                                                  \
    /* The sum of the exponentials of the distances from the largest element; these are kept where `to` is given. */   \
    INLINE double sum_of_exponentials_##suffix(size_t count, const T *from, T largest, T *to) {                        \
        double partial[lanes] = {0};                                                                                   \
        size_t i = 0;                                                                                                  \
        for (; i + lanes <= count; i += lanes) {                                                                       \
            T values[lanes];                                                                                           \
            for (size_t lane = 0; lane < lanes; lane++) values[lane] = EXP(from[i + lane] - largest);                  \
            if (to)                                                                                                    \
                for (size_t lane = 0; lane < lanes; lane++) to[i + lane] = values[lane];                               \
            for (size_t lane = 0; lane < lanes; lane++) partial[lane] += (double)values[lane];                         \
        }                                                                                                              \
        for (size_t lane = 0; i < count; i++, lane++) {                                                                \
            T value = EXP(from[i] - largest);                                                                          \
            if (to) to[i] = value;                                                                                     \
            partial[lane] += (double)value;                                                                            \
        }                                                                                                              \
        for (size_t width = lanes / 2; width > 0; width /= 2)                                                          \
            for (size_t lane = 0; lane < width; lane++) partial[lane] += partial[lane + width];                        \
        return partial[0];                                                                                             \
    }                                                                                                                  \
    CLONES void nnstore_softmax_##suffix(size_t rows, size_t count, const T *from, T *to, bool logarithm) {            \
        for (size_t row = 0; row < rows; row++, from += count, to += count) {                                          \
            T largest = largest_##suffix(count, from);                                                                 \
            /* A row of -inf alone is NaN, as are all with NaN. */                                                     \
            if (logarithm) {                                                                                           \
                double sum = sum_of_exponentials_##suffix(count, from, largest, 0);                                    \
                T shift = (T)log(sum);                                                                                 \
                PARALLEL for (size_t i = 0; i < count; i++) to[i] = from[i] - largest - shift;                         \
            } else {                                                                                                   \
                T factor = (T)(1 / sum_of_exponentials_##suffix(count, from, largest, to));                            \
                PARALLEL for (size_t i = 0; i < count; i++) to[i] *= factor;                                           \
            }                                                                                                          \
        }                                                                                                              \
    }                                                                                                                  \
    CLONES void nnstore_softmax_gradient_##suffix(                                                                     \
        size_t rows, size_t count, const T *gradient, const T *result, T *to, bool logarithm) {                        \
        for (size_t row = 0; row < rows; row++, gradient += count, result += count, to += count) {                     \
            double partial[lanes] = {0};                                                                               \
            for (size_t i = 0; i < count; i++) {                                                                       \
                double value = (double)gradient[i];                                                                    \
                partial[i % lanes] += logarithm ? value : value * (double)result[i];                                   \
            }                                                                                                          \
            for (size_t width = lanes / 2; width > 0; width /= 2)                                                      \
                for (size_t lane = 0; lane < width; lane++) partial[lane] += partial[lane + width];                    \
            T sum = (T)partial[0];                                                                                     \
            if (logarithm) {                                                                                           \
                PARALLEL for (size_t i = 0; i < count; i++) to[i] = gradient[i] - EXP(result[i]) * sum;                \
            } else {                                                                                                   \
                PARALLEL for (size_t i = 0; i < count; i++) to[i] = result[i] * (gradient[i] - sum);                   \
            }                                                                                                          \
        }                                                                                                              \
    }

ROWS(f32, float, float_exp)
ROWS(f64, double, exp)

// MARK: Windows

// Calls STEP for each window and each place in it: `column` is the place's position in the columns, `inside` whether it is
// in the image, and `place` where.
#define EACH_PLACE(STEP)                                                                                               \
    size_t column = 0;                                                                                                 \
    for (size_t c = 0; c < w->channels; c++)                                                                           \
        for (size_t ky = 0; ky < w->kernel_height; ky++)                                                               \
            for (size_t kx = 0; kx < w->kernel_width; kx++)                                                            \
                for (size_t oy = 0; oy < w->out_height; oy++) {                                                        \
                    size_t y = oy * w->stride_height + ky * w->dilation_height - w->padding_height;                    \
                    for (size_t ox = 0; ox < w->out_width; ox++, column++) {                                           \
                        size_t x = ox * w->stride_width + kx * w->dilation_width - w->padding_width;                   \
                        /* What is negative wraps around to something larger than any extent. */                       \
                        int inside = y < w->height && x < w->width;                                                    \
                        size_t place = (c * w->height + y) * w->width + x;                                             \
                        STEP                                                                                           \
                    }                                                                                                  \
                }

#define WINDOWS(suffix, T)                                                                                             \
    void nnstore_unfold_##suffix(const nnstore_windows *w, const T *image, T *columns) {                               \
        EACH_PLACE(columns[column] = inside ? image[place] : 0;)                                                       \
    }                                                                                                                  \
    void nnstore_fold_##suffix(const nnstore_windows *w, const T *columns, T *image) {                                 \
        EACH_PLACE(if (inside) image[place] += columns[column];)                                                       \
    }                                                                                                                  \
    void nnstore_max_pool_##suffix(const nnstore_windows *w, const T *image, T *to, int64_t *positions) {              \
        for (size_t c = 0; c < w->channels; c++, image += w->height * w->width)                                        \
            for (size_t oy = 0; oy < w->out_height; oy++)                                                              \
                for (size_t ox = 0; ox < w->out_width; ox++) {                                                         \
                    T largest = -INFINITY;                                                                             \
                    int64_t position = -1;                                                                             \
                    for (size_t ky = 0; ky < w->kernel_height; ky++) {                                                 \
                        size_t y = oy * w->stride_height + ky * w->dilation_height - w->padding_height;                \
                        if (y >= w->height) continue;                                                                  \
                        for (size_t kx = 0; kx < w->kernel_width; kx++) {                                              \
                            size_t x = ox * w->stride_width + kx * w->dilation_width - w->padding_width;               \
                            if (x >= w->width) continue;                                                               \
                            T value = image[y * w->width + x];                                                         \
                            if (position < 0 || value > largest || (value != value && largest == largest)) {           \
                                largest = value;                                                                       \
                                position = (int64_t)(y * w->width + x);                                                \
                            }                                                                                          \
                        }                                                                                              \
                    }                                                                                                  \
                    *to++ = largest;                                                                                   \
                    *positions++ = position;                                                                           \
                }                                                                                                      \
    }

WINDOWS(f32, float)
WINDOWS(f64, double)

// MARK: Gathering

#define GATHER(T)                                                                                                      \
    {                                                                                                                  \
        const T *source = from;                                                                                        \
        T *destination = to;                                                                                           \
        size_t position = 0;                                                                                           \
        for (size_t o = 0; o < outer; o++)                                                                             \
            for (size_t i = 0; i < index_extent; i++)                                                                  \
                for (size_t n = 0; n < inner; n++, position++) {                                                       \
                    uint64_t index = (uint64_t)indices[position];                                                      \
                    if (index >= extent) return (int64_t)position;                                                     \
                    destination[position] = source[(o * extent + index) * inner + n];                                  \
                }                                                                                                      \
        return -1;                                                                                                     \
    }

int64_t nnstore_gather(
    size_t outer, size_t extent, size_t index_extent, size_t inner, size_t size, const void *from,
    const int64_t *indices, void *to) {
    switch (size) {
        case 1: GATHER(uint8_t)
        case 2: GATHER(uint16_t)
        case 4: GATHER(uint32_t)
        default: GATHER(uint64_t)
    }
}

#define ADDING(suffix, T)                                                                                              \
    int64_t nnstore_scatter_add_##suffix(                                                                              \
        size_t outer, size_t extent, size_t index_extent, size_t inner, const T *from, const int64_t *indices, T *to) { \
        size_t position = 0;                                                                                           \
        for (size_t o = 0; o < outer; o++)                                                                             \
            for (size_t i = 0; i < index_extent; i++)                                                                  \
                for (size_t n = 0; n < inner; n++, position++) {                                                       \
                    uint64_t index = (uint64_t)indices[position];                                                      \
                    if (index >= extent) return (int64_t)position;                                                     \
                    to[(o * extent + index) * inner + n] += from[position];                                            \
                }                                                                                                      \
        return -1;                                                                                                     \
    }                                                                                                                  \
    int64_t nnstore_add_at_##suffix(                                                                                   \
        size_t outer, size_t extent, size_t index_count, size_t inner, const T *from, const int64_t *indices, T *to) { \
        for (size_t o = 0; o < outer; o++)                                                                             \
            for (size_t i = 0; i < index_count; i++, from += inner) {                                                  \
                uint64_t index = (uint64_t)indices[i];                                                                 \
                if (index >= extent) return (int64_t)i;                                                                \
                T *row = to + (o * extent + index) * inner;                                                            \
                for (size_t n = 0; n < inner; n++) row[n] += from[n];                                                  \
            }                                                                                                          \
        return -1;                                                                                                     \
    }

ADDING(f32, float)
ADDING(f64, double)

int64_t nnstore_take(
    size_t outer, size_t extent, size_t index_count, size_t inner, const void *from, const int64_t *indices, void *to) {
    const uint8_t *source = from;
    uint8_t *destination = to;
    for (size_t o = 0; o < outer; o++)
        for (size_t i = 0; i < index_count; i++, destination += inner) {
            uint64_t index = (uint64_t)indices[i];
            if (index >= extent) return (int64_t)i;
            memcpy(destination, source + (o * extent + index) * inner, inner);
        }
    return -1;
}

void nnstore_multiply_matrices_i64(
    size_t m, size_t n, size_t k, const int64_t *left, size_t left_row, size_t left_column, const int64_t *right,
    size_t right_row, size_t right_column, int64_t *to) {
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) {
            uint64_t sum = 0;
            for (size_t l = 0; l < k; l++)
                sum += (uint64_t)left[i * left_row + l * left_column] * (uint64_t)right[l * right_row + j * right_column];
            to[i * n + j] = (int64_t)sum;
        }
}
