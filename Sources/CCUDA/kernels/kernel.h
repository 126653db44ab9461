// What all kernels have in common. They are compiled by NVRTC for GPUs, and as C++ for a test double of the driver, which calls
// each once and lets it do all the work.

#ifndef NNSTORE_KERNEL_H
#define NNSTORE_KERNEL_H

#include "cuda_kernels.h"

#ifdef __CUDACC_RTC__
#define KERNEL(name, Arguments) extern "C" __global__ void nnstore_kernel_##name(const Arguments arguments)
#define FUNCTION static __device__ __forceinline__
// For what is rare or long: once in the code instead of wherever it is used, so that compiling for the device takes less time.
#define CALLED_FUNCTION static __device__ __noinline__
#define FIRST_INDEX ((uint64_t)blockIdx.x * blockDim.x + threadIdx.x)
#define INDEX_STEP ((uint64_t)gridDim.x * blockDim.x)
#define INFINITE (1.0 / 0.0)
#define LANES_OF_WARP 32u
#define LANES_OF_BLOCK 256u
#define LANE(lanes) (threadIdx.x % (lanes))
#else
#include <cmath>
#define KERNEL(name, Arguments) extern "C" void nnstore_kernel_##name(const Arguments arguments)
#define FUNCTION static inline
#define CALLED_FUNCTION static
#define FIRST_INDEX ((uint64_t)0)
#define INDEX_STEP ((uint64_t)1)
#define INFINITE HUGE_VAL
// One thread does what several do together on a device.
#define LANES_OF_WARP 1u
#define LANES_OF_BLOCK 1u
#define LANE(lanes) 0u
#endif

/// Each piece of work in turn, spread over the threads.
#define EACH(index, count) for (uint64_t index = FIRST_INDEX; index < (count); index += INDEX_STEP)

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

union nnstore_float_bits {
    float value;
    uint32_t bits;
};

FUNCTION uint32_t bits_of(float value) {
    nnstore_float_bits u;
    u.value = value;
    return u.bits;
}

FUNCTION float float_of(uint32_t bits) {
    nnstore_float_bits u;
    u.bits = bits;
    return u.value;
}

FUNCTION float float_of_bf16(uint16_t half) { return float_of((uint32_t)half << 16); }

/// Rounded to the nearest, ties to even; NaN stays one.
FUNCTION uint16_t bf16_of(float value) {
    uint32_t bits = bits_of(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

FUNCTION float float_of_f16(uint16_t half) {
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, magnitude = half & 0x7fff;
    if (magnitude >= 0x7c00) return float_of(sign | 0x7f800000u | (magnitude & 0x3ff) << 13);
    // Exact, subnormal numbers included: the exponent is moved by a multiplication.
    return float_of(sign | bits_of(float_of(magnitude << 13) * 5.192296858534828e33f));
}

FUNCTION uint16_t f16_of(float value) {
    uint32_t bits = bits_of(value), sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
    if (magnitude > 0x7f800000u) return (uint16_t)(sign | 0x7e00);
    // 65520 and more round to infinity.
    if (magnitude >= 0x477ff000u) return (uint16_t)(sign | 0x7c00);
    if (magnitude < 0x38800000u) {
        // Adding one half rounds at the last place of subnormal halves.
        return (uint16_t)(sign | (bits_of(float_of(magnitude) + 0.5f) - 0x3f000000u));
    }
    uint32_t rounded = magnitude + 0xfff + (magnitude >> 13 & 1);
    return (uint16_t)(sign | (rounded - 0x38000000u) >> 13);
}

template <typename T> CALLED_FUNCTION T load_rare(uint64_t address, int32_t type, int64_t index) {
    switch (type) {
    case nnstore_kernel_f16: return (T)float_of_f16(((const uint16_t *)address)[index]);
    case nnstore_kernel_bf16: return (T)float_of_bf16(((const uint16_t *)address)[index]);
    case nnstore_kernel_i64: return (T)((const int64_t *)address)[index];
    case nnstore_kernel_i32: return (T)((const int32_t *)address)[index];
    case nnstore_kernel_i16: return (T)((const short *)address)[index];
    case nnstore_kernel_i8: return (T)((const signed char *)address)[index];
    case nnstore_kernel_u64: return (T)((const uint64_t *)address)[index];
    case nnstore_kernel_u32: return (T)((const uint32_t *)address)[index];
    case nnstore_kernel_u16: return (T)((const uint16_t *)address)[index];
    default: return (T)((const uint8_t *)address)[index];
    }
}

/// An element of any type as a number of the type that is calculated in.
template <typename T> FUNCTION T load(uint64_t address, int32_t type, int64_t index) {
    if (type == nnstore_kernel_f32) return (T)((const float *)address)[index];
    if (type == nnstore_kernel_f64) return (T)((const double *)address)[index];
    return load_rare<T>(address, type, index);
}

/// The type of no element: which one it is is known when the kernel runs.
static const int32_t any_type = -1;

/// The same with a type that is known to the compiler, which so can read ahead.
template <typename T, int32_t known> FUNCTION T load_of_type(uint64_t address, int32_t type, int64_t index) {
    switch (known) {
    case nnstore_kernel_f32: return (T)((const float *)address)[index];
    case nnstore_kernel_f64: return (T)((const double *)address)[index];
    case nnstore_kernel_f16: return (T)float_of_f16(((const uint16_t *)address)[index]);
    case nnstore_kernel_bf16: return (T)float_of_bf16(((const uint16_t *)address)[index]);
    default: return load<T>(address, type, index);
    }
}

template <typename T> CALLED_FUNCTION void store_rare(uint64_t address, int32_t type, int64_t index, T value) {
    switch (type) {
    case nnstore_kernel_f16: ((uint16_t *)address)[index] = f16_of((float)value); break;
    case nnstore_kernel_bf16: ((uint16_t *)address)[index] = bf16_of((float)value); break;
    case nnstore_kernel_i64: ((int64_t *)address)[index] = (int64_t)value; break;
    case nnstore_kernel_i32: ((int32_t *)address)[index] = (int32_t)(int64_t)value; break;
    case nnstore_kernel_i16: ((short *)address)[index] = (short)(int64_t)value; break;
    case nnstore_kernel_i8: ((signed char *)address)[index] = (signed char)(int64_t)value; break;
    case nnstore_kernel_u64: ((uint64_t *)address)[index] = (uint64_t)value; break;
    case nnstore_kernel_u32: ((uint32_t *)address)[index] = (uint32_t)(int64_t)value; break;
    case nnstore_kernel_u16: ((uint16_t *)address)[index] = (uint16_t)(int64_t)value; break;
    case nnstore_kernel_u8: ((uint8_t *)address)[index] = (uint8_t)(int64_t)value; break;
    default: ((uint8_t *)address)[index] = value != (T)0; break;
    }
}

/// The same the other way. Integers keep their lowest bits; everything but 0 is true.
template <typename T> FUNCTION void store(uint64_t address, int32_t type, int64_t index, T value) {
    if (type == nnstore_kernel_f32) {
        ((float *)address)[index] = (float)value;
    } else if (type == nnstore_kernel_f64) {
        ((double *)address)[index] = (double)value;
    } else {
        store_rare<T>(address, type, index, value);
    }
}

/// Takes the place in a dimension off a number. Divisions of 32 bits are many times faster than those of 64.
FUNCTION uint64_t take_place(uint64_t &number, int64_t extent) {
    if (number >> 32) {
        uint64_t place = number % (uint64_t)extent;
        number /= (uint64_t)extent;
        return place;
    }
    // An extent of more than 32 bits is larger than the number.
    if (extent >> 32) {
        uint64_t place = number;
        number = 0;
        return place;
    }
    uint32_t small = (uint32_t)number, quotient = small / (uint32_t)extent;
    number = quotient;
    return small - quotient * (uint32_t)extent;
}

/// Where the element of a number lies, in row-major order of some dimensions.
FUNCTION int64_t offset_in(const nnstore_kernel_walk &walk, uint64_t number) {
    if (walk.rank == 0) return 0;
    int64_t offset = 0;
#pragma unroll 1
    for (int32_t dimension = walk.rank - 1; dimension > 0; dimension--)
        offset += (int64_t)take_place(number, walk.extents[dimension]) * walk.strides[dimension];
    return offset + (int64_t)number * walk.strides[0];
}

#endif
