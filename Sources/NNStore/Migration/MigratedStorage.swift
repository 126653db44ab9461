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
        try buffer.withMutableBytes(in: 0..<chunk.logicalSize) { try reader.decode(chunk, of: row, into: &$0) }
        return ChunkBytes(memory: buffer, range: 0..<chunk.logicalSize, isPooled: true)
    }

    func encoded(_ sequence: Int, _ pool: BufferPool) throws -> EncodedChunk? {
        let chunk = chunks[sequence]
        guard path.keeps(chunk.encoding, compression) else { return nil }
        let buffer = try pool.take()
        let range = 0..<chunk.extent.count
        try buffer.withMutableBytes(in: range) { try reader.copyEncoded(chunk, of: row, into: &$0) }
        return EncodedChunk(
            memory: buffer, range: range, encoding: chunk.encoding, digest: chunk.digest, isPooled: true)
    }
}

/// Reads the chunks of a container that is migrated, on several threads.
final class MigrationReader: Sendable {
    private let chunkReader: ChunkReader
    private let decoders: Pool<ChunkDecoder>
    private let copied = Atomic<Int>(0)

    init(_ checkpoint: Checkpoint) {
        chunkReader = ChunkReader(checkpoint)
        decoders = Pool { () throws(StoreError) in try ChunkDecoder(checkpoint.source, checkpoint.sourceVersion) }
    }

    /// How many chunks were copied as they are encoded.
    var copiedCount: Int { copied.load(ordering: .relaxed) }

    /// The chunk's encoded bytes, their checksums checked.
    func copyEncoded(
        _ chunk: ChunkRow, of storage: StorageRow, into destination: inout MutableRawSpan
    ) throws(StoreError) {
        copied.add(1, ordering: .relaxed)
        try decoders.with { (decoder) throws(StoreError) in
            try chunkReader.naming(chunk, of: storage) { () throws(ChunkDecoder.Failure) in
                try decoder.readEncoded(chunk, into: &destination)
            }
        }
    }

    /// The chunk's logical bytes, compared with their digest.
    func decode(_ chunk: ChunkRow, of storage: StorageRow, into destination: inout MutableRawSpan) throws(StoreError) {
        try decoders.with { (decoder) throws(StoreError) in
            try chunkReader.naming(chunk, of: storage) { () throws(ChunkDecoder.Failure) in
                try decoder.decode(chunk, into: &destination)
                let digest = Digest(of: destination.bytes)
                guard digest == chunk.digest else {
                    throw .damaged("its digest is \(digest), the index says \(chunk.digest)")
                }
            }
        }
    }
}
