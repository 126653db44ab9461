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

INLINE double polynomial(const double *coefficients, int count, double x) {
    double sum = coefficients[0];
    for (int i = 1; i < count; i++) sum = sum * x + coefficients[i];
    return sum;
}

// M. Wichura: Algorithm AS 241: The Percentage Points of the Normal Distribution, Applied Statistics 37, 1988: PPND16.
// Highest powers first.
static const double middle_above[] = {
    2.5090809287301226727e+3, 3.3430575583588128105e+4, 6.7265770927008700853e+4, 4.5921953931549871457e+4,
    1.3731693765509461125e+4, 1.9715909503065514427e+3, 1.3314166789178437745e+2, 3.3871328727963666080e+0};
static const double middle_below[] = {
    5.2264952788528545610e+3, 2.8729085735721942674e+4, 3.9307895800092710610e+4, 2.1213794301586595867e+4,
    5.3941960214247511077e+3, 6.8718700749205790830e+2, 4.2313330701600911252e+1, 1.0};
static const double side_above[] = {
    7.74545014278341407640e-4, 2.27238449892691845833e-2, 2.41780725177450611770e-1, 1.27045825245236838258e+0,
    3.64784832476320460504e+0, 5.76949722146069140550e+0, 4.63033784615654529590e+0, 1.42343711074968357734e+0};
static const double side_below[] = {
    1.05075007164441684324e-9, 5.47593808499534494600e-4, 1.51986665636164571966e-2, 1.48103976427480074590e-1,
    6.89767334985100004550e-1, 1.67638483018380384940e+0, 2.05319162663775882187e+0, 1.0};
static const double tail_above[] = {
    2.01033439929228813265e-7, 2.71155556874348757815e-5, 1.24266094738807843860e-3, 2.65321895265761230930e-2,
    2.96560571828504891230e-1, 1.78482653991729133580e+0, 5.46378491116411436990e+0, 6.65790464350110377720e+0};
static const double tail_below[] = {
    2.04426310338993978564e-15, 1.42151175831644588870e-7, 1.84631831751005468180e-5, 7.86869131145613259100e-4,
    1.48753612908506148525e-2,  1.36929880922735805310e-1, 5.99832206555887937690e-1, 1.0};

void nnstore_normal_quantiles(size_t count, double *probabilities) {
    for (size_t i = 0; i < count; i++) {
        double p = probabilities[i], q = p - 0.5;
        if (fabs(q) <= 0.425) {
            double r = 0.180625 - q * q;
            probabilities[i] = q * polynomial(middle_above, 8, r) / polynomial(middle_below, 8, r);
            continue;
        }
        double tail = q < 0 ? p : 1 - p;
        // The least that the logarithm takes; what is smaller lies beyond 9 deviations.
        if (tail < 0x1p-64) tail = 0x1p-64;
        double r = sqrt(-logarithm(tail));
        double x = r <= 5 ? polynomial(side_above, 8, r - 1.6) / polynomial(side_below, 8, r - 1.6)
                          : polynomial(tail_above, 8, r - 5) / polynomial(tail_below, 8, r - 5);
        probabilities[i] = q < 0 ? -x : x;
    }
}
