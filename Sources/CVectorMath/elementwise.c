#include "elementwise.h"

#include <math.h>
#include <stdint.h>

#include "vector_functions.h"

// MARK: Two operands

#define BINARY(name, T, R, EXPRESSION)                                                                                 \
    CLONES static void name(                                                                                           \
        size_t count, const void *left, size_t left_stride, const void *right, size_t right_stride, void *out,         \
        size_t out_stride) {                                                                                           \
        const T *from_left = left, *from_right = right;                                                                \
        R *to = out;                                                                                                   \
        if (out_stride == 1 && left_stride == 1 && right_stride == 1) {                                                \
            PARALLEL for (size_t i = 0; i < count; i++) {                                                              \
                T a = from_left[i], b = from_right[i];                                                                 \
                to[i] = (R)(EXPRESSION);                                                                               \
            }                                                                                                          \
        } else if (out_stride == 1 && left_stride == 1 && right_stride == 0) {                                         \
            T b = from_right[0];                                                                                       \
            PARALLEL for (size_t i = 0; i < count; i++) {                                                              \
                T a = from_left[i];                                                                                    \
                to[i] = (R)(EXPRESSION);                                                                               \
            }                                                                                                          \
        } else if (out_stride == 1 && left_stride == 0 && right_stride == 1) {                                         \
            T a = from_left[0];                                                                                        \
            PARALLEL for (size_t i = 0; i < count; i++) {                                                              \
                T b = from_right[i];                                                                                   \
                to[i] = (R)(EXPRESSION);                                                                               \
            }                                                                                                          \
        } else {                                                                                                       \
            for (size_t i = 0; i < count; i++) {                                                                       \
                T a = from_left[i * left_stride], b = from_right[i * right_stride];                                    \
                to[i * out_stride] = (R)(EXPRESSION);                                                                  \
            }                                                                                                          \
        }                                                                                                              \
    }

// Signed integers wrap around, which C promises of unsigned ones only.
#define INTEGER_BINARIES(suffix, T, U)                                                                                 \
    BINARY(add_##suffix, T, T, (U)a + (U)b)                                                                            \
    BINARY(subtract_##suffix, T, T, (U)a - (U)b)                                                                       \
    BINARY(multiply_##suffix, T, T, (U)((uint64_t)a * (uint64_t)b))                                                    \
    BINARY(maximum_##suffix, T, T, a > b ? a : b)                                                                      \
    BINARY(minimum_##suffix, T, T, a < b ? a : b)                                                                      \
    COMPARISONS(suffix, T)

#define COMPARISONS(suffix, T)                                                                                         \
    BINARY(equal_##suffix, T, uint8_t, a == b)                                                                         \
    BINARY(not_equal_##suffix, T, uint8_t, a != b)                                                                     \
    BINARY(less_##suffix, T, uint8_t, a < b)                                                                           \
    BINARY(less_equal_##suffix, T, uint8_t, a <= b)                                                                    \
    BINARY(greater_##suffix, T, uint8_t, a > b)                                                                        \
    BINARY(greater_equal_##suffix, T, uint8_t, a >= b)

// Of a maximum, a comparison with NaN is false, so the sum lets NaN through from either side.
#define FLOAT_BINARIES(suffix, T, POW)                                                                                 \
    BINARY(add_##suffix, T, T, a + b)                                                                                  \
    BINARY(subtract_##suffix, T, T, a - b)                                                                             \
    BINARY(multiply_##suffix, T, T, a *b)                                                                              \
    BINARY(divide_##suffix, T, T, a / b)                                                                               \
    BINARY(maximum_##suffix, T, T, a != a || b != b ? a + b : a > b ? a : b)                                           \
    BINARY(minimum_##suffix, T, T, a != a || b != b ? a + b : a < b ? a : b)                                           \
    BINARY(power_##suffix, T, T, POW(a, b))                                                                            \
    BINARY(relu_gradient_##suffix, T, T, b > 0 ? a : 0)                                                                \
    BINARY(tanh_gradient_##suffix, T, T, a *(1 - b * b))                                                               \
    BINARY(sigmoid_gradient_##suffix, T, T, a *(b * (1 - b)))                                                          \
    COMPARISONS(suffix, T)

#define SQRT_HALF 0.70710678118654752440
#define INVERSE_SQRT_TWO_PI 0.39894228040143267794

INLINE double double_normal_probability(double x) { return 0.5 * erfc(-x * SQRT_HALF); }

INLINE float gelu_derivative_f32(float x) {
    return float_normal_probability(x) + x * ((float)INVERSE_SQRT_TWO_PI * float_exp(-0.5f * x * x));
}

INLINE double gelu_derivative_f64(double x) {
    return double_normal_probability(x) + x * (INVERSE_SQRT_TWO_PI * exp(-0.5 * x * x));
}

FLOAT_BINARIES(f64, double, pow)
FLOAT_BINARIES(f32, float, powf)
BINARY(gelu_gradient_f64, double, double, a *gelu_derivative_f64(b))
BINARY(gelu_gradient_f32, float, float, a *gelu_derivative_f32(b))
INTEGER_BINARIES(i64, int64_t, uint64_t)
INTEGER_BINARIES(i32, int32_t, uint32_t)
INTEGER_BINARIES(i16, int16_t, uint16_t)
INTEGER_BINARIES(i8, int8_t, uint8_t)
INTEGER_BINARIES(u8, uint8_t, uint8_t)
BINARY(or_bool, uint8_t, uint8_t, a | b)
BINARY(and_bool, uint8_t, uint8_t, a &b)
BINARY(xor_bool, uint8_t, uint8_t, a ^ b)

#define COMPARISON_ENTRIES(suffix)                                                                                     \
    [nnstore_equal] = equal_##suffix, [nnstore_not_equal] = not_equal_##suffix, [nnstore_less] = less_##suffix,        \
    [nnstore_less_equal] = less_equal_##suffix, [nnstore_greater] = greater_##suffix,                                  \
    [nnstore_greater_equal] = greater_equal_##suffix
#define INTEGER_ENTRIES(suffix)                                                                                        \
    {                                                                                                                  \
        [nnstore_add] = add_##suffix, [nnstore_subtract] = subtract_##suffix, [nnstore_multiply] = multiply_##suffix,  \
        [nnstore_maximum] = maximum_##suffix, [nnstore_minimum] = minimum_##suffix, COMPARISON_ENTRIES(suffix)         \
    }
#define FLOAT_ENTRIES(suffix)                                                                                          \
    {                                                                                                                  \
        [nnstore_add] = add_##suffix, [nnstore_subtract] = subtract_##suffix, [nnstore_multiply] = multiply_##suffix,  \
        [nnstore_divide] = divide_##suffix, [nnstore_maximum] = maximum_##suffix,                                      \
        [nnstore_minimum] = minimum_##suffix, [nnstore_power] = power_##suffix,                                        \
        [nnstore_relu_gradient] = relu_gradient_##suffix, [nnstore_tanh_gradient] = tanh_gradient_##suffix,            \
        [nnstore_sigmoid_gradient] = sigmoid_gradient_##suffix, [nnstore_gelu_gradient] = gelu_gradient_##suffix,      \
        COMPARISON_ENTRIES(suffix)                                                                                     \
    }

static const nnstore_binary_loop binary_loops[nnstore_element_count][nnstore_binary_count] = {
    [nnstore_f64] = FLOAT_ENTRIES(f64),
    [nnstore_f32] = FLOAT_ENTRIES(f32),
    [nnstore_i64] = INTEGER_ENTRIES(i64),
    [nnstore_i32] = INTEGER_ENTRIES(i32),
    [nnstore_i16] = INTEGER_ENTRIES(i16),
    [nnstore_i8] = INTEGER_ENTRIES(i8),
    [nnstore_u8] = INTEGER_ENTRIES(u8),
    [nnstore_bool] =
        {[nnstore_add] = or_bool, [nnstore_multiply] = and_bool, [nnstore_exclusive_or] = xor_bool,
         [nnstore_maximum] = or_bool, [nnstore_minimum] = and_bool, COMPARISON_ENTRIES(u8)},
};

nnstore_binary_loop nnstore_binary_operation(nnstore_binary operation, nnstore_element type) {
    return binary_loops[type][operation];
}

// MARK: One operand

#define UNARY(name, T, R, EXPRESSION)                                                                                  \
    CLONES static void name(size_t count, const void *from, size_t from_stride, void *out, size_t out_stride) {        \
        const T *elements = from;                                                                                      \
        R *to = out;                                                                                                   \
        if (out_stride == 1 && from_stride == 1) {                                                                     \
            PARALLEL for (size_t i = 0; i < count; i++) {                                                              \
                T a = elements[i];                                                                                     \
                to[i] = (R)(EXPRESSION);                                                                               \
            }                                                                                                          \
        } else {                                                                                                       \
            for (size_t i = 0; i < count; i++) {                                                                       \
                T a = elements[i * from_stride];                                                                       \
                to[i * out_stride] = (R)(EXPRESSION);                                                                  \
            }                                                                                                          \
        }                                                                                                              \
    }

#define INTEGER_UNARIES(suffix, T, U)                                                                                  \
    UNARY(negative_##suffix, T, T, (U)0 - (U)a)                                                                        \
    UNARY(absolute_##suffix, T, T, a < 0 ? (T)((U)0 - (U)a) : a)                                                       \
    UNARY(sign_##suffix, T, T, (a > 0) - (a < 0))                                                                      \
    UNARY(relu_##suffix, T, T, a > 0 ? a : 0)

#define FLOAT_UNARIES(suffix, T, OF, EXP, LOG, TANH, SIGMOID, ERF, NORMAL)                                             \
    UNARY(negative_##suffix, T, T, -a)                                                                                 \
    UNARY(absolute_##suffix, T, T, OF(fabs)(a))                                                                        \
    UNARY(sign_##suffix, T, T, (T)((a > 0) - (a < 0)))                                                                 \
    UNARY(relu_##suffix, T, T, a < 0 ? 0 : a)                                                                          \
    UNARY(exp_##suffix, T, T, EXP(a))                                                                                  \
    UNARY(log_##suffix, T, T, LOG(a))                                                                                  \
    UNARY(sqrt_##suffix, T, T, OF(sqrt)(a))                                                                            \
    UNARY(tanh_##suffix, T, T, TANH(a))                                                                                \
    UNARY(sigmoid_##suffix, T, T, SIGMOID(a))                                                                          \
    UNARY(gelu_##suffix, T, T, a *NORMAL(a))                                                                           \
    UNARY(erf_##suffix, T, T, ERF(a))                                                                                  \
    UNARY(sin_##suffix, T, T, OF(sin)(a))                                                                              \
    UNARY(cos_##suffix, T, T, OF(cos)(a))                                                                              \
    UNARY(floor_##suffix, T, T, OF(floor)(a))                                                                          \
    UNARY(ceil_##suffix, T, T, OF(ceil)(a))                                                                            \
    UNARY(round_##suffix, T, T, OF(rint)(a))                                                                           \
    UNARY(is_nan_##suffix, T, uint8_t, a != a)                                                                         \
    UNARY(is_finite_##suffix, T, uint8_t, OF(fabs)(a) < (T)INFINITY)

#define OF_F64(name) name
#define OF_F32(name) name##f

FLOAT_UNARIES(f64, double, OF_F64, exp, log, tanh, double_sigmoid, erf, double_normal_probability)
FLOAT_UNARIES(f32, float, OF_F32, float_exp, float_log, float_tanh, float_sigmoid, float_erf, float_normal_probability)
INTEGER_UNARIES(i64, int64_t, uint64_t)
INTEGER_UNARIES(i32, int32_t, uint32_t)
INTEGER_UNARIES(i16, int16_t, uint16_t)
INTEGER_UNARIES(i8, int8_t, uint8_t)
INTEGER_UNARIES(u8, uint8_t, uint8_t)
UNARY(not_bool, uint8_t, uint8_t, a ^ 1)

#define INTEGER_UNARY_ENTRIES(suffix)                                                                                  \
    {                                                                                                                  \
        [nnstore_negative] = negative_##suffix, [nnstore_absolute] = absolute_##suffix, [nnstore_sign] = sign_##suffix,\
        [nnstore_relu] = relu_##suffix                                                                                 \
    }
#define FLOAT_UNARY_ENTRIES(suffix)                                                                                    \
    {                                                                                                                  \
        [nnstore_negative] = negative_##suffix, [nnstore_absolute] = absolute_##suffix, [nnstore_sign] = sign_##suffix,\
        [nnstore_relu] = relu_##suffix, [nnstore_exp] = exp_##suffix, [nnstore_log] = log_##suffix,                    \
        [nnstore_sqrt] = sqrt_##suffix, [nnstore_tanh] = tanh_##suffix, [nnstore_sigmoid] = sigmoid_##suffix,          \
        [nnstore_gelu] = gelu_##suffix, [nnstore_erf] = erf_##suffix, [nnstore_sin] = sin_##suffix,                    \
        [nnstore_cos] = cos_##suffix, [nnstore_floor] = floor_##suffix, [nnstore_ceil] = ceil_##suffix,                \
        [nnstore_round] = round_##suffix, [nnstore_is_nan] = is_nan_##suffix, [nnstore_is_finite] = is_finite_##suffix \
    }

static const nnstore_unary_loop unary_loops[nnstore_element_count][nnstore_unary_count] = {
    [nnstore_f64] = FLOAT_UNARY_ENTRIES(f64), [nnstore_f32] = FLOAT_UNARY_ENTRIES(f32),
    [nnstore_i64] = INTEGER_UNARY_ENTRIES(i64), [nnstore_i32] = INTEGER_UNARY_ENTRIES(i32),
    [nnstore_i16] = INTEGER_UNARY_ENTRIES(i16), [nnstore_i8] = INTEGER_UNARY_ENTRIES(i8),
    [nnstore_u8] = INTEGER_UNARY_ENTRIES(u8),   [nnstore_bool] = {[nnstore_not] = not_bool},
};

nnstore_unary_loop nnstore_unary_operation(nnstore_unary operation, nnstore_element type) {
    return unary_loops[type][operation];
}

// MARK: Selection

#define SELECT(name, T)                                                                                                \
    CLONES static void name(                                                                                           \
        size_t count, const void *condition, size_t condition_stride, const void *left, size_t left_stride,            \
        const void *right, size_t right_stride, void *out, size_t out_stride) {                                        \
        const uint8_t *flags = condition;                                                                              \
        const T *from_left = left, *from_right = right;                                                                \
        T *to = out;                                                                                                   \
        if (condition_stride == 1 && left_stride == 1 && right_stride == 1 && out_stride == 1) {                       \
            PARALLEL for (size_t i = 0; i < count; i++) {                                                              \
                T a = from_left[i], b = from_right[i];                                                                 \
                to[i] = flags[i] ? a : b;                                                                              \
            }                                                                                                          \
        } else {                                                                                                       \
            for (size_t i = 0; i < count; i++) {                                                                       \
                T a = from_left[i * left_stride], b = from_right[i * right_stride];                                    \
                to[i * out_stride] = flags[i * condition_stride] ? a : b;                                              \
            }                                                                                                          \
        }                                                                                                              \
    }

SELECT(select_1, uint8_t)
SELECT(select_2, uint16_t)
SELECT(select_4, uint32_t)
SELECT(select_8, uint64_t)

nnstore_select_loop nnstore_select_operation(size_t size) {
    switch (size) {
        case 1: return select_1;
        case 2: return select_2;
        case 4: return select_4;
        case 8: return select_8;
        default: return 0;
    }
}
