import NNStore

/// The bytes of a pickle, read block by block: what stands behind it in a file may be gigabytes.
struct PickleInput {
    /// What messages call it.
    let name: String
    private let source: any ByteSource
    private let version: SourceVersion
    private let end: Int
    private var block: [UInt8] = []
    private var blockStart: Int
    private var position = 0

    private static let blockSize = 64 << 10

    /// The bytes of `range`; offsets are the source's.
    init(_ source: any ByteSource, _ version: SourceVersion, range: Range<Int>, name: String) {
        self.source = source
        self.version = version
        self.name = name
        blockStart = range.lowerBound
        end = range.upperBound
    }

    /// Bytes in memory.
    init(_ bytes: [UInt8], name: String) {
        self.init(
            MemorySource([], name: name), SourceVersion(byteCount: bytes.count), range: 0..<bytes.count, name: name)
        block = bytes
    }

    /// Where the next byte is.
    var offset: Int { blockStart + position }

    /// How many bytes are left.
    var remaining: Int { end - offset }

    func error(_ problem: PickleProblem) -> InteropError { .invalidPickle(file: name, problem) }

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

    /// The bytes up to the next line feed, which is passed.
    mutating func line(_ operation: String, limit: Int) throws -> [UInt8] {
        let start = offset
        var line: [UInt8] = []
        while true {
            let next = try byte()
            if next == UInt8(ascii: "\n") { return line }
            guard line.count < limit else {
                throw error(.length(offset: start, operation: operation, length: "more than \(limit)", available: limit))
            }
            line.append(next)
        }
    }

    /// Makes the block begin at the present place and have at least `count` bytes.
    private mutating func fill(_ count: Int) throws {
        guard count <= remaining else { throw error(.cut(offset: end)) }
        let start = offset
        let next = blockStart + block.count
        let size = max(count - (next - start), min(PickleInput.blockSize, end - next))
        let more = try source.bytes(next..<next + size, of: version)
        block.removeFirst(position)
        block += more
        blockStart = start
        position = 0
    }
}
