import NNStore

/// The bytes of a pickle.
struct PickleInput {
    /// What messages call it.
    let name: String
    private var reader: SequentialReader

    /// The bytes of `range`; offsets are the source's.
    init(_ source: any ByteSource, _ version: SourceVersion, range: Range<Int>, name: String) {
        self.name = name
        reader = SequentialReader(source, version, range: range) { .invalidPickle(file: name, .cut(offset: $0)) }
    }

    /// Bytes in memory.
    init(_ bytes: [UInt8], name: String) {
        self.init(
            MemorySource(bytes, name: name), SourceVersion(byteCount: bytes.count), range: 0..<bytes.count, name: name)
    }

    /// Where the next byte is.
    var offset: Int { reader.offset }

    /// How many bytes are left.
    var remaining: Int { reader.remaining }

    func error(_ problem: PickleProblem) -> InteropError { .invalidPickle(file: name, problem) }

    mutating func byte() throws -> UInt8 { try reader.byte() }

    /// The next `count` bytes.
    mutating func bytes(_ count: Int) throws -> ArraySlice<UInt8> { try reader.bytes(count) }

    /// A little-endian integer of `count` bytes.
    mutating func integer(_ count: Int) throws -> UInt64 { try reader.integer(count) }

    /// The bytes up to the next line feed, which is passed.
    mutating func line(_ operation: String, limit: Int) throws -> [UInt8] {
        let start = offset
        var line: [UInt8] = []
        while true {
            let next = try byte()
            if next == UInt8(ascii: "\n") { return line }
            guard line.count < limit else {
                throw error(
                    .length(offset: start, operation: operation, length: "more than \(limit)", available: limit))
            }
            line.append(next)
        }
    }
}
