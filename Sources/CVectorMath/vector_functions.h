#ifndef NNSTORE_VECTOR_FUNCTIONS_H
#define NNSTORE_VECTOR_FUNCTIONS_H

// Functions of floats without branches, so that loops over them become vector code. Polynomials of exp, log and tanh are
// those of Cephes (S. Moshier, expf.c, logf.c, tanhf.c); errors are given in units of the last place (ulp), measured over
// all floats.

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "vectors.h"

INLINE uint32_t bits_of_float(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

INLINE float float_of_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/// 2 to the power of an integer from -126 to 127.
INLINE float power_of_two(int32_t exponent) { return float_of_bits((uint32_t)(exponent + 127) << 23); }

/// exp, to 1 ulp; gradual underflow included.
INLINE float float_exp(float x) {
    // Beyond these the result is infinite or 0. NaN fails both comparisons and stays.
    x = x > 89.0f ? 89.0f : x;
    x = x < -104.0f ? -104.0f : x;
    // Adding 1.5 * 2^23 rounds to an integer, which then stands in the lowest bits.
    const float shift = 12582912.0f;
    float shifted = x * 1.44269504088896341f + shift;
    float n = shifted - shift;
    int32_t exponent = (int32_t)(bits_of_float(shifted) - bits_of_float(shift));
    // ln 2 in two parts, the first one short enough for n times it to be exact.
    float r = x - n * 0.693359375f;
    r = r - n * -2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    // In two steps, because 2^128 and 2^-150 are no floats.
    int32_t half = exponent >> 1;
    return p * power_of_two(half) * power_of_two(exponent - half);
}

/// The natural logarithm, to 1 ulp.
INLINE float float_log(float x) {
    int subnormal = x < 1.17549435e-38f;
    float scaled = subnormal ? x * 8388608.0f : x;
    // The mantissa between sqrt(1/2) and sqrt(2).
    uint32_t bits = bits_of_float(scaled) - 0x3f3504f3u;
    int32_t exponent = ((int32_t)bits >> 23) - (subnormal ? 23 : 0);
    float m = float_of_bits((bits & 0x007fffffu) + 0x3f3504f3u) - 1.0f;
    float e = (float)exponent;
    float p = 7.0376836292e-2f;
    p = p * m - 1.1514610310e-1f;
    p = p * m + 1.1676998740e-1f;
    p = p * m - 1.2420140846e-1f;
    p = p * m + 1.4249322787e-1f;
    p = p * m - 1.6668057665e-1f;
    p = p * m + 2.0000714765e-1f;
    p = p * m - 2.4999993993e-1f;
    p = p * m + 3.3333331174e-1f;
    float z = m * m;
    float y = p * m * z;
    y = y + e * -2.12194440e-4f;
    y = y - 0.5f * z;
    float result = m + y + e * 0.693359375f;
    result = x == 0.0f ? -INFINITY : result;
    result = x < 0.0f ? NAN : result;
    // Infinity and NaN stay as they are.
    return x < INFINITY ? result : x;
}

/// The hyperbolic tangent, to 2 ulp.
INLINE float float_tanh(float x) {
    float z = x * x;
    float p = -5.70498872745e-3f;
    p = p * z + 2.06390887954e-2f;
    p = p * z - 5.37397155531e-2f;
    p = p * z + 1.33314422036e-1f;
    p = p * z - 3.33332819422e-1f;
    float small = p * z * x + x;
    float magnitude = fabsf(x);
    float large = 1.0f - 2.0f / (float_exp(magnitude + magnitude) + 1.0f);
    // The sum of two zeros would lose the sign of -0.
    return copysignf(magnitude < 0.625f ? small : large, x);
}

/// 1 / (1 + exp(-x)).
INLINE float float_sigmoid(float x) { return 1.0f / (1.0f + float_exp(-x)); }

INLINE double double_sigmoid(double x) { return 1.0 / (1.0 + exp(-x)); }

#endif
