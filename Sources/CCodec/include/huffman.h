#ifndef NNSTORE_HUFFMAN_H
#define NNSTORE_HUFFMAN_H

#include <stddef.h>
#include <stdint.h>

#include "planes.h"

// The loops of Huffman decoding. What surrounds them, and the reason why they stay inside their bounds, stands in
// LiteralFrameDecoder.swift. For little-endian machines, as all are that this is built for.

/// A stream of Huffman codes that is read from its end to its beginning, and where its symbols go.
struct nnstore_huffman_stream {
    /// The first byte of the stream.
    const uint8_t *start;
    /// The place that `bits` was loaded from: 8 bytes that lie inside the stream.
    const uint8_t *next;
    /// The bits at `next` that were not used yet, moved to the top; behind them stands a 1.
    uint64_t bits;
    /// Where the next symbol goes.
    uint8_t *out;
    /// The end of the symbols' place.
    uint8_t *end;
};

enum {
    /// The bits of a window, for which the table has an entry.
    nnstore_huffman_window = 11,
    /// The most symbols that an entry has.
    nnstore_huffman_symbols = 6,
    /// What is written for each entry, in bytes; those that are no symbols are overwritten by what follows.
    nnstore_huffman_store = 8,
};

/// Fills the tables of all windows, of no bits, one bit and so on to 11, in `tables`, which has 2 << 11 entries; the
/// table for windows of n bits begins at 1 << n, and the last one is for nnstore_huffman_decode.
///
/// An entry has up to 6 bytes that the window decodes to, from the lowest byte on, the number of their bits, at most n, in
/// byte 6, and their own number in byte 7. `windows` has 1 << 11 elements: the byte whose code a window begins with, and in
/// the high byte the code's bits, 1 to 11.
void nnstore_huffman_fill(const uint16_t *windows, uint64_t *tables);

/// Decodes four streams as far as that is possible without looking for their ends after each step.
///
/// Reads from `start` to `next + 8` and writes from `out` to `end` of each stream, and nowhere else, whatever the streams
/// hold, if `table` is as nnstore_huffman_fill makes it. Brings the bytes from `ahead` to `ahead_end`, which are wanted next,
/// into the processor's cache on the way, two lines of it for about 64 symbols, and goes on with `joining`, 64 elements for
/// about 64 symbols, both as far as it gets: decoding waits for the processor more than for memory. No place that is written
/// may be one of `joining`'s.
void nnstore_huffman_decode(
    const uint64_t *table, struct nnstore_huffman_stream streams[4], const uint8_t *ahead, const uint8_t *ahead_end,
    struct nnstore_planes_joining *joining);

#endif
