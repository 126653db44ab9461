#ifndef NNSTORE_HUFFMAN_ENCODING_H
#define NNSTORE_HUFFMAN_ENCODING_H

#include <stddef.h>
#include <stdint.h>

// The loops of Huffman encoding. What surrounds them stands in LiteralFrameEncoder.swift. For little-endian machines, as
// all are that this is built for.

/// Counts how often each byte stands in each quarter of `bytes`: three of `quarter` bytes and one of what is left of
/// `count`. `counts` has 4 times 256 elements, quarter after quarter.
void nnstore_count_quarters(const uint8_t *bytes, size_t count, size_t quarter, uint32_t *counts);

/// Encodes two times bytes as streams of Huffman codes that are read from their ends (RFC 8878 section 4.2.2).
///
/// `codes` has 256 elements: a byte's code in the highest bits, and the number of its bits, at most 11, in the lowest.
/// The streams take just the bytes from `out` to `end` if these are as many as the codes need and a bit more, rounded up to
/// bytes; nothing else is written, whatever their number is.
void nnstore_huffman_encode(
    const uint64_t *codes, const uint8_t *first, size_t first_count, uint8_t *first_out, uint8_t *first_end,
    const uint8_t *second, size_t second_count, uint8_t *second_out, uint8_t *second_end);

#endif
