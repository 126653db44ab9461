import NNStore

/// Reads a stretch of a file from front to back, block by block: nobody knows before where a description ends and gigabytes begin.
struct SequentialReader {
    private let source: any ByteSource
    private let version: SourceVersion
    private let end: Int
    private let cut: @Sendable (Int) -> InteropError
    private var block: [UInt8] = []
    private var blockStart: Int
    private var position = 0

    private static let blockSize = 64 << 10

    /// - Parameters:
    ///   - range: where to read, in bytes from the start of the source.
    ///   - cut: the error to throw where the range ends too early, which it is given.
    init(
        _ source: any ByteSource, _ version: SourceVersion, range: Range<Int>,
        cut: @escaping @Sendable (Int) -> InteropError
    ) {
        self.source = source
        self.version = version
        self.cut = cut
        blockStart = range.lowerBound
        end = range.upperBound
    }

    /// Where the next byte is.
    var offset: Int { blockStart + position }

    /// How many bytes are left.
    var remaining: Int { end - offset }

    mutating func byte() throws -> UInt8 {
        if position == block.count { try fill(1) }
        defer { position += 1 }
        return block[position]
    }

    /// The next `count` bytes.
    mutating func bytes(_ count: Int) throws -> ArraySlice<UInt8> {
        if block.count - position < count { try fill(count) }
        defer { position += count }
        return block[position..<position + count]
    }

    /// A little-endian integer of `count` bytes.
    mutating func integer(_ count: Int) throws -> UInt64 {
        try bytes(count).reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }

    /// Makes the block begin at the present place and have at least `count` bytes.
    private mutating func fill(_ count: Int) throws {
        guard count <= remaining else { throw cut(end) }
        let start = offset
        let next = blockStart + block.count
        let size = max(count - (next - start), min(SequentialReader.blockSize, end - next))
        let more = try source.bytes(next..<next + size, of: version)
        block.removeFirst(position)
        block += more
        blockStart = start
        position = 0
    }
}
