/// A container in memory, to be read: one that came over a network, or that a ``MemorySink`` took.
///
/// Chunks are decoded where they lie, without a copy.
public struct MemorySource: ByteSource {
    /// What messages call it.
    public let name: String
    /// The container.
    public let bytes: [UInt8]

    /// A source over `bytes`, which messages call `name`.
    public init(_ bytes: [UInt8], name: String = "memory") {
        self.bytes = bytes
        self.name = name
    }

    /// The last `count` bytes and the version.
    public func readEnd(_ count: Int) throws(StoreError) -> (bytes: [UInt8], version: SourceVersion) {
        (Array(bytes.suffix(max(0, count))), SourceVersion(byteCount: bytes.count))
    }

    /// Copies `ranges` one after another to `destination`.
    public func read(
        _ ranges: [Range<Int>], of version: SourceVersion, into destination: inout MutableRawSpan
    ) throws(StoreError) {
        var position = 0
        for range in ranges {
            try withBytes(in: range) { (bytes: RawSpan) in
                destination.withBytes(in: position..<position + range.count) { $0.copy(bytes) }
            }
            position += range.count
        }
    }

    /// Calls `body` with the bytes of a range.
    func withBytes<Result>(in range: Range<Int>, _ body: (RawSpan) -> Result) throws(StoreError) -> Result {
        guard range.lowerBound >= 0, range.upperBound <= bytes.count else {
            throw .incomplete(file: name, reason: "it ends at byte \(bytes.count)")
        }
        return bytes.withRawSpan { body($0.extracting(range)) }
    }

    /// Calls `body` with the bytes of a range, and with those behind it, as many as there are but at most `count`.
    func withBytes<Result>(
        in range: Range<Int>, andBehind count: Int, _ body: (RawSpan, RawSpan) -> Result
    ) throws(StoreError) -> Result {
        let behind = max(0, min(count, bytes.count - range.upperBound))
        return try withBytes(in: range.lowerBound..<range.upperBound + behind) { both in
            body(both.extracting(0..<range.count), both.extracting(range.count...))
        }
    }
}

/// A container in memory, being written.
///
/// ```swift
/// let sink = MemorySink()
/// try Checkpoint.save(state, to: sink)
/// let checkpoint = try Checkpoint.open(MemorySource(sink.bytes))
/// ```
public final class MemorySink: ByteSink {
    /// What messages call it.
    public let name: String
    /// What was written so far.
    public private(set) var bytes: [UInt8] = []

    /// An empty sink, which messages call `name`.
    ///
    /// - Parameter capacity: so many bytes it takes without moving what it has.
    public init(name: String = "memory", reserving capacity: Int = 0) {
        self.name = name
        bytes.reserveCapacity(max(0, capacity))
    }

    /// Appends bytes.
    public func append(_ span: RawSpan) throws(StoreError) {
        unsafe span.withUnsafeBytes { unsafe bytes.append(contentsOf: $0) }
    }

    /// Does nothing: what was appended is there.
    public func finish(_ existing: ExistingDestination) throws(StoreError) {}

    /// Forgets what was written.
    public func abandon() { bytes = [] }

    /// Forgets what was written and keeps the memory, to be used again.
    public func removeAll() { bytes.removeAll(keepingCapacity: true) }
}
