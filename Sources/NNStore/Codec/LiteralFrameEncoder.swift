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
    private static let values = 256

    /// How often each value occurs in each quarter of each block, and in each block as a whole.
    private var quarterCounts: [UInt32] = []
    private var blockCounts: [UInt32] = []

    /// What becomes of a block.
    private struct Block {
        let range: Range<Int>
        var coding: Coding
        /// Its size in the frame without its header.
        var size: Int

        enum Coding {
            case stored
            case repeated(UInt8)
            case literals(HuffmanEncoding, isDescribed: Bool, streams: [Int])
        }
    }

    /// Encodes `source` as one frame at the beginning of `destination` and returns its size, or `nil` if the frame
    /// would not be shorter than `limit`, or does not fit.
    ///
    /// - Parameter blockSize: the bytes of a block, each of which may have a Huffman code of its own.
    mutating func encode(
        _ source: RawSpan, into destination: inout MutableRawSpan, shorterThan limit: Int,
        blockSize: Int = largestBlock
    ) -> Int? {
        let header = LiteralFrameEncoder.frameHeader(contentSize: source.byteCount)
        let blocks = plan(source, blockSize)
        let size = blocks.reduce(header.count) { $0 + LiteralFrameEncoder.blockHeaderSize + $1.size }
        guard size < limit, size <= destination.byteCount else { return nil }
        var position = 0
        func append(_ bytes: [UInt8]) {
            bytes.withRawSpan { bytes in
                destination.withBytes(in: position..<position + bytes.byteCount) { $0.copy(bytes) }
            }
            position += bytes.count
        }
        append(header)
        for (number, block) in blocks.enumerated() {
            let bytes = source.extracting(block.range)
            let isLast = number == blocks.count - 1
            switch block.coding {
            case .stored:
                append(LiteralFrameEncoder.blockHeader(type: 0, size: block.size, isLast: isLast))
                destination.withBytes(in: position..<position + block.size) { $0.copy(bytes) }
                position += block.size
            case .repeated(let byte):
                append(LiteralFrameEncoder.blockHeader(type: 1, size: bytes.byteCount, isLast: isLast))
                append([byte])
            case .literals(let encoding, let isDescribed, let streams):
                append(LiteralFrameEncoder.blockHeader(type: 2, size: block.size, isLast: isLast))
                let description = isDescribed ? encoding.description : []
                let encodedSize = description.count + LiteralFrameEncoder.jumpTableSize + streams.reduce(0, +)
                append(
                    LiteralFrameEncoder.literalsHeader(
                        bytes.byteCount, encodedSize: encodedSize, isDescribed: isDescribed))
                append(description)
                append(streams.dropLast().flatMap { [UInt8(truncatingIfNeeded: $0), UInt8($0 >> 8)] })
                destination.withBytes(in: position..<position + streams.reduce(0, +)) {
                    LiteralFrameEncoder.write(bytes, encoding, streams, to: &$0)
                }
                position += streams.reduce(0, +)
                // The number of sequences.
                append([0])
            }
        }
        return size
    }

    // MARK: Choosing

    /// Decides what becomes of each block.
    private mutating func plan(_ source: RawSpan, _ blockSize: Int) -> [Block] {
        // A frame without content has an empty block.
        let ranges = stride(from: 0, to: max(1, source.byteCount), by: blockSize).map { start in
            start..<min(start + blockSize, source.byteCount)
        }
        let values = LiteralFrameEncoder.values
        var total = [UInt32](repeating: 0, count: values)
        if quarterCounts.count < 4 * values * ranges.count {
            quarterCounts = [UInt32](repeating: 0, count: 4 * values * ranges.count)
            blockCounts = [UInt32](repeating: 0, count: values * ranges.count)
        }
        for (number, range) in ranges.enumerated() {
            count(source.extracting(range), number)
            for value in 0..<values { total[value] += blockCounts[number * values + value] }
        }
        let common = HuffmanEncoding(total.span)
        // A code takes more than the entropy; one that is made for a block takes as much more as the common one, about.
        let entropy = LiteralFrameEncoder.entropy(total.span)
        let bitCount = common?.bitCount(total.span) ?? 0
        var current: HuffmanEncoding?
        return ranges.enumerated().map { number, range in
            let counts = blockCounts.span.extracting(number * values..<(number + 1) * values)
            var block = Block(range: range, coding: .stored, size: range.count)
            if let value = (0..<values).first(where: { counts[$0] > 0 }), counts[value] == range.count {
                block.coding = .repeated(UInt8(value))
                block.size = 1
                return block
            }
            guard range.count >= LiteralFrameEncoder.smallestBlock else { return block }
            if let current { offer(current, isDescribed: false, counts, number, &block) }
            if let common { offer(common, isDescribed: true, counts, number, &block) }
            if ranges.count > 1 {
                let guess = LiteralFrameEncoder.entropy(counts) * bitCount / max(1, entropy) / 8
                if guess + (common?.description.count ?? 0) < block.size - block.size / LiteralFrameEncoder.leastGain,
                    let own = HuffmanEncoding(counts)
                {
                    offer(own, isDescribed: true, counts, number, &block)
                }
            }
            if case .literals(let encoding, _, _) = block.coding { current = encoding }
            return block
        }
    }

    /// Codes a block so, if that is shorter than what is planned for it.
    private func offer(
        _ encoding: HuffmanEncoding, isDescribed: Bool, _ counts: Span<UInt32>, _ number: Int,
        _ block: inout Block
    ) {
        guard let bits = encoding.bitCount(counts) else { return }
        let other = (isDescribed ? encoding.description.count : 0) + LiteralFrameEncoder.jumpTableSize + 5 + 1
        guard bits / 8 + other < block.size else { return }
        let streams = (0..<4).map { quarter in
            let start = (4 * number + quarter) * LiteralFrameEncoder.values
            // A bit marks the end.
            return encoding.bitCount(quarterCounts.span.extracting(start..<start + LiteralFrameEncoder.values))! / 8 + 1
        }
        let encodedSize = streams.reduce(other - 5 - 1, +)
        let header = LiteralFrameEncoder.literalsHeader(
            block.range.count, encodedSize: encodedSize, isDescribed: isDescribed)
        let size = header.count + encodedSize + 1
        if size < block.size {
            block.coding = .literals(encoding, isDescribed: isDescribed, streams: streams)
            block.size = size
        }
    }

    private mutating func count(_ bytes: RawSpan, _ number: Int) {
        let values = LiteralFrameEncoder.values
        let start = 4 * values * number
        // Sound: there are 4 * 256 counters from `start` on, and three quarters are at most as long as the bytes.
        unsafe bytes.withUnsafeBytes { bytes in
            unsafe quarterCounts.withUnsafeMutableBufferPointer { counts in
                let quarter = bytes.count < LiteralFrameEncoder.smallestBlock ? 0 : (bytes.count + 3) / 4
                unsafe nnstore_count_quarters(
                    bytes.assumingMemoryBound(to: UInt8.self).baseAddress, bytes.count, quarter,
                    counts.baseAddress! + start)
            }
        }
        for value in start..<start + values {
            blockCounts[number * values + value - start] =
                quarterCounts[value] + quarterCounts[value + values] + quarterCounts[value + 2 * values]
                + quarterCounts[value + 3 * values]
        }
    }

    /// The order-0 entropy of bytes with such counts, in bits.
    private static func entropy(_ counts: Span<UInt32>) -> Int {
        var count = 0
        var sum = 0
        for value in 0..<values where counts[value] > 0 {
            let occurrences = Int(counts[value])
            count += occurrences
            sum += occurrences * FixedLogarithm.roughBase2(occurrences)
        }
        return count == 0 ? 0 : (count * FixedLogarithm.roughBase2(count) - sum) >> 16
    }

    // MARK: Writing

    private static let blockHeaderSize = 3
    /// The sizes of the first three streams.
    private static let jumpTableSize = 6

    /// Magic number and frame header (RFC 8878 section 3.1.1.1) of a single segment.
    private static func frameHeader(contentSize: Int) -> [UInt8] {
        let magic: [UInt8] = [0x28, 0xb5, 0x2f, 0xfd]
        return switch contentSize {
        case ..<256: magic + [0x20] + littleEndian(contentSize, 1)
        case ..<(256 + 1 << 16): magic + [0x60] + littleEndian(contentSize - 256, 2)
        default: magic + [0xa0] + littleEndian(contentSize, 4)
        }
    }

    /// RFC 8878 section 3.1.1.2.
    private static func blockHeader(type: Int, size: Int, isLast: Bool) -> [UInt8] {
        littleEndian(size << 3 | type << 1 | (isLast ? 1 : 0), blockHeaderSize)
    }

    /// The header of literals in four streams (RFC 8878 section 3.1.1.3.1.1).
    private static func literalsHeader(_ count: Int, encodedSize: Int, isDescribed: Bool) -> [UInt8] {
        let (format, bits, size) =
            switch max(count, encodedSize) {
            case ..<(1 << 10): (1, 10, 3)
            case ..<(1 << 14): (2, 14, 4)
            default: (3, 18, 5)
            }
        return littleEndian((isDescribed ? 2 : 3) | format << 2 | count << 4 | encodedSize << (4 + bits), size)
    }

    private static func littleEndian(_ value: Int, _ size: Int) -> [UInt8] {
        (0..<size).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
    }

    /// Writes four streams (RFC 8878 section 4.2.2) of such sizes, which fill `destination`.
    private static func write(
        _ bytes: RawSpan, _ encoding: HuffmanEncoding, _ sizes: [Int], to destination: inout MutableRawSpan
    ) {
        let quarter = (bytes.byteCount + 3) / 4
        // Sound: the quarters lie inside the bytes, the streams inside the destination, and there are 256 codes.
        unsafe bytes.withUnsafeBytes { bytes in
            unsafe destination.withUnsafeMutableBytes { destination in
                unsafe encoding.codes.withUnsafeBufferPointer { codes in
                    let from = unsafe bytes.baseAddress!.assumingMemoryBound(to: UInt8.self)
                    let to = unsafe destination.baseAddress!.assumingMemoryBound(to: UInt8.self)
                    let ends = sizes.indices.map { sizes[...$0].reduce(0, +) }
                    precondition(ends[3] == destination.count && 3 * quarter <= bytes.count)
                    unsafe nnstore_huffman_encode(
                        codes.baseAddress, from, quarter, to, to + ends[0], from + quarter, quarter, to + ends[0],
                        to + ends[1])
                    unsafe nnstore_huffman_encode(
                        codes.baseAddress, from + 2 * quarter, quarter, to + ends[1], to + ends[2], from + 3 * quarter,
                        bytes.count - 3 * quarter, to + ends[2], to + ends[3])
                }
            }
        }
    }
}
