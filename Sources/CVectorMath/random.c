#include "random.h"

#include <math.h>
#include <string.h>

#include "vectors.h"

INLINE void philox(uint64_t seed, uint64_t counter, uint32_t words[4]) {
    uint32_t c0 = (uint32_t)counter, c1 = (uint32_t)(counter >> 32), c2 = 0, c3 = 0;
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53 * c0, p1 = (uint64_t)0xCD9E8D57 * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += 0x9E3779B9;
        k1 += 0xBB67AE85;
    }
    words[0] = c0;
    words[1] = c1;
    words[2] = c2;
    words[3] = c3;
}

void nnstore_philox(uint64_t seed, uint64_t counter, uint32_t words[4]) { philox(seed, counter, words); }

/// ln of a number from 2^-64 to 1, to about 1 ulp: the series of artanh, whose argument is at most 0.172.
INLINE double logarithm(double x) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    // The mantissa between sqrt(1/2) and sqrt(2).
    uint64_t moved = bits - 0x3fe6a09e667f3bcdull;
    double e = (double)((int64_t)moved >> 52);
    bits = (moved & 0x000fffffffffffffull) + 0x3fe6a09e667f3bcdull;
    double m;
    memcpy(&m, &bits, sizeof m);
    double s = (m - 1) / (m + 1), z = s * s;
    double p = 1.0 / 23;
    p = p * z + 1.0 / 21;
    p = p * z + 1.0 / 19;
    p = p * z + 1.0 / 17;
    p = p * z + 1.0 / 15;
    p = p * z + 1.0 / 13;
    p = p * z + 1.0 / 11;
    p = p * z + 1.0 / 9;
    p = p * z + 1.0 / 7;
    p = p * z + 1.0 / 5;
    p = p * z + 1.0 / 3;
    return e * 0.693147180559945309417 + (2 * s + 2 * s * z * p);
}

/// cos(2πu) and sin(2πu) of a number from [0, 1): Taylor's series within an eighth of the circle.
INLINE void circle(double u, double *cosine, double *sine) {
    double quarter = floor(4 * u + 0.5);
    double y = (u - 0.25 * quarter) * 6.283185307179586476925;
    double z = y * y;
    double c = 1.0 / 20922789888000.0;
    c = c * z - 1.0 / 87178291200.0;
    c = c * z + 1.0 / 479001600.0;
    c = c * z - 1.0 / 3628800.0;
    c = c * z + 1.0 / 40320.0;
    c = c * z - 1.0 / 720.0;
    c = c * z + 1.0 / 24.0;
    c = c * z - 0.5;
    c = c * z + 1;
    double s = 1.0 / 355687428096000.0;
    s = s * z - 1.0 / 1307674368000.0;
    s = s * z + 1.0 / 6227020800.0;
    s = s * z - 1.0 / 39916800.0;
    s = s * z + 1.0 / 362880.0;
    s = s * z - 1.0 / 5040.0;
    s = s * z + 1.0 / 120.0;
    s = s * z - 1.0 / 6.0;
    s = s * z * y + y;
    switch ((int)quarter & 3) {
        case 0: *cosine = c, *sine = s; break;
        case 1: *cosine = -s, *sine = c; break;
        case 2: *cosine = -c, *sine = -s; break;
        default: *cosine = s, *sine = -c; break;
    }
}

INLINE void normal_pair(double v, double u, double *one, double *other) {
    double radius = sqrt(-2 * logarithm(v));
    circle(u, one, other);
    *one *= radius;
    *other *= radius;
}

INLINE uint64_t joined(uint32_t low, uint32_t high) { return (uint64_t)high << 32 | low; }

INLINE void uniforms_f32(const uint32_t w[4], float to[4]) {
    for (int i = 0; i < 4; i++) to[i] = (float)(w[i] >> 8) * 0x1p-24f;
}

INLINE void uniforms_f64(const uint32_t w[4], double to[2]) {
    for (int i = 0; i < 2; i++) to[i] = (double)(joined(w[2 * i], w[2 * i + 1]) >> 11) * 0x1p-53;
}

INLINE void normals_f32(const uint32_t w[4], float to[4]) {
    for (int i = 0; i < 4; i += 2) {
        double one, other;
        normal_pair(((double)w[i] + 1) * 0x1p-32, (double)w[i + 1] * 0x1p-32, &one, &other);
        to[i] = (float)one;
        to[i + 1] = (float)other;
    }
}

INLINE void normals_f64(const uint32_t w[4], double to[2]) {
    double v = ((double)(joined(w[0], w[1]) >> 11) + 1) * 0x1p-53;
    normal_pair(v, (double)(joined(w[2], w[3]) >> 11) * 0x1p-53, &to[0], &to[1]);
}

INLINE void bits(const uint32_t w[4], uint64_t to[2]) {
    for (int i = 0; i < 2; i++) to[i] = joined(w[2 * i], w[2 * i + 1]);
}

#define FILL(name, T, each, make)                                                                                      \
    CLONES void name(uint64_t seed, uint64_t first, size_t count, T *to) {                                             \
        uint32_t words[4];                                                                                             \
        size_t index = 0;                                                                                              \
        for (; index + each <= count; index += each) {                                                                 \
            philox(seed, first + index / each, words);                                                                 \
            make(words, to + index);                                                                                   \
        }                                                                                                              \
        if (index < count) {                                                                                           \
            T rest[each];                                                                                              \
            philox(seed, first + index / each, words);                                                                 \
            make(words, rest);                                                                                         \
            memcpy(to + index, rest, (count - index) * sizeof(T));                                                     \
        }                                                                                                              \
    }

FILL(nnstore_uniform_f32, float, 4, uniforms_f32)
FILL(nnstore_uniform_f64, double, 2, uniforms_f64)
FILL(nnstore_normal_f32, float, 4, normals_f32)
FILL(nnstore_normal_f64, double, 2, normals_f64)
FILL(nnstore_random_bits, uint64_t, 2, bits)
