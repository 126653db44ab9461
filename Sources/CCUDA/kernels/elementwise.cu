// Operations on each element, with operands of any type and strides.

#include "kernel.h"

#include "elementwise.h"

// Functions by the type that is calculated in.
#define FUNCTIONS(T, F)                                                                                                \
    FUNCTION T exp_of(T x) { return F(exp)(x); }                                                                       \
    FUNCTION T log_of(T x) { return F(log)(x); }                                                                       \
    FUNCTION T sqrt_of(T x) { return F(sqrt)(x); }                                                                     \
    FUNCTION T tanh_of(T x) { return F(tanh)(x); }                                                                     \
    FUNCTION T erf_of(T x) { return F(erf)(x); }                                                                       \
    FUNCTION T erfc_of(T x) { return F(erfc)(x); }                                                                     \
    FUNCTION T sin_of(T x) { return F(sin)(x); }                                                                       \
    FUNCTION T cos_of(T x) { return F(cos)(x); }                                                                       \
    FUNCTION T floor_of(T x) { return F(floor)(x); }                                                                   \
    FUNCTION T ceil_of(T x) { return F(ceil)(x); }                                                                     \
    FUNCTION T round_of(T x) { return F(rint)(x); }                                                                    \
    FUNCTION T power_of(T x, T y) { return F(pow)(x, y); }                                                             \
    FUNCTION T magnitude_of(T x) { return F(fabs)(x); }

#define OF_DOUBLE(name) name
#define OF_FLOAT(name) name##f
FUNCTIONS(double, OF_DOUBLE)
FUNCTIONS(float, OF_FLOAT)

template <typename T> FUNCTION T unary_float(int32_t operation, T a) {
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

template <typename T> FUNCTION T binary_float(int32_t operation, T a, T b) {
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

FUNCTION int64_t unary_integer(int32_t operation, int64_t a) {
    switch (operation) {
    case nnstore_negative: return (int64_t)(0 - (uint64_t)a);
    case nnstore_absolute: return a < 0 ? (int64_t)(0 - (uint64_t)a) : a;
    case nnstore_sign: return (a > 0) - (a < 0);
    case nnstore_relu: return a > 0 ? a : 0;
    default: return a == 0;
    }
}

FUNCTION int64_t binary_integer(int32_t operation, int64_t a, int64_t b) {
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

FUNCTION float unary(int32_t operation, float a) { return unary_float(operation, a); }
FUNCTION double unary(int32_t operation, double a) { return unary_float(operation, a); }
FUNCTION int64_t unary(int32_t operation, int64_t a) { return unary_integer(operation, a); }
FUNCTION float binary(int32_t operation, float a, float b) { return binary_float(operation, a, b); }
FUNCTION double binary(int32_t operation, double a, double b) { return binary_float(operation, a, b); }
FUNCTION int64_t binary(int32_t operation, int64_t a, int64_t b) { return binary_integer(operation, a, b); }

FUNCTION float number_of(const nnstore_kernel_operand &operand, float) { return (float)operand.number; }
FUNCTION double number_of(const nnstore_kernel_operand &operand, double) { return operand.number; }
FUNCTION int64_t number_of(const nnstore_kernel_operand &operand, int64_t) { return operand.integer; }

template <typename T> FUNCTION T element(const nnstore_kernel_operand &operand, int64_t offset) {
    return operand.address ? load<T>(operand.address, operand.type, offset) : number_of(operand, (T)0);
}

template <typename T> FUNCTION void elementwise(const nnstore_kernel_elementwise &work) {
    EACH(index, work.count) {
        int64_t offsets[4];
        for (int lane = 0; lane < 4; lane++) offsets[lane] = (int64_t)index * work.operands[lane].strides[0];
        if (work.rank > 0) {
            for (int lane = 0; lane < 4; lane++) offsets[lane] = 0;
            uint64_t rest = index;
            for (int32_t dimension = work.rank - 1; dimension >= 0; dimension--) {
                uint64_t extent = (uint64_t)work.extents[dimension];
                int64_t place = (int64_t)(rest % extent);
                rest /= extent;
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
