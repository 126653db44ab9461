import Synchronization

/// How a container's chunks are compressed.
public enum Compression: String, Sendable, CaseIterable {
    /// Not at all: the file can be mapped and used in place.
    case none
    /// At a speed that costs no time when saving to disk.
    case fast
    /// As small as possible; may take ten times longer.
    case smallest
}

/// A chunk as it goes into the file.
struct EncodedChunk: Sendable {
    /// Where the encoded bytes are.
    let memory: Memory
    let range: Range<Int>
    let encoding: ChunkEncoding
    let digest: Digest
    /// Whether `memory` belongs to a ``BufferPool`` and goes back there.
    let isPooled: Bool
}

/// Buffers for a chunk's bytes that are used again and again.
final class BufferPool: Sendable {
    private let free = Mutex<[Memory]>([])

    func take() throws(StoreError) -> Memory {
        if let memory = free.withLock({ $0.popLast() }) { return memory }
        // Several at a time: side by side they stand in huge pages, whose first touch is fast.
        let memories = try Memory.allocate([Int](repeating: FileLayout.chunkSize + BufferPool.slack, count: 4))
        free.withLock { $0 += memories.dropFirst() }
        return memories[0]
    }

    /// libzstd wants some room behind a frame that is about to fit.
    static let slack = 64

    func giveBack(_ memory: Memory) { free.withLock { $0.append(memory) } }
}

/// Encodes chunks; for one thread at a time.
final class ChunkEncoder {
    private let pool: BufferPool
    /// Of these there is the one that the format version and the compression ask for, or none.
    private var frames: ZstdEncoder?
    private var planes: PlaneCoder?

    /// - Parameter version: the format version that the chunks are for.
    init(_ compression: Compression, _ version: FormatVersion, _ pool: BufferPool) throws(StoreError) {
        self.pool = pool
        switch (compression, version.major) {
        case (.none, _): break
        case (.fast, 1): frames = try ZstdEncoder(level: 3)
        case (.smallest, 1): frames = try ZstdEncoder(level: 19)
        default: planes = try PlaneCoder(compression, pool)
        }
    }

    /// Encodes the bytes `range` of `memory`, which stays as it is until the chunk was written.
    ///
    /// - Parameters:
    ///   - transforms: those that the dtypes of the chunk's tensors suggest, `nil` among them for none.
    ///   - digest: that of the bytes.
    ///   - isPooled: whether `memory` is one of the pool's; then it is given back there as soon as possible.
    func encode(
        _ memory: Memory, _ range: Range<Int>, _ transforms: [PlaneTransform?], _ digest: Digest, isPooled: Bool
    ) throws(StoreError) -> EncodedChunk {
        if frames == nil && planes == nil { return store(memory, range, digest, isPooled: isPooled) }
        let buffer = try pool.take()
        let encoding = try memory.withBytes(in: range) { (source: RawSpan) throws(StoreError) in
            try buffer.withMutableBytes(in: 0..<buffer.byteCount) {
                (destination: inout MutableRawSpan) throws(StoreError) in
                try encode(source, transforms, into: &destination)
            }
        }
        if let encoding {
            if isPooled { pool.giveBack(memory) }
            return EncodedChunk(
                memory: buffer, range: 0..<encoding.encodedSize, encoding: encoding, digest: digest, isPooled: true)
        }
        pool.giveBack(buffer)
        return store(memory, range, digest, isPooled: isPooled)
    }

    private func store(_ memory: Memory, _ range: Range<Int>, _ digest: Digest, isPooled: Bool) -> EncodedChunk {
        let checksum = memory.withBytes(in: range) { Checksum64(of: $0) }
        return EncodedChunk(
            memory: memory, range: range, encoding: .stored(range.count, checksum), digest: digest, isPooled: isPooled)
    }

    /// `nil` if the chunk would not be shorter.
    private func encode(
        _ source: RawSpan, _ transforms: [PlaneTransform?], into destination: inout MutableRawSpan
    ) throws(StoreError) -> ChunkEncoding? {
        if let planes { return try planes.encode(source, transforms, into: &destination) }
        guard frames != nil,
            let size = try frames!.encode(source, into: &destination, shorterThan: source.byteCount)
        else { return nil }
        let checksum = destination.withBytes(in: 0..<size) { Checksum64(of: $0.bytes) }
        return ChunkEncoding(planes: nil, parts: [ChunkPart(coding: .zstd, encodedSize: size, checksum: checksum)])
    }
}
