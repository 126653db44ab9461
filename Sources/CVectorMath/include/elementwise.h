#ifndef NNSTORE_ELEMENTWISE_H
#define NNSTORE_ELEMENTWISE_H

#include <stddef.h>

#include "element_types.h"

/// Operations with two operands. Where nothing else is said, both and the result have one type.
typedef enum nnstore_binary {
    /// Sum; of booleans: or.
    nnstore_add,
    /// Difference; not of booleans.
    nnstore_subtract,
    /// Product; of booleans: and.
    nnstore_multiply,
    /// Quotient, of floats only.
    nnstore_divide,
    /// The larger one; NaN if one is NaN.
    nnstore_maximum,
    /// The smaller one; NaN if one is NaN.
    nnstore_minimum,
    /// Power, of floats only.
    nnstore_power,
    /// Comparisons, whose result is a boolean.
    nnstore_equal,
    nnstore_not_equal,
    nnstore_less,
    nnstore_less_equal,
    nnstore_greater,
    nnstore_greater_equal,
    /// Exclusive or, of booleans only.
    nnstore_exclusive_or,
    /// Derivatives of floats: the first operand is the gradient of the result, the second one is the result (relu, tanh,
    /// sigmoid) or the argument (gelu).
    nnstore_relu_gradient,
    nnstore_tanh_gradient,
    nnstore_sigmoid_gradient,
    nnstore_gelu_gradient,
    nnstore_binary_count,
} nnstore_binary;

/// Operations with one operand. Where nothing else is said they are for floats, F32 and F64.
typedef enum nnstore_unary {
    /// For all types but booleans.
    nnstore_negative,
    /// For all types but booleans.
    nnstore_absolute,
    /// -1, 0 or 1; 0 for NaN, as in PyTorch. For all types but booleans.
    nnstore_sign,
    /// 0 for what is negative; NaN stays. For all types but booleans.
    nnstore_relu,
    nnstore_exp,
    nnstore_log,
    nnstore_sqrt,
    nnstore_tanh,
    nnstore_sigmoid,
    /// x Φ(x), Φ by the error function.
    nnstore_gelu,
    nnstore_erf,
    nnstore_sin,
    nnstore_cos,
    nnstore_floor,
    nnstore_ceil,
    /// To the nearest integer, ties to even.
    nnstore_round,
    /// Whether it is NaN, as a boolean.
    nnstore_is_nan,
    /// Whether it is neither infinite nor NaN, as a boolean.
    nnstore_is_finite,
    /// Not, of booleans only.
    nnstore_not,
    nnstore_unary_count,
} nnstore_unary;

typedef void (*nnstore_binary_loop)(
    size_t count, const void *left, size_t left_stride, const void *right, size_t right_stride, void *out,
    size_t out_stride);
typedef void (*nnstore_unary_loop)(size_t count, const void *from, size_t from_stride, void *out, size_t out_stride);
typedef void (*nnstore_select_loop)(
    size_t count, const void *condition, size_t condition_stride, const void *left, size_t left_stride,
    const void *right, size_t right_stride, void *out, size_t out_stride);

/// The loop of an operation on elements of a type; NULL if there is none.
nnstore_binary_loop nnstore_binary_operation(nnstore_binary operation, nnstore_element type);

/// The loop of an operation on elements of a type; NULL if there is none.
nnstore_unary_loop nnstore_unary_operation(nnstore_unary operation, nnstore_element type);

/// The loop that takes elements of `size` bytes (1, 2, 4 or 8) from the left where the condition, a boolean, is true, and
/// from the right where it is not.
nnstore_select_loop nnstore_select_operation(size_t size);

#endif
