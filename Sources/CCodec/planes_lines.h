#ifndef NNSTORE_PLANES_LINES_H
#define NNSTORE_PLANES_LINES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

// Joining planes, for planes.c, and for huffman.c, which joins them beside its own work. One loop for each width: `width` and
// `rotation` are constants where these are called. Elements may lie at any address.

#define INLINE static inline __attribute__((always_inline))

// What is written past the caches: a line of them, in pieces that one instruction stores.
enum { line_size = 64, piece_size = 32 };
typedef uint8_t piece __attribute__((vector_size(piece_size), may_alias));

#define ELEMENT(bits)                                                                                                  \
    INLINE uint##bits##_t rotated##bits(uint##bits##_t value, int rotation) {                                          \
        return rotation == 0 ? value : (uint##bits##_t)(value << rotation | value >> (bits - rotation));               \
    }                                                                                                                  \
    INLINE void join##bits(const uint8_t *const *planes, uint8_t *restrict elements, size_t count, int rotation) {     \
        const uint8_t *from[sizeof(uint##bits##_t)];                                                                   \
        for (size_t plane = 0; plane < sizeof(uint##bits##_t); plane++) from[plane] = planes[plane];                   \
        for (size_t index = 0; index < count; index++) {                                                               \
            uint##bits##_t element = 0;                                                                                \
            for (size_t plane = 0; plane < sizeof element; plane++)                                                    \
                element |= (uint##bits##_t)((uint##bits##_t)from[plane][index] << (bits - 8 - 8 * plane));             \
            element = rotated##bits(element, (bits - rotation) % bits);                                                \
            memcpy(elements + index * sizeof element, &element, sizeof element);                                       \
        }                                                                                                              \
    }                                                                                                                  \
    /* As join, one line of elements from `index` on; the first of `elements` begins a line. */                        \
    INLINE void join_line##bits(                                                                                       \
        const uint8_t *const *planes, uint8_t *restrict elements, size_t index, int rotation) {                        \
        const uint8_t *from[sizeof(uint##bits##_t)];                                                                   \
        for (size_t plane = 0; plane < sizeof(uint##bits##_t); plane++) from[plane] = planes[plane] + index;           \
        piece line[line_size / piece_size];                                                                            \
        join##bits(from, (uint8_t *)line, line_size / sizeof(uint##bits##_t), rotation);                               \
        piece *to = (piece *)(elements + index * sizeof(uint##bits##_t));                                              \
        for (int number = 0; number < line_size / piece_size; number++)                                                \
            __builtin_nontemporal_store(line[number], to + number);                                                    \
    }

ELEMENT(16)
ELEMENT(32)
ELEMENT(64)

#undef ELEMENT

INLINE void join_line(const uint8_t *const *planes, uint8_t *elements, size_t index, int width, int rotation) {
    switch (width) {
        case 2: return rotation == 0 ? join_line16(planes, elements, index, 0) : join_line16(planes, elements, index, 1);
        case 4: return rotation == 0 ? join_line32(planes, elements, index, 0) : join_line32(planes, elements, index, 1);
        case 8: return rotation == 0 ? join_line64(planes, elements, index, 0) : join_line64(planes, elements, index, 4);
    }
}

#endif
