import Synchronization

/// How a container's chunks are compressed.
public enum Compression: String, Sendable, CaseIterable {
    /// Not at all: the file can be mapped and used in place.
    case none
    /// At a speed that costs no time when saving to disk.
    case fast
    /// As small as possible; may take ten times longer.
    case smallest

    /// The zstd level; `nil` to store.
    var level: Int? {
        switch self {
        case .none: nil
        case .fast: 3
        case .smallest: 19
        }
    }
}

/// A chunk as it goes into the file.
struct EncodedChunk: Sendable {
    /// Where the encoded bytes are.
    let memory: Memory
    let range: Range<Int>
    let coding: ChunkRow.Coding
    let checksum: Checksum64
    let digest: Digest
    /// Whether `memory` belongs to a ``BufferPool`` and goes back there.
    let isPooled: Bool
}

/// Buffers of one chunk's size that are used again and again.
final class BufferPool: Sendable {
    private let free = Mutex<[Memory]>([])

    func take() throws(StoreError) -> Memory {
        if let memory = free.withLock({ $0.popLast() }) { return memory }
        return try Memory.allocate(FileLayout.chunkSize)
    }

    func giveBack(_ memory: Memory) { free.withLock { $0.append(memory) } }
}

/// Encodes chunks; one a thread.
final class ChunkEncoder {
    private var zstd: ZstdEncoder?
    private let pool: BufferPool

    init(_ compression: Compression, _ pool: BufferPool) throws(StoreError) {
        zstd = if let level = compression.level { try ZstdEncoder(level: level) } else { nil }
        self.pool = pool
    }

    /// Encodes the bytes `range` of `memory`, which stays as it is until the chunk was written.
    ///
    /// - Parameter isPooled: whether `memory` is one of the pool's; then it is given back there as soon as possible.
    func encode(_ memory: Memory, _ range: Range<Int>, isPooled: Bool) throws(StoreError) -> EncodedChunk {
        let digest = memory.withBytes(in: range) { Digest(of: $0) }
        if zstd != nil {
            let buffer = try pool.take()
            let size = try memory.withBytes(in: range) { (source: RawSpan) throws(StoreError) in
                try buffer.withMutableBytes(in: 0..<buffer.byteCount) {
                    (destination: inout MutableRawSpan) throws(StoreError) in
                    try zstd!.encode(source, into: &destination, shorterThan: source.byteCount)
                }
            }
            if let size {
                if isPooled { pool.giveBack(memory) }
                return EncodedChunk(
                    memory: buffer, range: 0..<size, coding: .zstd,
                    checksum: buffer.withBytes(in: 0..<size) { Checksum64(of: $0) }, digest: digest, isPooled: true)
            }
            pool.giveBack(buffer)
        }
        return EncodedChunk(
            memory: memory, range: range, coding: .stored, checksum: memory.withBytes(in: range) { Checksum64(of: $0) },
            digest: digest, isPooled: isPooled)
    }
}
