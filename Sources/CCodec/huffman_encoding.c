#include "huffman_encoding.h"

#include <string.h>

#define INLINE static inline __attribute__((always_inline))

// What stands here and there in the bytes is counted in several places, so that one need not wait for another where bytes
// are equal.
enum { tables = 4 };

INLINE void count(const uint8_t *bytes, size_t size, uint32_t counts[tables][256]) {
    size_t index = 0;
    for (; index + tables <= size; index += tables) {
        for (size_t table = 0; table < tables; table++) counts[table][bytes[index + table]]++;
    }
    for (; index < size; index++) counts[0][bytes[index]]++;
}

INLINE void add(uint32_t one[tables][256], uint32_t *counts) {
    for (size_t byte = 0; byte < 256; byte++) counts[byte] = one[0][byte] + one[1][byte] + one[2][byte] + one[3][byte];
}

void nnstore_count_bytes(const uint8_t *bytes, size_t size, uint32_t *counts) {
    uint32_t tables_of_counts[tables][256] = {0};
    count(bytes, size, tables_of_counts);
    add(tables_of_counts, counts);
}

void nnstore_count_quarter(const uint8_t *bytes, size_t size, uint32_t *counts) {
    uint32_t tables_of_counts[tables][256] = {0};
    // 64 bytes of each 256, sometimes the first ones, sometimes others: data may repeat in steps of any size.
    for (size_t group = 0; group < size / 256; group++) {
        size_t place = (uint32_t)group * 2654435769u >> 30;
        count(bytes + 256 * group + 64 * place, 64, tables_of_counts);
    }
    add(tables_of_counts, counts);
}

INLINE struct nnstore_byte_range range(const uint8_t *bytes, size_t size) {
    // Zero becomes the largest value of these.
    uint8_t smallest_minus_one = UINT8_MAX, smallest = UINT8_MAX, largest = 0;
    for (size_t index = 0; index < size; index++) {
        uint8_t byte = bytes[index], minus_one = byte - 1;
        smallest = byte < smallest ? byte : smallest;
        smallest_minus_one = minus_one < smallest_minus_one ? minus_one : smallest_minus_one;
        largest = byte > largest ? byte : largest;
    }
    return (struct nnstore_byte_range){smallest == 0, (uint8_t)(smallest_minus_one + 1), largest};
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) static struct nnstore_byte_range range_avx2(const uint8_t *bytes, size_t size) {
    return range(bytes, size);
}
#endif

struct nnstore_byte_range nnstore_byte_range(const uint8_t *bytes, size_t size) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2")) return range_avx2(bytes, size);
#endif
    return range(bytes, size);
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

INLINE size_t encode_last(const uint64_t *codes, struct nnstore_huffman_input *input, struct output *output) {
    for (size_t index = input->count; index > 0; index--) {
        put(codes, output, input->bytes[index - 1]);
        flush(output);
    }
    finish(output);
    return (size_t)(output->out - input->out);
}

INLINE void encode(const uint64_t *codes, struct nnstore_huffman_input inputs[2]) {
    struct output one = {0, 0, inputs[0].out, inputs[0].end};
    struct output other = {0, 0, inputs[1].out, inputs[1].end};
    // Two at a time, from their ends: a code has to wait for the one before it.
    size_t count;
    while ((count = smaller(words(&one, inputs[0].count), words(&other, inputs[1].count))) > 0) {
        inputs[0].count -= count * codes_a_flush;
        inputs[1].count -= count * codes_a_flush;
        const uint8_t *one_byte = inputs[0].bytes + inputs[0].count, *other_byte = inputs[1].bytes + inputs[1].count;
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
    inputs[0].size = encode_last(codes, &inputs[0], &one);
    inputs[1].size = encode_last(codes, &inputs[1], &other);
}

#if defined(__x86_64__)
__attribute__((target("bmi,bmi2"))) static void encode_bmi2(
    const uint64_t *codes, struct nnstore_huffman_input inputs[2]) {
    encode(codes, inputs);
}
#endif

void nnstore_huffman_encode(const uint64_t *codes, struct nnstore_huffman_input inputs[2]) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2")) return encode_bmi2(codes, inputs);
#endif
    encode(codes, inputs);
}
