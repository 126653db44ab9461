#include "huffman.h"

#include <stdbool.h>
#include <string.h>

#include "planes_lines.h"

// What a load leaves when 7 bits of a byte that was begun and one window were used: four more windows of 11 bits, and the
// mark in the lowest bit.
enum { windows_a_load = 4, bytes_a_load = 7, symbols_a_load = windows_a_load * nnstore_huffman_symbols };

INLINE uint64_t load(const uint8_t *place) {
    uint64_t bits;
    memcpy(&bits, place, 8);
    return bits;
}

/// Decodes the window at the top of `bits` to `out`, and puts `next_bits` in place of `bits` without as many bits.
INLINE void step_to(
    uint64_t next_bits, const uint64_t *table, uint64_t *bits, uint8_t **out, bool has_bmi2) {
#if defined(__x86_64__)
    if (has_bmi2) {
        // The same as below. Each step waits for the one before it, so what counts is how soon the distance is there: it is
        // loaded a second time, with the number of symbols above it, where a compiler would shift the first load down.
        uint64_t entry, index;
        __asm__(
            "shrxq %[shift], %[bits], %[index]\n\t"
            "movq (%[table],%[index],8), %[entry]\n\t"
            "movq %[entry], (%[out])\n\t"
            "movzwl 6(%[table],%[index],8), %k[entry]\n\t"
            "movzbl %h[entry], %k[index]\n\t"
            "shlxq %[entry], %[next_bits], %[bits]\n\t"
            "addq %[index], %[out]"
            : [bits] "+r"(*bits), [out] "+r"(*out), [entry] "=&Q"(entry), [index] "=&Q"(index)
            : [next_bits] "r"(next_bits), [table] "r"(table), [shift] "r"((uint64_t)(64 - nnstore_huffman_window))
            : "cc", "memory");
        return;
    }
#endif
    uint64_t entry = table[*bits >> (64 - nnstore_huffman_window)];
    memcpy(*out, &entry, nnstore_huffman_store);
    // Only the lower six bits of a distance count, so what stands above needs no mask in the processor.
    *bits = next_bits << ((entry >> 48) & 63);
    *out += entry >> 56;
}

/// Decodes the window at the top of `bits` to `out`.
INLINE void step(const uint64_t *table, uint64_t *bits, uint8_t **out, bool has_bmi2) {
    step_to(*bits, table, bits, out, has_bmi2);
}

/// Loads the bits behind those that were used; their number is that of the zeros below the mark.
INLINE uint64_t reload(uint64_t bits, const uint8_t **next) {
    int used = __builtin_ctzll(bits);
    *next -= used >> 3;
    return (load(*next) | 1) << (used & 7);
}

/// Decodes a window, and loads meanwhile what comes behind those before it.
INLINE void step_and_reload(
    const uint64_t *table, uint64_t *bits, const uint8_t **next, uint8_t **out, bool has_bmi2) {
    step_to(reload(*bits, next), table, bits, out, has_bmi2);
}

/// How many loads a stream has bytes and room for.
INLINE size_t loads(const struct nnstore_huffman_stream *stream) {
    size_t room = (size_t)(stream->end - stream->out);
    size_t by_room = room < nnstore_huffman_store ? 0 : (room - nnstore_huffman_store) / symbols_a_load;
    size_t by_bytes = (size_t)(stream->next - stream->start) / bytes_a_load;
    return by_room < by_bytes ? by_room : by_bytes;
}

INLINE size_t smaller(size_t one, size_t other) { return one < other ? one : other; }

/// - width: that of the elements which are joined on the way, or zero for none.
INLINE void decode(
    const uint64_t *table, struct nnstore_huffman_stream streams[4], const uint8_t *ahead, const uint8_t *ahead_end,
    struct nnstore_planes_joining *joining, bool has_bmi2, int width) {
    // All of these stand on the stack: the streams take all registers.
    const uint8_t *planes[8];
    for (int plane = 0; plane < width; plane++) planes[plane] = joining->planes[plane];
    uint8_t *elements = joining->elements;
    size_t element = joining->next, last = joining->end;
    size_t count;
    while ((count = smaller(smaller(loads(&streams[0]), loads(&streams[1])),
                            smaller(loads(&streams[2]), loads(&streams[3])))) > 0) {
        // What each step needs; `next` stays in memory, for the registers do not hold all.
        uint64_t bits0 = streams[0].bits, bits1 = streams[1].bits, bits2 = streams[2].bits, bits3 = streams[3].bits;
        uint8_t *out0 = streams[0].out, *out1 = streams[1].out, *out2 = streams[2].out, *out3 = streams[3].out;
        do {
            // Decoding waits for the processor more than for memory, so memory has time for what comes next.
            for (int line = 0; line < 2 && ahead < ahead_end; line++, ahead += 64) __builtin_prefetch(ahead, 0, 2);
            for (int line = 0; line < width && element < last; line++, element += line_size / (size_t)width)
                join_line(planes, elements, element, width, 1);
            // Turn by turn: each step of a stream waits for the one before it.
#pragma GCC unroll 3
            for (int window = 1; window < windows_a_load; window++) {
                step(table, &bits0, &out0, has_bmi2);
                step(table, &bits1, &out1, has_bmi2);
                step(table, &bits2, &out2, has_bmi2);
                step(table, &bits3, &out3, has_bmi2);
            }
            step_and_reload(table, &bits0, &streams[0].next, &out0, has_bmi2);
            step_and_reload(table, &bits1, &streams[1].next, &out1, has_bmi2);
            step_and_reload(table, &bits2, &streams[2].next, &out2, has_bmi2);
            step_and_reload(table, &bits3, &streams[3].next, &out3, has_bmi2);
        } while (--count);
        streams[0].bits = bits0, streams[1].bits = bits1, streams[2].bits = bits2, streams[3].bits = bits3;
        streams[0].out = out0, streams[1].out = out1, streams[2].out = out2, streams[3].out = out3;
    }
    if (width > 0) joining->next = element;
    // One stream runs ahead of the others by some dozens of bytes.
    for (int number = 0; number < 4; number++) {
        struct nnstore_huffman_stream one = streams[number];
        while (one.end - one.out >= nnstore_huffman_store) {
            int used = __builtin_ctzll(one.bits);
            if (one.next - one.start < used >> 3) {
                // What was loaded already is all that there is.
                if (63 - used < nnstore_huffman_window) break;
                step(table, &one.bits, &one.out, has_bmi2);
            } else {
                step_and_reload(table, &one.bits, &one.next, &one.out, has_bmi2);
            }
        }
        streams[number] = one;
    }
}

INLINE void fill(const uint16_t *windows, uint64_t *tables) {
    for (int bits = 0; bits <= nnstore_huffman_window; bits++) {
        // The table of windows of so many bits; the shorter ones are in front of it.
        uint64_t *table = tables + ((size_t)1 << bits);
        size_t size = (size_t)1 << bits;
        for (size_t index = 0; index < size;) {
            unsigned window = windows[index << (nnstore_huffman_window - bits)];
            int used = window >> 8;
            if (used > bits || used == 0) {
                table[index++] = 0;
                continue;
            }
            // All windows that begin with this code: its byte, and what the shorter window behind it gives.
            size_t count = (size_t)1 << (bits - used);
            if (count > size - index) count = size - index;
            const uint64_t *rest = tables + ((size_t)1 << (bits - used));
            uint64_t own = (window & 0xff) | (uint64_t)used << 48 | (uint64_t)1 << 56;
            for (size_t following = 0; following < count; following++) {
                uint64_t entry = rest[following];
                // All ones where the entry has six bytes and takes no other.
                uint64_t is_full = 0 - (((entry >> 56) + 2) >> 3 & 1);
                uint64_t with = (entry & 0xffffffffff) << 8 | (entry & (uint64_t)0xffff << 48);
                table[index + following] = own + (with & ~is_full);
            }
            index += count;
        }
    }
}

#if defined(__x86_64__)
__attribute__((target("bmi,bmi2"))) static void decode_bmi2(
    const uint64_t *table, struct nnstore_huffman_stream streams[4], const uint8_t *ahead, const uint8_t *ahead_end,
    struct nnstore_planes_joining *joining) {
    decode(table, streams, ahead, ahead_end, joining, true, 0);
}

#define DECODE_JOINING(width)                                                                                          \
    __attribute__((target("avx2,bmi,bmi2"))) static void decode_joining##width(                                        \
        const uint64_t *table, struct nnstore_huffman_stream streams[4], const uint8_t *ahead,                         \
        const uint8_t *ahead_end, struct nnstore_planes_joining *joining) {                                            \
        decode(table, streams, ahead, ahead_end, joining, true, width);                                                \
    }

DECODE_JOINING(2)
DECODE_JOINING(4)

__attribute__((target("avx2"))) static void fill_avx2(const uint16_t *windows, uint64_t *tables) {
    fill(windows, tables);
}
#endif

void nnstore_huffman_decode(
    const uint64_t *table, struct nnstore_huffman_stream streams[4], const uint8_t *ahead, const uint8_t *ahead_end,
    struct nnstore_planes_joining *joining) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2")) {
        if (joining->next < joining->end && joining->rotation == 1 && __builtin_cpu_supports("avx2")) {
            if (joining->width == 2) return decode_joining2(table, streams, ahead, ahead_end, joining);
            if (joining->width == 4) return decode_joining4(table, streams, ahead, ahead_end, joining);
        }
        return decode_bmi2(table, streams, ahead, ahead_end, joining);
    }
#endif
    decode(table, streams, ahead, ahead_end, joining, false, 0);
}

void nnstore_huffman_fill(const uint16_t *windows, uint64_t *tables) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2")) return fill_avx2(windows, tables);
#endif
    fill(windows, tables);
}
