#include "normalization.h"

#include <math.h>

#include "vectors.h"

enum { lanes = 16 };

// Sixteen sums run beside each other and are added in one order at the end, so the bits do not depend on the processor.
INLINE double sum_of(double partial[lanes]) {
    for (size_t width = lanes / 2; width > 0; width /= 2)
        for (size_t lane = 0; lane < width; lane++) partial[lane] += partial[lane + width];
    return partial[0];
}

// Adds TERM, an expression of i, for each element to `result`.
#define ADD_UP(result, TERM)                                                                                           \
    double result;                                                                                                     \
    {                                                                                                                  \
        double partial[lanes] = {0};                                                                                   \
        size_t start = 0;                                                                                              \
        for (; start + lanes <= count; start += lanes)                                                                 \
            for (size_t lane = 0; lane < lanes; lane++) {                                                              \
                size_t i = start + lane;                                                                               \
                partial[lane] += TERM;                                                                                 \
            }                                                                                                          \
        for (size_t i = start; i < count; i++) partial[i - start] += TERM;                                             \
        result = sum_of(partial);                                                                                      \
    }

#define NORMALIZATION(suffix, T)                                                                                       \
    CLONES void nnstore_normalize_rows_##suffix(                                                                       \
        size_t rows, size_t count, const T *x, const T *weight, const T *bias, double epsilon, T *to,                  \
        double *statistics) {                                                                                          \
        for (size_t row = 0; row < rows; row++, x += count, to += count, statistics += 2) {                            \
            ADD_UP(sum, (double)x[i])                                                                                  \
            double mean = sum / (double)count;                                                                         \
            ADD_UP(squares, ((double)x[i] - mean) * ((double)x[i] - mean))                                             \
            double scale = 1 / sqrt(squares / (double)count + epsilon);                                                \
            statistics[0] = mean;                                                                                      \
            statistics[1] = scale;                                                                                     \
            PARALLEL for (size_t i = 0; i < count; i++) to[i] = (T)(((double)x[i] - mean) * scale);                    \
            if (weight) {                                                                                              \
                PARALLEL for (size_t i = 0; i < count; i++) to[i] *= weight[i];                                        \
            }                                                                                                          \
            if (bias) {                                                                                                \
                PARALLEL for (size_t i = 0; i < count; i++) to[i] += bias[i];                                          \
            }                                                                                                          \
        }                                                                                                              \
    }                                                                                                                  \
                                                                                                                       \
    CLONES void nnstore_normalize_rows_gradient_##suffix(                                                              \
        size_t rows, size_t count, const T *gradient, const T *x, const T *weight, const double *statistics, T *to,    \
        double *weight_sums, double *bias_sums) {                                                                      \
        for (size_t row = 0; row < rows; row++, x += count, gradient += count, statistics += 2) {                      \
            double mean = statistics[0], scale = statistics[1];                                                        \
            if (weight_sums) {                                                                                         \
                PARALLEL for (size_t i = 0; i < count; i++)                                                            \
                    weight_sums[i] += (double)gradient[i] * (((double)x[i] - mean) * scale);                           \
            }                                                                                                          \
            if (bias_sums) {                                                                                           \
                PARALLEL for (size_t i = 0; i < count; i++) bias_sums[i] += (double)gradient[i];                       \
            }                                                                                                          \
            if (!to) continue;                                                                                         \
            if (weight) {                                                                                              \
                PARALLEL for (size_t i = 0; i < count; i++) to[i] = gradient[i] * weight[i];                           \
            } else {                                                                                                   \
                PARALLEL for (size_t i = 0; i < count; i++) to[i] = gradient[i];                                       \
            }                                                                                                          \
            ADD_UP(sum, (double)to[i])                                                                                 \
            ADD_UP(product, (double)to[i] * (((double)x[i] - mean) * scale))                                           \
            double shift = sum / (double)count, slope = product / (double)count;                                       \
            PARALLEL for (size_t i = 0; i < count; i++)                                                                \
                to[i] = (T)(scale * ((double)to[i] - shift - ((double)x[i] - mean) * scale * slope));                  \
            to += count;                                                                                               \
        }                                                                                                              \
    }

NORMALIZATION(f32, float)
NORMALIZATION(f64, double)
