#include "conversion.h"

#include <stdint.h>
#include <string.h>

#include "vector_functions.h"

// A half is a type of its own here, so that the loops below know what stands in its 16 bits.
typedef struct {
    uint16_t bits;
} half;
typedef struct {
    uint16_t bits;
} brain;

/// binary16 to binary32, exactly.
INLINE float float_of_half(half value) {
    uint32_t sign = (uint32_t)(value.bits & 0x8000) << 16;
    uint32_t magnitude = value.bits & 0x7fff;
    // Normal numbers: exponent and fraction moved into place, the bias corrected by a product that is exact; it makes
    // normal floats of subnormal halves too. Infinity and NaN get the largest exponent.
    float scaled = float_of_bits(magnitude << 13) * 0x1p112f;
    uint32_t special = magnitude << 13 | 0x7f800000;
    uint32_t bits = magnitude >= 0x7c00 ? special : bits_of_float(scaled);
    return float_of_bits(sign | bits);
}

/// binary32 to binary16, to the nearest, ties to even.
INLINE half half_of_float(float value) {
    uint32_t bits = bits_of_float(value);
    uint32_t sign = bits >> 16 & 0x8000;
    uint32_t magnitude = bits & 0x7fffffff;
    // Normal: the bias moves, and half of the last place, less one where it is even, rounds.
    uint32_t normal = (magnitude - 0x38000000 + 0xfff + (magnitude >> 13 & 1)) >> 13;
    // Subnormal: adding 2^-1 puts the last place of the half at the last place of the float, which rounds.
    uint32_t subnormal = bits_of_float(float_of_bits(magnitude) + 0.5f) - bits_of_float(0.5f);
    uint32_t special = magnitude > 0x7f800000 ? 0x7e00 : 0x7c00;
    // 65520 and above round to infinity.
    uint32_t result = magnitude < 0x38800000 ? subnormal : magnitude >= 0x477ff000 ? special : normal;
    return (half){(uint16_t)(sign | result)};
}

INLINE float float_of_brain(brain value) { return float_of_bits((uint32_t)value.bits << 16); }

/// binary32 to bfloat16, to the nearest, ties to even.
INLINE brain brain_of_float(float value) {
    uint32_t bits = bits_of_float(value);
    uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    uint32_t nan = (bits >> 16 & 0x8000) | 0x7fc0;
    return (brain){(uint16_t)((bits & 0x7fffffff) > 0x7f800000 ? nan : rounded)};
}

/// What lies outside I64 becomes its nearest end, NaN becomes 0.
INLINE int64_t integer_of_double(double value) {
    if (value >= 0x1p63) return INT64_MAX;
    if (value < -0x1p63) return INT64_MIN;
    return value != value ? 0 : (int64_t)value;
}

/// As integer_of_double, but what is positive and fits U64 stays.
INLINE uint64_t unsigned_of_double(double value) {
    if (value >= 0x1p64) return UINT64_MAX;
    return value >= 0x1p63 ? (uint64_t)value : (uint64_t)integer_of_double(value);
}

// Vector code of all of them would be a megabyte, so only conversions between floats are compiled more than once.
#define FAST(name, FROM, TO, EXPRESSION) LOOP(CLONES, name, FROM, TO, EXPRESSION)
#define PLAIN(name, FROM, TO, EXPRESSION) LOOP(, name, FROM, TO, EXPRESSION)
#define LOOP(ATTRIBUTES, name, FROM, TO, EXPRESSION)                                                                   \
    ATTRIBUTES static void name(size_t count, const void *from, size_t from_stride, void *to, size_t to_stride) {      \
        const FROM *source = from;                                                                                     \
        TO *destination = to;                                                                                          \
        if (from_stride == 1 && to_stride == 1) {                                                                      \
            PARALLEL for (size_t i = 0; i < count; i++) {                                                              \
                FROM a = source[i];                                                                                    \
                destination[i] = EXPRESSION;                                                                           \
            }                                                                                                          \
        } else {                                                                                                       \
            for (size_t i = 0; i < count; i++) {                                                                       \
                FROM a = source[i * from_stride];                                                                      \
                destination[i * to_stride] = EXPRESSION;                                                               \
            }                                                                                                          \
        }                                                                                                              \
    }

// From a type, by the C number that NUMBER makes of it. Halves are made of F32, as everywhere.
#define FROM(FLOATS, name, T, NUMBER, INTEGER, UNSIGNED)                                                               \
    FLOATS(name##_to_f64, T, double, (double)NUMBER(a))                                                                \
    FLOATS(name##_to_f32, T, float, (float)NUMBER(a))                                                                  \
    FLOATS(name##_to_f16, T, half, half_of_float((float)NUMBER(a)))                                                    \
    FLOATS(name##_to_bf16, T, brain, brain_of_float((float)NUMBER(a)))                                                 \
    PLAIN(name##_to_i64, T, int64_t, INTEGER(NUMBER(a)))                                                               \
    PLAIN(name##_to_i32, T, int32_t, (int32_t)(uint32_t)(uint64_t)INTEGER(NUMBER(a)))                                  \
    PLAIN(name##_to_i16, T, int16_t, (int16_t)(uint16_t)(uint64_t)INTEGER(NUMBER(a)))                                  \
    PLAIN(name##_to_i8, T, int8_t, (int8_t)(uint8_t)(uint64_t)INTEGER(NUMBER(a)))                                      \
    PLAIN(name##_to_u64, T, uint64_t, UNSIGNED(NUMBER(a)))                                                             \
    PLAIN(name##_to_u32, T, uint32_t, (uint32_t)(uint64_t)INTEGER(NUMBER(a)))                                          \
    PLAIN(name##_to_u16, T, uint16_t, (uint16_t)(uint64_t)INTEGER(NUMBER(a)))                                          \
    PLAIN(name##_to_u8, T, uint8_t, (uint8_t)(uint64_t)INTEGER(NUMBER(a)))                                             \
    PLAIN(name##_to_bool, T, uint8_t, NUMBER(a) != 0)

#define SAME(x) (x)
#define AS_SIGNED(x) ((int64_t)(x))
#define AS_UNSIGNED(x) ((uint64_t)(x))
#define FROM_FLOAT(name, T, NUMBER) FROM(FAST, name, T, NUMBER, integer_of_double, unsigned_of_double)
#define FROM_INTEGER(name, T) FROM(PLAIN, name, T, SAME, AS_SIGNED, AS_UNSIGNED)

FROM_FLOAT(f64, double, SAME)
FROM_FLOAT(f32, float, SAME)
FROM_FLOAT(f16, half, float_of_half)
FROM_FLOAT(bf16, brain, float_of_brain)
FROM_INTEGER(i64, int64_t)
FROM_INTEGER(i32, int32_t)
FROM_INTEGER(i16, int16_t)
FROM_INTEGER(i8, int8_t)
FROM_INTEGER(u64, uint64_t)
FROM_INTEGER(u32, uint32_t)
FROM_INTEGER(u16, uint16_t)
FROM_INTEGER(u8, uint8_t)
FAST(copy_1, uint8_t, uint8_t, a)
FAST(copy_2, uint16_t, uint16_t, a)
FAST(copy_4, uint32_t, uint32_t, a)
FAST(copy_8, uint64_t, uint64_t, a)

#define ENTRIES(name)                                                                                                  \
    {                                                                                                                  \
        [nnstore_f64] = name##_to_f64, [nnstore_f32] = name##_to_f32, [nnstore_f16] = name##_to_f16,                   \
        [nnstore_bf16] = name##_to_bf16, [nnstore_i64] = name##_to_i64, [nnstore_i32] = name##_to_i32,                 \
        [nnstore_i16] = name##_to_i16, [nnstore_i8] = name##_to_i8, [nnstore_u64] = name##_to_u64,                     \
        [nnstore_u32] = name##_to_u32, [nnstore_u16] = name##_to_u16, [nnstore_u8] = name##_to_u8,                     \
        [nnstore_bool] = name##_to_bool                                                                                \
    }

static const nnstore_conversion loops[nnstore_element_count][nnstore_element_count] = {
    [nnstore_f64] = ENTRIES(f64),   [nnstore_f32] = ENTRIES(f32), [nnstore_f16] = ENTRIES(f16),
    [nnstore_bf16] = ENTRIES(bf16), [nnstore_i64] = ENTRIES(i64), [nnstore_i32] = ENTRIES(i32),
    [nnstore_i16] = ENTRIES(i16),   [nnstore_i8] = ENTRIES(i8),   [nnstore_u64] = ENTRIES(u64),
    [nnstore_u32] = ENTRIES(u32),   [nnstore_u16] = ENTRIES(u16), [nnstore_u8] = ENTRIES(u8),
    [nnstore_bool] = ENTRIES(u8),
};

// What changes no bit; a conversion between equal floats would make NaNs quiet.
static nnstore_conversion copying(nnstore_element type) {
    switch (type) {
        case nnstore_f64:
        case nnstore_i64:
        case nnstore_u64: return copy_8;
        case nnstore_f32:
        case nnstore_i32:
        case nnstore_u32: return copy_4;
        case nnstore_f16:
        case nnstore_bf16:
        case nnstore_i16:
        case nnstore_u16: return copy_2;
        default: return copy_1;
    }
}

nnstore_conversion nnstore_conversion_loop(nnstore_element from, nnstore_element to) {
    return from == to ? copying(from) : loops[from][to];
}
