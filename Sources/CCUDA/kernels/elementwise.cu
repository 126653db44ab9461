// Operations on each element, with operands of any type and strides.

#include "kernel.h"

#include "elementwise.h"

template <typename T> CALLED_FUNCTION T unary_float(int32_t operation, T a) {
    switch (operation) {
    case nnstore_negative: return -a;
    case nnstore_absolute: return magnitude_of(a);
    case nnstore_sign: return (T)((a > 0) - (a < 0));
    case nnstore_relu: return a < 0 ? (T)0 : a;
    case nnstore_exp: return exp_of(a);
    case nnstore_log: return log_of(a);
    case nnstore_sqrt: return sqrt_of(a);
    case nnstore_tanh: return tanh_of(a);
    case nnstore_sigmoid: return (T)1 / ((T)1 + exp_of(-a));
    case nnstore_gelu: return a * ((T)0.5 * erfc_of(-a * (T)0.70710678118654752440));
    case nnstore_erf: return erf_of(a);
    case nnstore_sin: return sin_of(a);
    case nnstore_cos: return cos_of(a);
    case nnstore_floor: return floor_of(a);
    case nnstore_ceil: return ceil_of(a);
    case nnstore_round: return round_of(a);
    case nnstore_is_nan: return (T)(a != a);
    default: return (T)(magnitude_of(a) < (T)INFINITE);
    }
}

template <typename T> CALLED_FUNCTION T binary_float(int32_t operation, T a, T b) {
    switch (operation) {
    case nnstore_add: return a + b;
    case nnstore_subtract: return a - b;
    case nnstore_multiply: return a * b;
    case nnstore_divide: return a / b;
    case nnstore_maximum: return a != a || b != b ? a + b : a > b ? a : b;
    case nnstore_minimum: return a != a || b != b ? a + b : a < b ? a : b;
    case nnstore_power: return power_of(a, b);
    case nnstore_equal: return (T)(a == b);
    case nnstore_not_equal: return (T)(a != b);
    case nnstore_less: return (T)(a < b);
    case nnstore_less_equal: return (T)(a <= b);
    case nnstore_greater: return (T)(a > b);
    case nnstore_greater_equal: return (T)(a >= b);
    case nnstore_relu_gradient: return b > 0 ? a : (T)0;
    case nnstore_tanh_gradient: return a * ((T)1 - b * b);
    case nnstore_sigmoid_gradient: return a * (b * ((T)1 - b));
    default:
        return a * ((T)0.5 * erfc_of(-b * (T)0.70710678118654752440)
                    + b * ((T)0.39894228040143267794 * exp_of((T)-0.5 * b * b)));
    }
}

CALLED_FUNCTION int64_t unary_integer(int32_t operation, int64_t a) {
    switch (operation) {
    case nnstore_negative: return (int64_t)(0 - (uint64_t)a);
    case nnstore_absolute: return a < 0 ? (int64_t)(0 - (uint64_t)a) : a;
    case nnstore_sign: return (a > 0) - (a < 0);
    case nnstore_relu: return a > 0 ? a : 0;
    default: return a == 0;
    }
}

CALLED_FUNCTION int64_t binary_integer(int32_t operation, int64_t a, int64_t b) {
    switch (operation) {
    case nnstore_add: return (int64_t)((uint64_t)a + (uint64_t)b);
    case nnstore_subtract: return (int64_t)((uint64_t)a - (uint64_t)b);
    case nnstore_multiply: return (int64_t)((uint64_t)a * (uint64_t)b);
    case nnstore_maximum: return a > b ? a : b;
    case nnstore_minimum: return a < b ? a : b;
    case nnstore_equal: return a == b;
    case nnstore_not_equal: return a != b;
    case nnstore_less: return a < b;
    case nnstore_less_equal: return a <= b;
    case nnstore_greater: return a > b;
    case nnstore_greater_equal: return a >= b;
    default: return a ^ b;
    }
}

// What is as fast as memory stands here, the rest is called.
template <typename T> FUNCTION T unary(int32_t operation, T a) {
    if (operation == nnstore_relu) return a < 0 ? (T)0 : a;
    return operation == nnstore_negative ? -a : unary_float(operation, a);
}

template <typename T> FUNCTION T binary(int32_t operation, T a, T b) {
    switch (operation) {
    case nnstore_add: return a + b;
    case nnstore_subtract: return a - b;
    case nnstore_multiply: return a * b;
    default: return binary_float(operation, a, b);
    }
}

FUNCTION int64_t unary(int32_t operation, int64_t a) { return unary_integer(operation, a); }
FUNCTION int64_t binary(int32_t operation, int64_t a, int64_t b) { return binary_integer(operation, a, b); }

FUNCTION float number_of(const nnstore_kernel_operand &operand, float) { return (float)operand.number; }
FUNCTION double number_of(const nnstore_kernel_operand &operand, double) { return operand.number; }
FUNCTION int64_t number_of(const nnstore_kernel_operand &operand, int64_t) { return operand.integer; }

template <typename T> FUNCTION T element(const nnstore_kernel_operand &operand, int64_t offset) {
    return operand.address ? load<T>(operand.address, operand.type, offset) : number_of(operand, (T)0);
}

FUNCTION int32_t type_of(float) { return nnstore_kernel_f32; }
FUNCTION int32_t type_of(double) { return nnstore_kernel_f64; }
FUNCTION int32_t type_of(int64_t) { return nnstore_kernel_i64; }

/// Elements that are read and written at once.
template <typename T> struct alignas(16) pack {
    T elements[16 / sizeof(T)];
};

template <typename T> FUNCTION bool is_packed(const nnstore_kernel_operand &operand) {
    return operand.type == type_of((T)0) && operand.strides[0] == 1 && operand.address && operand.address % 16 == 0;
}

/// The elements of a pack, or as many times the one that stands for all.
template <typename T> FUNCTION pack<T> packed(const nnstore_kernel_operand &operand, bool is_all, T one, uint64_t index) {
    if (is_all) return ((const pack<T> *)operand.address)[index];
    pack<T> result;
    for (T &element : result.elements) element = one;
    return result;
}

/// The same for what lies one after another and has the type that is calculated in, which most tensors are: as few and as wide
/// accesses to memory as there can be. Returns whether it was that.
template <typename T> FUNCTION bool packed_elementwise(const nnstore_kernel_elementwise &work) {
    const uint64_t size = 16 / sizeof(T);
    const nnstore_kernel_operand &to = work.operands[0], &left = work.operands[1], &right = work.operands[2];
    bool is_binary = work.kind == nnstore_kernel_binary, is_left = is_packed<T>(left), is_right = is_packed<T>(right);
    if (work.rank || work.kind == nnstore_kernel_select || !is_packed<T>(to)) return false;
    if (!is_left && left.strides[0]) return false;
    if (is_binary && !is_right && right.strides[0]) return false;
    T one_left = is_left ? (T)0 : element<T>(left, 0);
    T one_right = is_right || !is_binary ? (T)0 : element<T>(right, 0);
    EACH(index, work.count / size) {
        pack<T> a = packed(left, is_left, one_left, index);
        if (is_binary) {
            pack<T> b = packed(right, is_right, one_right, index);
            for (uint64_t i = 0; i < size; i++) a.elements[i] = binary(work.operation, a.elements[i], b.elements[i]);
        } else if (work.kind == nnstore_kernel_unary) {
            for (uint64_t i = 0; i < size; i++) a.elements[i] = unary(work.operation, a.elements[i]);
        }
        ((pack<T> *)to.address)[index] = a;
    }
    EACH(rest, work.count % size) {
        int64_t offset = (int64_t)(work.count / size * size + rest);
        T a = is_left ? element<T>(left, offset) : one_left;
        T b = is_binary && is_right ? element<T>(right, offset) : one_right;
        T result = is_binary ? binary(work.operation, a, b)
                             : work.kind == nnstore_kernel_unary ? unary(work.operation, a) : a;
        store<T>(to.address, to.type, offset, result);
    }
    return true;
}

template <typename T> FUNCTION void elementwise(const nnstore_kernel_elementwise &work) {
    if (packed_elementwise<T>(work)) return;
    EACH(index, work.count) {
        int64_t offsets[4];
        for (int lane = 0; lane < 4; lane++) offsets[lane] = (int64_t)index * work.operands[lane].strides[0];
        if (work.rank > 0) {
            for (int lane = 0; lane < 4; lane++) offsets[lane] = 0;
            uint64_t rest = index;
            for (int32_t dimension = work.rank - 1; dimension >= 0; dimension--) {
                int64_t place = (int64_t)take_place(rest, work.extents[dimension]);
                for (int lane = 0; lane < 4; lane++) offsets[lane] += place * work.operands[lane].strides[dimension];
            }
        }
        T result;
        if (work.kind == nnstore_kernel_select) {
            bool condition = load<int64_t>(work.operands[1].address, work.operands[1].type, offsets[1]) != 0;
            result = condition ? element<T>(work.operands[2], offsets[2]) : element<T>(work.operands[3], offsets[3]);
        } else {
            T a = element<T>(work.operands[1], offsets[1]);
            if (work.kind == nnstore_kernel_binary) {
                result = binary(work.operation, a, element<T>(work.operands[2], offsets[2]));
            } else {
                result = work.kind == nnstore_kernel_unary ? unary(work.operation, a) : a;
            }
        }
        store<T>(work.operands[0].address, work.operands[0].type, offsets[0], result);
    }
}

KERNEL(elementwise_f32, nnstore_kernel_elementwise) { elementwise<float>(arguments); }
KERNEL(elementwise_f64, nnstore_kernel_elementwise) { elementwise<double>(arguments); }
KERNEL(elementwise_i64, nnstore_kernel_elementwise) { elementwise<int64_t>(arguments); }
