/// Reads storages, or ranges of them, on several threads.
struct ChunkReader: Sendable {
    private let checkpoint: Checkpoint

    init(_ checkpoint: Checkpoint) { self.checkpoint = checkpoint }

    /// What decodes the container's chunks, for one thread.
    func decoder() throws(StoreError) -> ChunkDecoder {
        try ChunkDecoder(checkpoint.source, checkpoint.sourceVersion)
    }

    /// Bytes of a storage, and the memory that they go to.
    struct Piece: Sendable {
        let storage: StorageRow
        let range: Range<Int>
        let memory: Memory
        /// Where in the memory they begin.
        let offset: Int
    }

    /// Those of a storage's chunks that a range of its bytes is in.
    static func chunks(_ all: [ChunkRow], holding range: Range<Int>) -> ArraySlice<ChunkRow> {
        if range.isEmpty { return [] }
        return all[range.lowerBound / FileLayout.chunkSize...(range.upperBound - 1) / FileLayout.chunkSize]
    }

    /// Reads whole storages into memories of their sizes. Their digests are checked against those of their chunks.
    ///
    /// - Parameter areZeroed: whether the memories are zero, so that zeros need not be written.
    func read(
        _ storages: [StorageRow], into memories: [Memory], areZeroed: Bool = false, threads: Int?,
        cancellation: Cancellation? = nil
    ) throws {
        let pieces = zip(storages, memories).map {
            Piece(storage: $0, range: 0..<$0.byteCount, memory: $1, offset: 0)
        }
        try read(pieces, chunks(of: storages), areZeroed: areZeroed, threads: threads, cancellation: cancellation)
    }

    private func read(
        _ pieces: [Piece], _ chunks: [Result<[ChunkRow], StoreError>], areZeroed: Bool, threads: Int?,
        cancellation: Cancellation?
    ) throws {
        struct Task: Sendable {
            let piece: Int
            let chunk: ChunkRow
        }
        var tasks: [Task] = []
        for (number, chunks) in chunks.enumerated() {
            tasks += ChunkReader.chunks(try chunks.get(), holding: pieces[number].range).map {
                Task(piece: number, chunk: $0)
            }
        }
        let all = tasks
        try Workers.forEach(
            all.count, threads: Workers.count(threads), cancellation: cancellation, context: decoder
        ) { number, decoder in
            let piece = pieces[all[number].piece]
            try decode(all[number].chunk, for: piece, decoder, isZeroed: areZeroed)
        }
    }

    /// Decodes what a piece has of a chunk.
    ///
    /// - Parameters:
    ///   - isZeroed: whether the piece's memory is zero, so that zeros need not be written.
    ///   - isReadLater: whether the piece's memory is what the caller gets, not a buffer that is emptied next.
    func decode(
        _ chunk: ChunkRow, for piece: Piece, _ decoder: ChunkDecoder, isZeroed: Bool, isReadLater: Bool = true
    ) throws(StoreError) {
        let start = chunk.sequence * FileLayout.chunkSize
        let part = (start..<start + chunk.logicalSize).clamped(to: piece.range)
        let place = piece.offset + part.lowerBound - piece.range.lowerBound
        try piece.memory.withMutableBytes(in: place..<place + part.count) {
            (destination: inout MutableRawSpan) throws(StoreError) in
            try naming(chunk, of: piece.storage) { () throws(ChunkDecoder.Failure) in
                try decoder.decode(
                    part.lowerBound - start..<part.upperBound - start, of: chunk, into: &destination,
                    isZeroed: isZeroed, isReadLater: isReadLater)
            }
        }
    }

    /// The chunks of each storage, which are given in the order of their ids, after checking that its digest is made of
    /// theirs; or what is wrong with them.
    func chunks(of storages: [StorageRow]) throws(StoreError) -> [Result<[ChunkRow], StoreError>] {
        // One pass over the table for many; look-ups for a few.
        let found =
            storages.count <= 8
            ? storages.map { storage in Result { () throws(StoreError) in try chunks(of: storage) } }
            : try checkpoint.index.chunks(ofAll: storages)
        return try zip(storages, found).map { storage, chunks throws(StoreError) in
            guard case .success(let rows) = chunks else { return chunks }
            let digest = try ContentID.storageDigest(byteCount: storage.byteCount, chunks: rows.lazy.map(\.digest))
            guard digest == storage.digest else {
                return .failure(
                    .damaged(
                        file: checkpoint.name,
                        problem: Problem(.digest, "the digest of storage \(storage.id) is not that of its chunks")))
            }
            return chunks
        }
    }

    private func chunks(of storage: StorageRow) throws(StoreError) -> [ChunkRow] {
        try checkpoint.index.chunks(of: storage, 0..<FileLayout.chunkCount(storageSize: storage.byteCount))
    }

    /// Reads the bytes `range` of a storage into a memory of that size.
    func read(_ range: Range<Int>, of storage: StorageRow, into memory: Memory, threads: Int?) throws {
        if range.isEmpty { return }
        let first = range.lowerBound / FileLayout.chunkSize
        let chunks = try checkpoint.index.chunks(of: storage, first..<(range.upperBound - 1) / FileLayout.chunkSize + 1)
        let piece = Piece(storage: storage, range: range, memory: memory, offset: 0)
        try Workers.forEach(chunks.count, threads: Workers.count(threads), context: decoder) { number, decoder in
            try decode(chunks[number], for: piece, decoder, isZeroed: false)
        }
    }

    /// Runs a step of a decoder, and makes an error that names the chunk of what it fails with.
    func naming<Result>(
        _ chunk: ChunkRow, of storage: StorageRow, _ body: () throws(ChunkDecoder.Failure) -> Result
    ) throws(StoreError) -> Result {
        do throws(ChunkDecoder.Failure) {
            return try body()
        } catch {
            switch error {
            case .source(let error): throw error
            case .damaged(let reason): throw damaged(chunk, of: storage, reason)
            }
        }
    }

    func damaged(_ chunk: ChunkRow, of storage: StorageRow, _ reason: String) -> StoreError {
        let tensor = checkpoint.ownerName(of: storage.id)
        let owner = tensor.map { "\"\($0)\"" } ?? "storage \(storage.id)"
        let offset = chunk.extent.lowerBound
        return .damaged(
            file: checkpoint.name,
            problem: Problem(
                .chunk, "chunk \(chunk.sequence) of \(owner) (file offset \(offset)): \(reason)", tensor: tensor,
                offset: offset))
    }

    /// Reads the bytes `range` of a storage to `destination`.
    func read(
        _ range: Range<Int>, of storage: StorageRow, into destination: inout MutableRawSpan, threads: Int?
    ) throws {
        try Memory.withBorrowed(&destination) { try read(range, of: storage, into: $0, threads: threads) }
    }

    /// Checks stored chunks where they are mapped.
    func check(_ chunks: [ChunkRow], of storage: StorageRow, in memory: Memory) throws(StoreError) {
        for chunk in chunks {
            let start = chunk.sequence * FileLayout.chunkSize
            let found = memory.withBytes(in: start..<start + chunk.logicalSize) { Checksum64(of: $0) }
            let expected = chunk.encoding.parts[0].checksum
            guard found == expected else {
                throw damaged(chunk, of: storage, "its checksum is \(found), the index says \(expected)")
            }
        }
    }
}

/// A storage of a container that is read when it is needed.
struct ContainerBacking: StorageBacking {
    let checkpoint: Checkpoint
    let row: StorageRow

    init(_ checkpoint: Checkpoint, _ row: StorageRow) {
        self.checkpoint = checkpoint
        self.row = row
    }

    var byteCount: Int { row.byteCount }

    func willLoad() throws { try checkpoint.checkMemory(byteCount) }

    func read(_ range: Range<Int>, into destination: inout MutableRawSpan) throws {
        // One thread: whoever reads piece by piece (a save) has threads of its own.
        try ChunkReader(checkpoint).read(range, of: row, into: &destination, threads: 1)
    }

    func readAll(into destination: inout MutableRawSpan) throws {
        try Memory.withBorrowed(&destination) { try ChunkReader(checkpoint).read([row], into: [$0], threads: nil) }
    }
}
