#include "CHuffman.h"

#include <string.h>

#if defined(__x86_64__)
#define INLINE static inline __attribute__((always_inline))
#else
#define INLINE static inline
#endif

// Five windows of 11 bits and 7 bits of a byte that was begun fit the 64 bits of a load, whose lowest bit is the mark.
enum { windows_a_load = 5, bytes_a_load = 7, symbols_a_load = windows_a_load * nnstore_huffman_symbols };

INLINE uint64_t load(const uint8_t *place) {
    uint64_t bits;
    memcpy(&bits, place, 8);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    bits = __builtin_bswap64(bits);
#endif
    return bits;
}

INLINE void step(const uint64_t *table, struct nnstore_huffman_stream *stream) {
    uint64_t entry = table[stream->bits >> (64 - nnstore_huffman_window)];
    memcpy(stream->out, &entry, nnstore_huffman_store);
    stream->bits <<= (entry >> 56) & 63;
    stream->out += (entry >> 48) & 0xff;
}

INLINE void reload(struct nnstore_huffman_stream *stream) {
    int used = __builtin_ctzll(stream->bits);
    stream->next -= used >> 3;
    stream->bits = (load(stream->next) | 1) << (used & 7);
}

/// How many loads a stream has bytes and room for.
INLINE size_t loads(const struct nnstore_huffman_stream *stream) {
    size_t room = (size_t)(stream->end - stream->out);
    size_t by_room = room < nnstore_huffman_store ? 0 : (room - nnstore_huffman_store) / symbols_a_load;
    size_t by_bytes = (size_t)(stream->next - stream->start) / bytes_a_load;
    return by_room < by_bytes ? by_room : by_bytes;
}

INLINE size_t smaller(size_t one, size_t other) { return one < other ? one : other; }

INLINE void decode(const uint64_t *table, struct nnstore_huffman_stream streams[4]) {
    // Copies, which the compiler keeps in registers.
    struct nnstore_huffman_stream a = streams[0], b = streams[1], c = streams[2], d = streams[3];
    size_t count;
    while ((count = smaller(smaller(loads(&a), loads(&b)), smaller(loads(&c), loads(&d)))) > 0) {
        do {
            // Turn by turn: each step of a stream waits for the one before it.
            for (int window = 0; window < windows_a_load; window++) {
                step(table, &a);
                step(table, &b);
                step(table, &c);
                step(table, &d);
            }
            reload(&a);
            reload(&b);
            reload(&c);
            reload(&d);
        } while (--count);
    }
    streams[0] = a, streams[1] = b, streams[2] = c, streams[3] = d;
    // One stream runs ahead of the others by some dozens of bytes.
    for (int number = 0; number < 4; number++) {
        struct nnstore_huffman_stream one = streams[number];
        while ((count = loads(&one)) > 0) {
            do {
                for (int window = 0; window < windows_a_load; window++) step(table, &one);
                reload(&one);
            } while (--count);
        }
        streams[number] = one;
    }
}

#if defined(__x86_64__)
__attribute__((target("bmi,bmi2"))) static void decode_bmi2(
    const uint64_t *table, struct nnstore_huffman_stream streams[4]) {
    decode(table, streams);
}
#endif

void nnstore_huffman_decode(const uint64_t *table, struct nnstore_huffman_stream streams[4]) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2")) return decode_bmi2(table, streams);
#endif
    decode(table, streams);
}
