#include "reductions.h"

#include "vectors.h"

enum { lanes = 16 };

#define SUM(name, T, S)                                                                                                \
    CLONES static void sum_##name(size_t count, const void *from, size_t stride, void *sum) {                          \
        const T *elements = from;                                                                                      \
        S partial[lanes] = {0};                                                                                        \
        size_t index = 0;                                                                                              \
        if (stride == 1) {                                                                                             \
            for (; index + lanes <= count; index += lanes)                                                             \
                for (size_t lane = 0; lane < lanes; lane++) partial[lane] += (S)elements[index + lane];                \
        } else {                                                                                                       \
            for (; index + lanes <= count; index += lanes)                                                             \
                for (size_t lane = 0; lane < lanes; lane++) partial[lane] += (S)elements[(index + lane) * stride];     \
        }                                                                                                              \
        for (size_t lane = 0; index < count; index++, lane++) partial[lane] += (S)elements[index * stride];            \
        for (size_t width = lanes / 2; width > 0; width /= 2)                                                          \
            for (size_t lane = 0; lane < width; lane++) partial[lane] += partial[lane + width];                        \
        *(S *)sum += partial[0];                                                                                       \
    }                                                                                                                  \
    CLONES static void sum_columns_##name(size_t count, const void *from, size_t stride, void *sums) {                 \
        const T *elements = from;                                                                                      \
        S *to = sums;                                                                                                  \
        if (stride == 1) {                                                                                             \
            PARALLEL for (size_t index = 0; index < count; index++) to[index] += (S)elements[index];                   \
        } else {                                                                                                       \
            for (size_t index = 0; index < count; index++) to[index] += (S)elements[index * stride];                   \
        }                                                                                                              \
    }

// Sums of integers wrap around, as unsigned ones do.
SUM(f64, double, double)
SUM(f32, float, double)
SUM(i64, int64_t, uint64_t)
SUM(i32, int32_t, uint64_t)
SUM(i16, int16_t, uint64_t)
SUM(i8, int8_t, uint64_t)
SUM(u8, uint8_t, uint64_t)

nnstore_sum_loop nnstore_sum(nnstore_element type) {
    switch (type) {
        case nnstore_f64: return sum_f64;
        case nnstore_f32: return sum_f32;
        case nnstore_i64: return sum_i64;
        case nnstore_i32: return sum_i32;
        case nnstore_i16: return sum_i16;
        case nnstore_i8: return sum_i8;
        case nnstore_u8:
        case nnstore_bool: return sum_u8;
        default: return 0;
    }
}

nnstore_sum_columns_loop nnstore_sum_columns(nnstore_element type) {
    switch (type) {
        case nnstore_f64: return sum_columns_f64;
        case nnstore_f32: return sum_columns_f32;
        case nnstore_i64: return sum_columns_i64;
        case nnstore_i32: return sum_columns_i32;
        case nnstore_i16: return sum_columns_i16;
        case nnstore_i8: return sum_columns_i8;
        case nnstore_u8:
        case nnstore_bool: return sum_columns_u8;
        default: return 0;
    }
}

#define EXTREME(name, T, BETTER)                                                                                       \
    static void name(                                                                                                  \
        size_t count, const void *from, size_t stride, int64_t from_position, int64_t *position, void *value) {        \
        const T *elements = from;                                                                                      \
        size_t index = 0;                                                                                              \
        int64_t best = *position;                                                                                      \
        if (best < 0) {                                                                                                \
            if (count == 0) return;                                                                                    \
            best = from_position;                                                                                      \
            *(T *)value = elements[index++];                                                                           \
        }                                                                                                              \
        T b = *(T *)value;                                                                                             \
        for (; index < count; index++) {                                                                               \
            T a = elements[index * stride];                                                                            \
            if (BETTER) {                                                                                              \
                b = a;                                                                                                 \
                best = from_position + (int64_t)index;                                                                 \
            }                                                                                                          \
        }                                                                                                              \
        *(T *)value = b;                                                                                               \
        *position = best;                                                                                              \
    }

// NaN is better than all but NaN.
#define EXTREMES_OF_FLOATS(suffix, T)                                                                                  \
    EXTREME(largest_##suffix, T, a > b || (a != a && b == b))                                                          \
    EXTREME(smallest_##suffix, T, a < b || (a != a && b == b))
#define EXTREMES_OF_INTEGERS(suffix, T)                                                                                \
    EXTREME(largest_##suffix, T, a > b)                                                                                \
    EXTREME(smallest_##suffix, T, a < b)

EXTREMES_OF_FLOATS(f64, double)
EXTREMES_OF_FLOATS(f32, float)
EXTREMES_OF_INTEGERS(i64, int64_t)
EXTREMES_OF_INTEGERS(i32, int32_t)
EXTREMES_OF_INTEGERS(i16, int16_t)
EXTREMES_OF_INTEGERS(i8, int8_t)
EXTREMES_OF_INTEGERS(u8, uint8_t)

#define BY_TYPE(function, prefix)                                                                                      \
    nnstore_extreme_loop function(nnstore_element type) {                                                              \
        switch (type) {                                                                                                \
            case nnstore_f64: return prefix##_f64;                                                                     \
            case nnstore_f32: return prefix##_f32;                                                                     \
            case nnstore_i64: return prefix##_i64;                                                                     \
            case nnstore_i32: return prefix##_i32;                                                                     \
            case nnstore_i16: return prefix##_i16;                                                                     \
            case nnstore_i8: return prefix##_i8;                                                                       \
            case nnstore_u8:                                                                                           \
            case nnstore_bool: return prefix##_u8;                                                                     \
            default: return 0;                                                                                         \
        }                                                                                                              \
    }

BY_TYPE(nnstore_largest, largest)
BY_TYPE(nnstore_smallest, smallest)
