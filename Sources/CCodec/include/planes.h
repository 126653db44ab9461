#ifndef NNSTORE_PLANES_H
#define NNSTORE_PLANES_H

#include <stddef.h>
#include <stdint.h>

// Splitting elements into planes of their bytes and joining them again (spec section 7, transforms 1 and 2). Elements are
// integers of 2, 4 or 8 bytes, little-endian as on every machine that this is built for. They are rotated left by
// `rotation` bits: 0, or 1 for a width of 2 or 4, or 4 for one of 8. Plane k holds the k-th byte of every rotated element,
// the most significant byte first.

/// Splits `count` elements at `elements` into planes of `count` bytes each, one behind the other, at `planes`.
void nnstore_planes_split(const uint8_t *elements, uint8_t *planes, size_t count, int width, int rotation);

/// Joins `width` planes of `count` bytes to elements at `elements`, which has room for them and overlaps no plane.
void nnstore_planes_join(const uint8_t *const *planes, uint8_t *elements, size_t count, int width, int rotation);

/// As nnstore_planes_join, for elements that nobody reads soon: they are written past the processor's caches, which spares
/// reading the memory at `elements` first. Other threads see them as they see what nnstore_planes_join writes.
void nnstore_planes_join_past_caches(
    const uint8_t *const *planes, uint8_t *elements, size_t count, int width, int rotation);

#endif
