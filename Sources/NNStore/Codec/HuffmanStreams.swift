import CCodec

/// The four streams of Huffman codes of a block's literals (RFC 8878 section 4.2.2); one a thread.
///
/// Sound: the C function reads quarters of the bytes and 256 codes, and writes between the ends of the streams' places.
@safe final class HuffmanStreams {
    private let memory: Memory
    private(set) var sizes = [0, 0, 0, 0]

    /// A code has eleven bits at most; a bit marks the end, and whole words are written.
    private static let room = LiteralFrameEncoder.largestBlock / 4 * HuffmanCode.longest / 8 + 16

    init() throws(StoreError) { memory = try Memory.allocate(4 * HuffmanStreams.room) }

    /// Encodes the bytes of a block, ten at least, all of which have codes, and returns the sizes of the streams.
    func encode(_ bytes: RawSpan, _ encoding: HuffmanEncoding) -> [Int] {
        let quarter = (bytes.byteCount + 3) / 4
        precondition(bytes.byteCount <= LiteralFrameEncoder.largestBlock && 3 * quarter < bytes.byteCount)
        memory.withMutableBytes(in: 0..<memory.byteCount) { memory in
            unsafe memory.withUnsafeMutableBytes { memory in
                unsafe bytes.withUnsafeBytes { bytes in
                    unsafe encoding.codes.withUnsafeBufferPointer { codes in
                        let from = unsafe bytes.baseAddress!.assumingMemoryBound(to: UInt8.self)
                        let to = unsafe memory.baseAddress!.assumingMemoryBound(to: UInt8.self)
                        for pair in [0, 2] {
                            var inputs = unsafe (pair..<pair + 2).map { number in
                                unsafe nnstore_huffman_input(
                                    bytes: from + number * quarter,
                                    count: min(quarter, bytes.count - number * quarter),
                                    out: to + number * HuffmanStreams.room,
                                    end: to + (number + 1) * HuffmanStreams.room, size: 0)
                            }
                            unsafe nnstore_huffman_encode(codes.baseAddress, &inputs)
                            sizes[pair] = unsafe inputs[0].size
                            sizes[pair + 1] = unsafe inputs[1].size
                        }
                    }
                }
            }
        }
        return sizes
    }

    /// Calls `body` with the bytes of a stream.
    func withStream<Result>(_ number: Int, _ body: (RawSpan) -> Result) -> Result {
        let start = number * HuffmanStreams.room
        return memory.withBytes(in: start..<start + sizes[number], body)
    }
}
