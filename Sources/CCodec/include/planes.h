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

/// Elements that nobody reads soon, while they are joined: they are written past the processor's caches, which spares
/// reading the memory where they go first. That waits for memory, so other work can be done at the same time
/// (nnstore_huffman_decode).
struct nnstore_planes_joining {
    /// The planes, from the first element on that begins a line of the cache.
    const uint8_t *planes[8];
    /// Where that element goes.
    uint8_t *elements;
    /// The next element, always the first of a line, and the end of the last whole line.
    size_t next;
    size_t end;
    /// The number of elements.
    size_t count;
    int width;
    int rotation;
};

/// Begins as nnstore_planes_join would; the planes and the room for the elements have to stay until all is finished.
void nnstore_planes_begin_joining(
    struct nnstore_planes_joining *joining, const uint8_t *const *planes, uint8_t *elements, size_t count, int width,
    int rotation);

/// Joins what was not joined yet. Other threads see the elements as they see what nnstore_planes_join writes.
void nnstore_planes_finish_joining(struct nnstore_planes_joining *joining);

#endif
