#include "planes.h"

#include <string.h>

#define INLINE static inline __attribute__((always_inline))

// One loop for each width: `width` and `rotation` are constants where these are called. Elements may lie at any address.

#define ELEMENT(bits)                                                                                                  \
    INLINE uint##bits##_t rotated##bits(uint##bits##_t value, int rotation) {                                          \
        return rotation == 0 ? value : (uint##bits##_t)(value << rotation | value >> (bits - rotation));               \
    }                                                                                                                  \
    INLINE void split##bits(const uint8_t *restrict elements, uint8_t *restrict planes, size_t count, int rotation) {  \
        for (size_t index = 0; index < count; index++) {                                                               \
            uint##bits##_t element;                                                                                    \
            memcpy(&element, elements + index * sizeof element, sizeof element);                                       \
            element = rotated##bits(element, rotation);                                                                \
            for (size_t plane = 0; plane < sizeof element; plane++)                                                    \
                planes[plane * count + index] = (uint8_t)(element >> (bits - 8 - 8 * plane));                          \
        }                                                                                                              \
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
    }

ELEMENT(16)
ELEMENT(32)
ELEMENT(64)

INLINE void split(const uint8_t *elements, uint8_t *planes, size_t count, int width, int rotation) {
    switch (width) {
        case 2: return rotation == 0 ? split16(elements, planes, count, 0) : split16(elements, planes, count, 1);
        case 4: return rotation == 0 ? split32(elements, planes, count, 0) : split32(elements, planes, count, 1);
        case 8: return rotation == 0 ? split64(elements, planes, count, 0) : split64(elements, planes, count, 4);
    }
}

INLINE void join(const uint8_t *const *planes, uint8_t *elements, size_t count, int width, int rotation) {
    switch (width) {
        case 2: return rotation == 0 ? join16(planes, elements, count, 0) : join16(planes, elements, count, 1);
        case 4: return rotation == 0 ? join32(planes, elements, count, 0) : join32(planes, elements, count, 1);
        case 8: return rotation == 0 ? join64(planes, elements, count, 0) : join64(planes, elements, count, 4);
    }
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) static void split_avx2(
    const uint8_t *elements, uint8_t *planes, size_t count, int width, int rotation) {
    split(elements, planes, count, width, rotation);
}

__attribute__((target("avx2"))) static void join_avx2(
    const uint8_t *const *planes, uint8_t *elements, size_t count, int width, int rotation) {
    join(planes, elements, count, width, rotation);
}
#endif

void nnstore_planes_split(const uint8_t *elements, uint8_t *planes, size_t count, int width, int rotation) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2")) return split_avx2(elements, planes, count, width, rotation);
#endif
    split(elements, planes, count, width, rotation);
}

void nnstore_planes_join(const uint8_t *const *planes, uint8_t *elements, size_t count, int width, int rotation) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2")) return join_avx2(planes, elements, count, width, rotation);
#endif
    join(planes, elements, count, width, rotation);
}
