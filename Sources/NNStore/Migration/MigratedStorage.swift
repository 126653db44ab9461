import Synchronization

/// A storage of a container on its way into another container: all of it, seen by tensors or not, so that digests and
/// ids stay.
struct MigratedStorage: ChunkSource {
    let row: StorageRow
    let chunks: [ChunkRow]
    let transforms: [PlaneTransform?]
    let path: MigrationPath
    let compression: Compression
    let reader: MigrationReader

    var byteCount: Int { row.byteCount }

    func bytes(of sequence: Int, _ pool: BufferPool) throws -> ChunkBytes {
        let chunk = chunks[sequence]
        let buffer = try pool.take()
        try buffer.withMutableBytes(in: 0..<chunk.logicalSize) { bytes in
            try reader.decode(chunk, of: row, into: &bytes)
            let digest = Digest(of: bytes.bytes)
            guard digest == chunk.digest else {
                throw reader.damaged(chunk, of: row, "its digest is \(digest), the index says \(chunk.digest)")
            }
        }
        return ChunkBytes(memory: buffer, range: 0..<chunk.logicalSize, isPooled: true)
    }

    func encoded(_ sequence: Int, _ pool: BufferPool) throws -> EncodedChunk? {
        let chunk = chunks[sequence]
        guard path.keeps(chunk.encoding, compression) else { return nil }
        reader.countCopied()
        let buffer = try pool.take()
        let range = 0..<chunk.extent.count
        try buffer.withMutableBytes(in: range) { bytes in try reader.readEncoded(chunk, of: row, into: &bytes) }
        return EncodedChunk(
            memory: buffer, range: range, encoding: chunk.encoding, digest: chunk.digest, isPooled: true)
    }
}

/// Reads the chunks of a container that is migrated, on several threads.
final class MigrationReader: Sendable {
    private let checkpoint: Checkpoint
    private let chunkReader: ChunkReader
    private let free = Mutex<[ChunkDecoder]>([])
    private let copied = Atomic<Int>(0)

    init(_ checkpoint: Checkpoint) {
        self.checkpoint = checkpoint
        chunkReader = ChunkReader(checkpoint)
    }

    /// How many chunks were copied as they are encoded.
    var copiedCount: Int { copied.load(ordering: .relaxed) }
    func countCopied() { copied.add(1, ordering: .relaxed) }

    func damaged(_ chunk: ChunkRow, of storage: StorageRow, _ reason: String) -> StoreError {
        chunkReader.damaged(chunk, of: storage, reason)
    }

    func decode(_ chunk: ChunkRow, of storage: StorageRow, into destination: inout MutableRawSpan) throws {
        try withDecoder(chunk, storage) { (decoder) throws(ChunkDecoder.Failure) in
            try decoder.decode(chunk, into: &destination)
        }
    }

    func readEncoded(_ chunk: ChunkRow, of storage: StorageRow, into destination: inout MutableRawSpan) throws {
        try withDecoder(chunk, storage) { (decoder) throws(ChunkDecoder.Failure) in
            try decoder.readEncoded(chunk, into: &destination)
        }
    }

    private func withDecoder(
        _ chunk: ChunkRow, _ storage: StorageRow, _ body: (ChunkDecoder) throws(ChunkDecoder.Failure) -> Void
    ) throws {
        let decoder =
            try free.withLock { $0.popLast() } ?? ChunkDecoder(checkpoint.source, checkpoint.sourceVersion)
        defer { giveBack(decoder) }
        do throws(ChunkDecoder.Failure) {
            try body(decoder)
        } catch {
            switch error {
            case .source(let error): throw error
            case .damaged(let reason): throw damaged(chunk, of: storage, reason)
            }
        }
    }

    private func giveBack(_ decoder: ChunkDecoder) { free.withLock { $0.append(decoder) } }
}
