#include "huffman_encoding.h"

#include <string.h>

#define INLINE static inline __attribute__((always_inline))

void nnstore_count_quarters(const uint8_t *bytes, size_t count, size_t quarter, uint32_t *counts) {
    memset(counts, 0, 4 * 256 * sizeof *counts);
    size_t last = count - 3 * quarter;
    // All quarters at once: each has counters of its own, so that one need not wait for another where bytes are equal.
    size_t index = 0;
    for (; index < quarter && index < last; index++) {
        for (size_t number = 0; number < 4; number++) counts[number * 256 + bytes[number * quarter + index]]++;
    }
    for (size_t number = 0; number < 4; number++) {
        size_t size = number < 3 ? quarter : last;
        for (size_t rest = index; rest < size; rest++) counts[number * 256 + bytes[number * quarter + rest]]++;
    }
}

/// A stream that is being written.
struct output {
    /// Bits that were not written yet, in the highest places; the later, the higher. What is below means nothing.
    uint64_t bits;
    /// Their number, in the lowest byte.
    uint64_t count;
    uint8_t *out;
    uint8_t *end;
};

// So many codes of 11 bits, behind 7 bits that were left, keep off the lowest bits of a word, where their lengths stand.
enum { codes_a_flush = 4, bytes_a_flush = 6 };

INLINE void put(const uint64_t *codes, struct output *output, uint8_t byte) {
    uint64_t code = codes[byte];
    output->bits = output->bits >> (code & 63) | code;
    // The code itself adds to the higher bytes, which mean nothing.
    output->count += code;
}

/// Writes whole bytes where there is room for a word.
INLINE void flush_word(struct output *output) {
    uint64_t count = output->count & 0xff;
    uint64_t bits = output->bits >> ((64 - count) & 63);
    memcpy(output->out, &bits, 8);
    output->out += count >> 3;
    output->count = count & 7;
}

/// Writes whole bytes, as far as there is room.
INLINE void flush(struct output *output) {
    size_t room = (size_t)(output->end - output->out);
    if (room >= 8) return flush_word(output);
    uint64_t count = output->count & 0xff;
    uint64_t bits = output->bits >> ((64 - count) & 63);
    size_t size = count >> 3 < room ? count >> 3 : room;
    for (size_t byte = 0; byte < size; byte++) output->out[byte] = (uint8_t)(bits >> (8 * byte));
    output->out += size;
    output->count = count & 7;
}

/// How many times a word can be written, with so many codes each time, and `left` bytes to encode.
INLINE size_t words(const struct output *output, size_t left) {
    size_t room = (size_t)(output->end - output->out);
    size_t by_room = room < 8 ? 0 : (room - 8) / bytes_a_flush;
    return by_room < left / codes_a_flush ? by_room : left / codes_a_flush;
}

/// Writes the bit that marks the end, and what is left.
INLINE void finish(struct output *output) {
    // A code of one bit, 1, and then zeros up to a whole byte.
    output->bits = output->bits >> 1 | (uint64_t)1 << 63;
    output->count += 1;
    uint64_t zeros = -output->count & 7;
    output->bits >>= zeros;
    output->count += zeros;
    flush(output);
}

INLINE size_t smaller(size_t one, size_t other) { return one < other ? one : other; }

INLINE void encode_last(const uint64_t *codes, const uint8_t *bytes, size_t count, struct output *output) {
    for (size_t index = count; index > 0; index--) {
        put(codes, output, bytes[index - 1]);
        flush(output);
    }
    finish(output);
}

INLINE void encode(
    const uint64_t *codes, const uint8_t *first, size_t first_count, uint8_t *first_out, uint8_t *first_end,
    const uint8_t *second, size_t second_count, uint8_t *second_out, uint8_t *second_end) {
    struct output one = {0, 0, first_out, first_end};
    struct output other = {0, 0, second_out, second_end};
    // Two at a time, from their ends: a code has to wait for the one before it.
    size_t count;
    while ((count = smaller(words(&one, first_count), words(&other, second_count))) > 0) {
        first_count -= count * codes_a_flush;
        second_count -= count * codes_a_flush;
        const uint8_t *one_byte = first + first_count, *other_byte = second + second_count;
        for (size_t index = count; index > 0; index--) {
#pragma GCC unroll 4
            for (size_t number = 1; number <= codes_a_flush; number++) {
                put(codes, &one, one_byte[index * codes_a_flush - number]);
                put(codes, &other, other_byte[index * codes_a_flush - number]);
            }
            flush_word(&one);
            flush_word(&other);
        }
    }
    encode_last(codes, first, first_count, &one);
    encode_last(codes, second, second_count, &other);
}

#if defined(__x86_64__)
__attribute__((target("bmi,bmi2"))) static void encode_bmi2(
    const uint64_t *codes, const uint8_t *first, size_t first_count, uint8_t *first_out, uint8_t *first_end,
    const uint8_t *second, size_t second_count, uint8_t *second_out, uint8_t *second_end) {
    encode(codes, first, first_count, first_out, first_end, second, second_count, second_out, second_end);
}
#endif

void nnstore_huffman_encode(
    const uint64_t *codes, const uint8_t *first, size_t first_count, uint8_t *first_out, uint8_t *first_end,
    const uint8_t *second, size_t second_count, uint8_t *second_out, uint8_t *second_end) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2")) {
        encode_bmi2(codes, first, first_count, first_out, first_end, second, second_count, second_out, second_end);
        return;
    }
#endif
    encode(codes, first, first_count, first_out, first_end, second, second_count, second_out, second_end);
}
