#ifndef NNSTORE_VECTOR_FUNCTIONS_H
#define NNSTORE_VECTOR_FUNCTIONS_H

// Functions of floats without branches, so that loops over them become vector code. Polynomials of exp, log, tanh and erf
// are those of Cephes (S. Moshier, expf.c, logf.c, tanhf.c, ndtrf.c); errors are given in units of the last place (ulp), measured over
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

/// exp(-t²) / t times a polynomial of 1/t², for t from 1 to 2 and beyond: 1 - erf(t) (Cephes, ndtrf.c).
INLINE float float_erfc_of_large(float t) {
    float q = 1.0f / t, z = q * q;
    float p = 2.326819970068386e-2f;
    p = p * z - 1.387039388740657e-1f;
    p = p * z + 3.687424674597105e-1f;
    p = p * z - 5.824733027278666e-1f;
    p = p * z + 6.210004621745983e-1f;
    p = p * z - 4.944515323274145e-1f;
    p = p * z + 3.404879937665872e-1f;
    p = p * z - 2.741127028184656e-1f;
    p = p * z + 5.638259427386472e-1f;
    float r = -1.047766399936249e+1f;
    r = r * z + 1.297719955372516e+1f;
    r = r * z - 7.495518717768503f;
    r = r * z + 2.921019019210786f;
    r = r * z - 1.015265279202700f;
    r = r * z + 4.218463358204948e-1f;
    r = r * z - 2.820767439740514e-1f;
    r = r * z + 5.641895067754075e-1f;
    return float_exp(-t * t) * q * (t < 2.0f ? p : r);
}

/// erf of what lies between -1 and 1 (Cephes, ndtrf.c).
INLINE float float_erf_of_small(float x) {
    float z = x * x;
    float p = 7.853861353153693e-5f;
    p = p * z - 8.010193625184903e-4f;
    p = p * z + 5.188327685732524e-3f;
    p = p * z - 2.685381193529856e-2f;
    p = p * z + 1.128358514861418e-1f;
    p = p * z - 3.761262582423300e-1f;
    p = p * z + 1.128379165726710f;
    return x * p;
}

/// The error function, to 3 ulp.
INLINE float float_erf(float x) {
    float t = fabsf(x);
    // Of NaN the comparison is false, and the sum is NaN.
    float large = 1.0f - float_erfc_of_large(t > 1.0f ? t : 1.0f) + (x - x);
    return t <= 1.0f ? float_erf_of_small(x) : t < 10.0f || x != x ? copysignf(large, x) : copysignf(1.0f, x);
}

/// The probability of a standard normal variable to be smaller than x, small values as exactly as large ones.
INLINE float float_normal_probability(float x) {
    float t = fabsf(x) * 0.707106781186547524f;
    float half = 0.5f * float_erfc_of_large(t > 1.0f ? t : 1.0f);
    float outer = x > 0 ? 1.0f - half : half;
    return t <= 1.0f ? 0.5f + 0.5f * float_erf_of_small(x * 0.707106781186547524f) : outer;
}

/// 1 / (1 + exp(-x)).
INLINE float float_sigmoid(float x) { return 1.0f / (1.0f + float_exp(-x)); }

INLINE double double_sigmoid(double x) { return 1.0 / (1.0 + exp(-x)); }

#endif
