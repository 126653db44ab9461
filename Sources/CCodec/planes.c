#include "planes.h"

#include "planes_lines.h"

#define SPLIT(bits)                                                                                                    \
    INLINE void split##bits(const uint8_t *restrict elements, uint8_t *restrict planes, size_t count, int rotation) {  \
        for (size_t index = 0; index < count; index++) {                                                               \
            uint##bits##_t element;                                                                                    \
            memcpy(&element, elements + index * sizeof element, sizeof element);                                       \
            element = rotated##bits(element, rotation);                                                                \
            for (size_t plane = 0; plane < sizeof element; plane++)                                                    \
                planes[plane * count + index] = (uint8_t)(element >> (bits - 8 - 8 * plane));                          \
        }                                                                                                              \
    }

SPLIT(16)
SPLIT(32)
SPLIT(64)

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

INLINE void join_lines(struct nnstore_planes_joining *joining, int width, int rotation) {
    size_t next = joining->next;
    for (; next < joining->end; next += line_size / (size_t)width)
        join_line(joining->planes, joining->elements, next, width, rotation);
    joining->next = next;
}

INLINE void join_all_lines(struct nnstore_planes_joining *joining) {
    switch (joining->width) {
        case 2: return joining->rotation == 0 ? join_lines(joining, 2, 0) : join_lines(joining, 2, 1);
        case 4: return joining->rotation == 0 ? join_lines(joining, 4, 0) : join_lines(joining, 4, 1);
        case 8: return joining->rotation == 0 ? join_lines(joining, 8, 0) : join_lines(joining, 8, 4);
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

__attribute__((target("avx2"))) static void join_all_lines_avx2(struct nnstore_planes_joining *joining) {
    join_all_lines(joining);
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

void nnstore_planes_begin_joining(
    struct nnstore_planes_joining *joining, const uint8_t *const *planes, uint8_t *elements, size_t count, int width,
    int rotation) {
    size_t before = (line_size - (uintptr_t)elements % line_size) % line_size;
    // Elements that lie across lines are written as all others are.
    size_t head = before % (size_t)width == 0 ? before / (size_t)width : count;
    if (head > count) head = count;
    nnstore_planes_join(planes, elements, head, width, rotation);
    for (int plane = 0; plane < width; plane++) joining->planes[plane] = planes[plane] + head;
    joining->elements = elements + head * (size_t)width;
    joining->next = 0;
    joining->count = count - head;
    joining->end = joining->count - joining->count % (line_size / (size_t)width);
    joining->width = width;
    joining->rotation = rotation;
}

void nnstore_planes_finish_joining(struct nnstore_planes_joining *joining) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2"))
        join_all_lines_avx2(joining);
    else
#endif
        join_all_lines(joining);
    // Such stores are not ordered with others, by which threads tell each other that they are done.
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    const uint8_t *rest[8];
    for (int plane = 0; plane < joining->width; plane++) rest[plane] = joining->planes[plane] + joining->end;
    nnstore_planes_join(
        rest, joining->elements + joining->end * (size_t)joining->width, joining->count - joining->end, joining->width,
        joining->rotation);
}
