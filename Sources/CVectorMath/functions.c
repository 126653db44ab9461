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
