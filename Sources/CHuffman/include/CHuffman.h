#ifndef NNSTORE_CHUFFMAN_H
#define NNSTORE_CHUFFMAN_H

#include <stddef.h>
#include <stdint.h>

// The loops of Huffman decoding, in C because they need the shifts of BMI2, which Swift can't ask for without unsafe
// flags. What surrounds them, and the reason why they stay inside their bounds, stands in LiteralFrameDecoder.swift.

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

/// Decodes four streams as far as that is possible without looking for their ends after each step.
///
/// `table` has an entry for each window of 11 bits: up to 6 symbols from the lowest byte on, their number in byte 6 and
/// the number of their bits, at most 11, in byte 7.
///
/// Reads from `start` to `next + 8` and writes from `out` to `end` of each stream, and nowhere else, whatever the table
/// and the streams hold, if each entry keeps to these numbers.
void nnstore_huffman_decode(const uint64_t *table, struct nnstore_huffman_stream streams[4]);

#endif
