#include "planes.h"

#include <string.h>

#define INLINE static inline __attribute__((always_inline))

// What is written past the caches: a line of them, in pieces that one instruction stores.
enum { line_size = 64, piece_size = 32 };
typedef uint8_t piece __attribute__((vector_size(piece_size), may_alias));

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
    }                                                                                                                  \
    /* As join, as many lines of elements as there are; `elements` begins with one. Returns their elements. */         \
    INLINE size_t join_lines##bits(                                                                                    \
        const uint8_t *const *planes, uint8_t *restrict elements, size_t count, int rotation) {                        \
        enum { line_count = line_size / sizeof(uint##bits##_t) };                                                      \
        size_t whole = count / line_count * line_count;                                                                \
        for (size_t index = 0; index < whole; index += line_count) {                                                   \
            const uint8_t *from[sizeof(uint##bits##_t)];                                                               \
            for (size_t plane = 0; plane < sizeof(uint##bits##_t); plane++) from[plane] = planes[plane] + index;       \
            piece line[line_size / piece_size];                                                                        \
            join##bits(from, (uint8_t *)line, line_count, rotation);                                                   \
            piece *to = (piece *)(elements + index * sizeof(uint##bits##_t));                                          \
            for (int number = 0; number < line_size / piece_size; number++)                                            \
                __builtin_nontemporal_store(line[number], to + number);                                                \
        }                                                                                                              \
        return whole;                                                                                                  \
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

INLINE size_t join_lines(const uint8_t *const *planes, uint8_t *elements, size_t count, int width, int rotation) {
    switch (width) {
        case 2: return rotation == 0 ? join_lines16(planes, elements, count, 0) : join_lines16(planes, elements, count, 1);
        case 4: return rotation == 0 ? join_lines32(planes, elements, count, 0) : join_lines32(planes, elements, count, 1);
        case 8: return rotation == 0 ? join_lines64(planes, elements, count, 0) : join_lines64(planes, elements, count, 4);
    }
    return 0;
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

__attribute__((target("avx2"))) static size_t join_lines_avx2(
    const uint8_t *const *planes, uint8_t *elements, size_t count, int width, int rotation) {
    return join_lines(planes, elements, count, width, rotation);
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

static size_t joined_lines(const uint8_t *const *planes, uint8_t *elements, size_t count, int width, int rotation) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2")) return join_lines_avx2(planes, elements, count, width, rotation);
#endif
    return join_lines(planes, elements, count, width, rotation);
}

void nnstore_planes_join_past_caches(
    const uint8_t *const *planes, uint8_t *elements, size_t count, int width, int rotation) {
    const uint8_t *rest[8];
    size_t before = (line_size - (uintptr_t)elements % line_size) % line_size;
    // Elements that lie across lines are written as all others are.
    size_t head = before % (size_t)width == 0 ? before / (size_t)width : count;
    if (head > count) head = count;
    nnstore_planes_join(planes, elements, head, width, rotation);
    for (int plane = 0; plane < width; plane++) rest[plane] = planes[plane] + head;
    size_t lines = joined_lines(rest, elements + head * (size_t)width, count - head, width, rotation);
    // Such stores are not ordered with others, by which threads tell each other that they are done.
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    for (int plane = 0; plane < width; plane++) rest[plane] += lines;
    head += lines;
    nnstore_planes_join(rest, elements + head * (size_t)width, count - head, width, rotation);
}
