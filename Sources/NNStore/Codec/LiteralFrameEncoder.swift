import CCodec

/// Makes zstd frames of literals only: Huffman-coded bytes without a search for matches, many times faster than zstd's
/// fastest level and, on planes of exponents, smaller (DESIGN section 6).
///
/// The frames are ordinary ones (RFC 8878): single segments of blocks, each of which has a Huffman code of its own or goes
/// on with the last one.
struct LiteralFrameEncoder {
    /// The most bytes that a zstd block may hold (RFC 8878 section 3.1.1.2.4).
    static let largestBlock = 128 << 10
    /// Shorter blocks are stored.
    private static let smallestBlock = 64
    /// A code of its own has to make a block shorter by more than this part: decoding prepares for it as long as it takes
    /// to decode some thousand bytes.
    private static let leastGain = 256

    /// Whether all bytes are counted, and not some where those show enough.
    private let countsAll: Bool
    private var streams: HuffmanStreams?

    init(countsAll: Bool = false) { self.countsAll = countsAll }

    /// Encodes `source` as one frame at the beginning of `destination` and returns its size, or `nil` if the frame
    /// would not be shorter than `limit`, or does not fit.
    ///
    /// - Parameter blockSize: the bytes of a block, each of which may have a Huffman code of its own.
    mutating func encode(
        _ source: RawSpan, into destination: inout MutableRawSpan, shorterThan limit: Int,
        blockSize: Int = largestBlock
    ) throws(StoreError) -> Int? {
        let streams = if let streams { streams } else { try HuffmanStreams() }
        self.streams = streams
        // A frame without content has an empty block.
        let ranges = stride(from: 0, to: max(1, source.byteCount), by: blockSize).map { start in
            start..<min(start + blockSize, source.byteCount)
        }
        let end = min(limit - 1, destination.byteCount)
        var position = 0
        func append(_ bytes: RawSpan) -> Bool {
            guard bytes.byteCount <= end - position else { return false }
            destination.withBytes(in: position..<position + bytes.byteCount) { $0.copy(bytes) }
            position += bytes.byteCount
            return true
        }
        func append(_ bytes: [UInt8]) -> Bool { bytes.withRawSpan { append($0) } }

        guard append(ZstdFormat.frameHeader(contentSize: source.byteCount)) else { return nil }
        var codes = CodeChoice(
            ranges.map { range in
                let bytes = source.extracting(range)
                return countsAll ? ByteCounts.all(of: bytes) : ByteCounts.about(of: bytes)
            })
        for (number, range) in ranges.enumerated() {
            let bytes = source.extracting(range)
            let isLast = number == ranges.count - 1
            if let byte = bytes.constantByte {
                let header = ZstdFormat.blockHeader(.repeated, size: range.count, isLast: isLast)
                guard append(header + [byte]) else { return nil }
                continue
            }
            if range.count >= LiteralFrameEncoder.smallestBlock,
                let block = codes.choose(for: number, bytes).flatMap({ encode(bytes, $0, streams) })
            {
                codes.current = block.encoding
                let header = ZstdFormat.blockHeader(.compressed, size: block.size, isLast: isLast)
                guard append(header + block.beginning) else { return nil }
                for stream in 0..<4 {
                    guard streams.withStream(stream, { append($0) }) else { return nil }
                }
                // The number of sequences.
                guard append([0]) else { return nil }
            } else {
                guard append(ZstdFormat.blockHeader(.raw, size: range.count, isLast: isLast)), append(bytes) else {
                    return nil
                }
            }
        }
        return position
    }

    /// A block of literals whose streams are ready.
    private struct Block {
        let encoding: HuffmanEncoding
        /// What stands before the streams.
        let beginning: [UInt8]
        let size: Int
    }

    /// Encodes a block's streams; `nil` if it would not be shorter than its bytes.
    private func encode(_ bytes: RawSpan, _ choice: CodeChoice.Choice, _ streams: HuffmanStreams) -> Block? {
        var (encoding, isDescribed) = (choice.encoding, choice.isDescribed)
        var sizes = streams.encode(bytes, encoding)
        // Where much more comes out than a sample of the bytes promised, all are counted.
        if sizes.reduce(0, +) > choice.size + choice.size / 32 + 64,
            let own = HuffmanEncoding(ByteCounts.all(of: bytes))
        {
            (encoding, isDescribed) = (own, true)
            sizes = streams.encode(bytes, own)
        }
        let description = isDescribed ? encoding.description : []
        let jumpTable = sizes.dropLast().flatMap { ZstdFormat.littleEndian($0, 2) }
        let encodedSize = description.count + jumpTable.count + sizes.reduce(0, +)
        let header = ZstdFormat.literalsHeader(bytes.byteCount, encodedSize: encodedSize, isDescribed: isDescribed)
        let size = header.count + encodedSize + 1
        guard size < bytes.byteCount else { return nil }
        return Block(encoding: encoding, beginning: header + description + jumpTable, size: size)
    }

    /// The codes of a frame's blocks.
    private struct CodeChoice {
        /// The code that the next block can go on with.
        var current: HuffmanEncoding?
        private let counts: [[UInt32]]
        /// One for all blocks.
        private let common: HuffmanEncoding?
        /// How much longer the common code is than the entropy, as numerator and denominator.
        private let bitCount: Int
        private let entropy: Int

        struct Choice {
            let encoding: HuffmanEncoding
            /// Whether the block describes the code, because it is not that of the block before.
            let isDescribed: Bool
            /// The block's size, about.
            let size: Int
        }

        /// - Parameter counts: how often each value occurs in each block, about.
        init(_ counts: [[UInt32]]) {
            self.counts = counts
            var total = counts[0]
            for counts in counts.dropFirst() {
                for value in total.indices { total[value] += counts[value] }
            }
            common = HuffmanEncoding(total)
            bitCount = common?.bitCount(total) ?? 0
            entropy = max(1, ByteCounts.entropy(total))
        }

        /// The code that makes a block shortest; `nil` if none makes it shorter.
        func choose(for number: Int, _ bytes: RawSpan) -> Choice? {
            let counts = counts[number]
            var best: Choice?
            func offer(_ encoding: HuffmanEncoding?, isDescribed: Bool, gain: Int = 0) {
                guard let encoding, let bits = encoding.bitCount(counts) else { return }
                let size = bits / 8 + (isDescribed ? encoding.description.count : 0)
                if size < (best?.size ?? bytes.byteCount) - gain {
                    best = Choice(encoding: encoding, isDescribed: isDescribed, size: size)
                }
            }
            offer(current, isDescribed: false)
            offer(common, isDescribed: true)
            if self.counts.count > 1 {
                // A code takes more than the entropy; one that is made for a block about as much more as the common one.
                let guess = ByteCounts.entropy(counts) * bitCount / entropy / 8 + (common?.description.count ?? 0)
                let gain = bytes.byteCount / LiteralFrameEncoder.leastGain
                if guess < (best?.size ?? bytes.byteCount) - gain {
                    offer(HuffmanEncoding(counts), isDescribed: true, gain: gain)
                }
            }
            return best
        }
    }
}
