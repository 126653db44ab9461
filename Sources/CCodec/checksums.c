#include "checksums.h"

// Without optimisation the header's many small functions would be far slower than the library.
#if defined(__x86_64__) && defined(__clang__) && defined(__OPTIMIZE__)
#define NNSTORE_AVX2 1
#endif

#if NNSTORE_AVX2
// What xxhash.h includes comes before the pragma, which is for its own functions alone.
#include <assert.h>
#include <immintrin.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#define XXH_INLINE_ALL
#define XXH_VECTOR 2 /* XXH_AVX2, which the header defines too late */
#include <xxhash.h>

static uint64_t xxh3_64_avx2(const void *bytes, size_t count, uint64_t seed) {
    return XXH3_64bits_withSeed(bytes, count, seed);
}

static nnstore_digest xxh3_128_avx2(const void *bytes, size_t count) {
    XXH128_hash_t hash = XXH3_128bits(bytes, count);
    return (nnstore_digest){hash.low64, hash.high64};
}
#pragma clang attribute pop

// The library's functions, whose names the header took.
#undef XXH3_64bits_withSeed
#undef XXH3_128bits
uint64_t XXH3_64bits_withSeed(const void *bytes, size_t count, uint64_t seed);
XXH128_hash_t XXH3_128bits(const void *bytes, size_t count);
#else
#include <xxhash.h>
#endif

uint64_t nnstore_xxh3_64(const void *bytes, size_t count, uint64_t seed) {
#if NNSTORE_AVX2
    if (__builtin_cpu_supports("avx2")) return xxh3_64_avx2(bytes, count, seed);
#endif
    return XXH3_64bits_withSeed(bytes, count, seed);
}

nnstore_digest nnstore_xxh3_128(const void *bytes, size_t count) {
#if NNSTORE_AVX2
    if (__builtin_cpu_supports("avx2")) return xxh3_128_avx2(bytes, count);
#endif
    XXH128_hash_t hash = XXH3_128bits(bytes, count);
    return (nnstore_digest){hash.low64, hash.high64};
}
