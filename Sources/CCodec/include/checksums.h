#ifndef NNSTORE_CHECKSUMS_H
#define NNSTORE_CHECKSUMS_H

#include <stddef.h>
#include <stdint.h>

// XXH3 (xxHash 0.8) of whole buffers. Debian's library is built for every processor and hashes 16 GB/s where the same
// code, compiled from its header for AVX2, hashes 48; these functions take the one that fits the processor.

typedef struct {
    uint64_t low;
    uint64_t high;
} nnstore_digest;

/// XXH3_64bits_withSeed.
uint64_t nnstore_xxh3_64(const void *bytes, size_t count, uint64_t seed);

/// XXH3_128bits.
nnstore_digest nnstore_xxh3_128(const void *bytes, size_t count);

#endif
