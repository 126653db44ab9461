import Synchronization

/// A storage as a container takes it: its size, and its bytes chunk by chunk.
protocol ChunkSource: Sendable {
    /// The bytes of the storage in the container.
    var byteCount: Int { get }

    /// The transforms that the dtypes of its tensors suggest, `nil` among them for none.
    var transforms: [PlaneTransform?] { get }

    /// The logical bytes of a chunk. May be called from several threads at once, and more than once for a chunk.
    func bytes(of sequence: Int, _ pool: BufferPool) throws -> ChunkBytes

    /// The chunk as it goes into the file, where it need not be encoded; `nil` where it has to be.
    func encoded(_ sequence: Int, _ pool: BufferPool) throws -> EncodedChunk?
}

extension ChunkSource {
    func encoded(_ sequence: Int, _ pool: BufferPool) throws -> EncodedChunk? { nil }
}

/// The logical bytes of a chunk, in memory that stays as it is until the chunk was written.
struct ChunkBytes: Sendable {
    let memory: Memory
    let range: Range<Int>
    /// Whether `memory` belongs to a ``BufferPool`` and goes back there.
    let isPooled: Bool

    func hasSameBytes(as other: ChunkBytes) -> Bool {
        memory.withBytes(in: range) { own in other.memory.withBytes(in: other.range) { own.hasSameBytes(as: $0) } }
    }

    func giveBack(to pool: BufferPool) {
        if isPooled { pool.giveBack(memory) }
    }
}

/// Writes storages to a container: encodes their chunks on several threads, writes them in order, and stores equal ones
/// once (spec section 7).
///
/// Which chunks share their bytes does not depend on the threads: a chunk names the bytes of the first one before it
/// that has the same digest and, compared byte for byte, the same contents.
final class StorageWriting: Sendable {
    private let sources: [any ChunkSource]
    private let options: SaveOptions
    private let pool = BufferPool()
    private let encoders: Pool<ChunkEncoder>
    /// The number of each storage's first chunk among all chunks; those that repeat another storage have none.
    private let firstChunk: [Int]
    private let chunkCount: Int
    private let logicalBytes: Int
    /// For each storage the earlier one whose chunks it names as a whole.
    private let repeated: [Int?]
    /// For each digest a chunk that has it.
    private let known = Mutex<[Digest: Int]>([:])

    init(_ sources: [any ChunkSource], _ options: SaveOptions) throws {
        self.sources = sources
        self.options = options
        let (compression, version, pool) = (options.compression, options.formatVersion, pool)
        encoders = Pool { () throws(StoreError) in try ChunkEncoder(compression, version, pool) }
        // A storage that is to be mapped has its chunks side by side, so it can share all of them or none.
        repeated =
            options.formatVersion.major >= 2 && options.compression == .none
            ? try StorageWriting.repeatedStorages(sources, pool) : [Int?](repeating: nil, count: sources.count)
        var firstChunk: [Int] = []
        var chunks = 0
        var bytes = 0
        for (source, repeated) in zip(sources, repeated) {
            firstChunk.append(chunks)
            if repeated == nil { chunks += FileLayout.chunkCount(storageSize: source.byteCount) }
            let (sum, overflow) = bytes.addingReportingOverflow(source.byteCount)
            guard !overflow else {
                throw StoreError.invalidTree(path: "", reason: "its storages have more than 2^63 bytes")
            }
            bytes = sum
        }
        self.firstChunk = firstChunk
        chunkCount = chunks
        logicalBytes = bytes
    }

    private var sharesChunks: Bool { options.formatVersion.major >= 2 && options.compression != .none }

    /// The first chunk of each digest, as it was written.
    private typealias Written = [Digest: (chunk: Int, row: ChunkRow)]

    /// What was made of a chunk.
    private enum Outcome: Sendable {
        case encoded(EncodedChunk)
        /// It has the bytes of an earlier one.
        case same(Int, Digest)
    }

    /// The storage that a chunk belongs to, and its number there.
    private func place(of chunk: Int) -> (storage: Int, sequence: Int) {
        // The last storage that begins at or before the chunk and has chunks: those without begin where the next does.
        var (low, high) = (0, firstChunk.count)
        while high - low > 1 {
            let middle = (low + high) / 2
            if firstChunk[middle] <= chunk { low = middle } else { high = middle }
        }
        return (low, chunk - firstChunk[low])
    }

    private func bytes(of chunk: Int) throws -> ChunkBytes {
        let (storage, sequence) = place(of: chunk)
        return try sources[storage].bytes(of: sequence, pool)
    }

    /// Writes all storages and their chunks.
    func write(to output: ContainerOutput) throws {
        var written: Written = [:]
        var storage = -1
        var digest: StorageDigestBuilder?
        var rows: [Int: [ChunkRow]] = [:]
        let wanted = Set(repeated.compactMap(\.self))
        func add() throws(StoreError) {
            try output.add(
                StorageRow(id: storage + 1, byteCount: sources[storage].byteCount, digest: digest!.digest()))
        }
        // Goes to the next storage that has chunks of its own; those without come and go at once.
        func beginNext() throws(StoreError) {
            storage += 1
            while storage < sources.count {
                digest = try StorageDigestBuilder(byteCount: sources[storage].byteCount)
                if let first = repeated[storage] {
                    for row in rows[first]! {
                        try output.repeatChunk(row, sequence: row.sequence, storage: storage + 1)
                        digest!.append(row.digest)
                    }
                } else if sources[storage].byteCount > 0 {
                    return
                }
                try add()
                storage += 1
            }
        }
        try beginNext()
        try Workers.pipeline(
            chunkCount, threads: options.threads, window: 2 * options.threads + 2, cancellation: options.cancellation
        ) {
        } produce: { chunk, _ in
            try self.produce(chunk)
        } consume: { chunk, outcome in
            try options.cancellation?.check()
            let sequence = chunk - firstChunk[storage]
            let row = try write(outcome, chunk, sequence, storage, &written, to: output)
            digest!.append(row.digest)
            if wanted.contains(storage) { rows[storage, default: []].append(row) }
            if sequence + 1 == FileLayout.chunkCount(storageSize: sources[storage].byteCount) {
                try add()
                try beginNext()
            }
            options.progress?(output.logicalBytes, logicalBytes)
        }
    }

    /// Encodes a chunk, unless one with the same bytes is known. On a worker's thread.
    private func produce(_ chunk: Int) throws -> Outcome {
        let (storage, sequence) = place(of: chunk)
        if let encoded = try sources[storage].encoded(sequence, pool) { return .encoded(encoded) }
        let bytes = try sources[storage].bytes(of: sequence, pool)
        let digest = bytes.memory.withBytes(in: bytes.range) { Digest(of: $0) }
        if sharesChunks {
            let earlier: Int? = known.withLock { known in
                if let other = known[digest], other < chunk { return other }
                known[digest] = chunk
                return nil
            }
            if let earlier, try hasBytes(bytes, earlier) {
                bytes.giveBack(to: pool)
                return .same(earlier, digest)
            }
        }
        return .encoded(try encode(bytes, digest, storage))
    }

    private func encode(_ bytes: ChunkBytes, _ digest: Digest, _ storage: Int) throws -> EncodedChunk {
        try encoders.with { (encoder) throws(StoreError) in
            try encoder.encode(
                bytes.memory, bytes.range, sources[storage].transforms, digest, isPooled: bytes.isPooled)
        }
    }

    private func hasBytes(_ bytes: ChunkBytes, _ other: Int) throws -> Bool {
        let others = try self.bytes(of: other)
        defer { others.giveBack(to: pool) }
        return bytes.hasSameBytes(as: others)
    }

    /// Writes a chunk, or names the bytes of the first one like it; in the order of chunks.
    private func write(
        _ outcome: Outcome, _ chunk: Int, _ sequence: Int, _ storage: Int, _ written: inout Written,
        to output: ContainerOutput
    ) throws -> ChunkRow {
        let digest =
            switch outcome {
            case .encoded(let encoded): encoded.digest
            case .same(_, let digest): digest
            }
        let storageSize = sources[storage].byteCount
        if let first = written[digest], try canShare(first, outcome, chunk, storageSize) {
            if case .encoded(let encoded) = outcome { giveBack(encoded) }
            return try output.repeatChunk(first.row, sequence: sequence, storage: storage + 1)
        }
        let encoded: EncodedChunk
        switch outcome {
        case .encoded(let chunk): encoded = chunk
        case .same: encoded = try encode(bytes(of: chunk), digest, storage)
        }
        let row = try output.write(encoded, sequence: sequence, storage: storage + 1, storageSize: storageSize)
        giveBack(encoded)
        if sharesChunks, !row.extent.isEmpty, written[digest] == nil { written[digest] = (chunk, row) }
        return row
    }

    private func giveBack(_ chunk: EncodedChunk) {
        if chunk.isPooled { pool.giveBack(chunk.memory) }
    }

    private func canShare(
        _ first: (chunk: Int, row: ChunkRow), _ outcome: Outcome, _ chunk: Int, _ storageSize: Int
    ) throws -> Bool {
        if first.row.encoding.isStored,
            first.row.extent.lowerBound % FileLayout.storedAlignment(storageSize: storageSize) != 0
        {
            return false
        }
        if case .same(first.chunk, _) = outcome { return true }
        let bytes = try bytes(of: chunk)
        defer { bytes.giveBack(to: pool) }
        return try hasBytes(bytes, first.chunk)
    }

    /// For each storage an earlier one with equal bytes, if there is one that itself repeats none.
    private static func repeatedStorages(_ sources: [any ChunkSource], _ pool: BufferPool) throws -> [Int?] {
        struct Beginning: Hashable {
            let byteCount: Int
            let digest: Digest
        }
        var repeated = [Int?](repeating: nil, count: sources.count)
        let sizes = Dictionary(sources.map { ($0.byteCount, 1) }, uniquingKeysWith: +)
        var first: [Beginning: Int] = [:]
        for (number, source) in sources.enumerated() where source.byteCount > 0 && sizes[source.byteCount]! > 1 {
            let bytes = try source.bytes(of: 0, pool)
            let digest = bytes.memory.withBytes(in: bytes.range) { Digest(of: $0) }
            bytes.giveBack(to: pool)
            let beginning = Beginning(byteCount: source.byteCount, digest: digest)
            if let other = first[beginning] {
                if try haveSameBytes(source, sources[other], pool) { repeated[number] = other }
            } else {
                first[beginning] = number
            }
        }
        return repeated
    }

    private static func haveSameBytes(
        _ one: any ChunkSource, _ other: any ChunkSource, _ pool: BufferPool
    ) throws -> Bool {
        for sequence in 0..<FileLayout.chunkCount(storageSize: one.byteCount) {
            let bytes = try one.bytes(of: sequence, pool)
            defer { bytes.giveBack(to: pool) }
            let others = try other.bytes(of: sequence, pool)
            defer { others.giveBack(to: pool) }
            if !bytes.hasSameBytes(as: others) { return false }
        }
        return true
    }
}
