#ifndef NNSTORE_HUFFMAN_ENCODING_H
#define NNSTORE_HUFFMAN_ENCODING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// The loops of Huffman encoding. What surrounds them stands in LiteralFrameEncoder.swift. For little-endian machines, as
// all are that this is built for.

/// Counts how often each value stands in `bytes`; `counts` has 256 elements.
void nnstore_count_bytes(const uint8_t *bytes, size_t size, uint32_t *counts);

/// Counts the same in a quarter of the bytes, from places all over them.
void nnstore_count_quarter(const uint8_t *bytes, size_t size, uint32_t *counts);

/// Which values some bytes have: perhaps zero, and others in a range.
struct nnstore_byte_range {
    bool has_zero;
    /// The smallest and the largest value but zero; 0 and 0 if there is no other.
    uint8_t smallest;
    uint8_t largest;
};

/// The range of `bytes`.
struct nnstore_byte_range nnstore_byte_range(const uint8_t *bytes, size_t size);

/// Bytes to encode, and the place for the stream of codes.
struct nnstore_huffman_input {
    const uint8_t *bytes;
    size_t count;
    uint8_t *out;
    uint8_t *end;
    /// The bytes of the stream; set by nnstore_huffman_encode.
    size_t size;
};

/// Encodes two times bytes as streams of Huffman codes that are read from their ends (RFC 8878 section 4.2.2). The number
/// of bytes to encode is used up.
///
/// `codes` has 256 elements: a byte's code in the highest bits, and the number of its bits, at most 11, in the lowest.
/// Writes from `out` to `end` and nowhere else; a stream that does not fit is cut off.
void nnstore_huffman_encode(const uint64_t *codes, struct nnstore_huffman_input inputs[2]);

#endif
