@testable import NNStore
import Synchronization

/// A test double that counts what is read of another source.
final class CountingSource: ByteSource {
    private let source: MemorySource
    private let counts = Mutex((bytes: 0, reads: 0))

    init(_ source: MemorySource) { self.source = source }

    var name: String { source.name }
    var bytesRead: Int { counts.withLock { $0.bytes } }
    var readCount: Int { counts.withLock { $0.reads } }

    private func count(_ bytes: Int) {
        counts.withLock { counts in
            counts.bytes += bytes
            counts.reads += 1
        }
    }

    func readEnd(_ count: Int) throws(StoreError) -> (bytes: [UInt8], version: SourceVersion) {
        self.count(count)
        return try source.readEnd(count)
    }

    func read(
        _ ranges: [Range<Int>], of version: SourceVersion, into destination: inout MutableRawSpan
    ) throws(StoreError) {
        count(destination.byteCount)
        try source.read(ranges, of: version, into: &destination)
    }
}

/// A test double for a file that is written: a sink that keeps the bytes.
final class MemorySink: ByteSink {
    let name = "memory"
    private(set) var contents: [UInt8] = []
    private(set) var isFinished = false
    private(set) var isAbandoned = false

    func append(_ bytes: RawSpan) throws(StoreError) {
        bytes.withUnsafeBytes { contents.append(contentsOf: $0) }
    }

    func finish(_ existing: ExistingDestination) throws(StoreError) { isFinished = true }

    func abandon() { isAbandoned = true }
}

/// Saves a tree into memory.
func containerBytes(
    _ state: StateTree, metadata: StateTree = [:], options: SaveOptions = SaveOptions()
) throws -> [UInt8] {
    let sink = MemorySink()
    try Checkpoint.save(state, metadata: metadata, to: sink, options: options)
    return sink.contents
}

/// Every compression in every format version.
let allKinds: [(compression: Compression, version: FormatVersion)] = FileLayout.writtenVersions.flatMap { version in
    Compression.allCases.map { ($0, version) }
}

extension StateTensor {
    /// The elements in row-major order, one after another.
    var elementBytes: [UInt8] {
        get throws {
            var bytes: [UInt8] = []
            try forEachPiece { piece in piece.withUnsafeBytes { bytes.append(contentsOf: $0) } }
            return bytes
        }
    }
}

extension Storage {
    var allBytes: [UInt8] {
        get throws { try withBytes { span in span.withUnsafeBytes { Array($0) } } }
    }
}
