extension Checkpoint {
    /// Saves a tree as a container at `path`: a file that appears when it is whole, or a pipe or device that is there.
    ///
    /// Of each storage the smallest range is written that covers all tensors of the tree over it, and zero for bytes
    /// that none of them sees, so nothing leaks and equal trees give equal files.
    ///
    /// - Parameters:
    ///   - state: what to save.
    ///   - metadata: a dictionary without tensors.
    ///   - options: compression, what to do with an existing file, and so on.
    /// - Throws: ``StoreError``, or what reading a storage throws; the destination is then as it was before (but see
    ///   ``StoreError/replacedNotDurable(path:errno:)``).
    public static func save(
        _ state: StateTree, metadata: StateTree = [:], to path: String, options: SaveOptions = SaveOptions()
    ) throws {
        try save(state, metadata: metadata, options) { () throws(StoreError) in try ContainerOutput(path: path, options)
        }
    }

    /// Saves a tree as a container with the usual options and the given compression.
    public static func save(
        _ state: StateTree, metadata: StateTree = [:], to path: String, compression: Compression
    ) throws {
        try save(state, metadata: metadata, to: path, options: SaveOptions(compression: compression))
    }

    /// Saves a tree as a container to a sink.
    public static func save(
        _ state: StateTree, metadata: StateTree = [:], to sink: any ByteSink, options: SaveOptions = SaveOptions()
    ) throws {
        try save(state, metadata: metadata, options) { () throws(StoreError) in try ContainerOutput(sink, options) }
    }

    private static func save(
        _ state: StateTree, metadata: StateTree, _ options: SaveOptions,
        output: () throws(StoreError) -> ContainerOutput
    ) throws {
        try state.checkDepth()
        try metadata.checkDepth()
        let state = options.keepsSharing ? state : try state.withoutSharing()
        let plan = try SavePlan(state)
        let output = try output()
        try plan.writeChunks(to: output, options)
        try output.finish(state: try plan.rebased(state), metadata: metadata, ids: plan.ids)
    }
}

/// What of a tree is to be written: its storages in the order of first use, and what of each is visible.
private struct SavePlan {
    private struct Part {
        let storage: Storage
        let visibility: StorageVisibility
        /// The number of this storage's first chunk among all chunks.
        let firstChunk: Int

        var byteCount: Int { visibility.range.count }
    }

    private var parts: [Part] = []
    private let chunkCount: Int
    private let logicalBytes: Int
    /// Ids by storage, counted from 1.
    private(set) var ids: [Storage: Int] = [:]

    init(_ state: StateTree) throws(StoreError) {
        var layouts: [[TensorLayout]] = []
        var storages: [Storage] = []
        for (_, tensor) in state.tensors {
            if let id = ids[tensor.storage] {
                layouts[id - 1].append(tensor.layout)
            } else {
                storages.append(tensor.storage)
                layouts.append([tensor.layout])
                ids[tensor.storage] = storages.count
            }
        }
        var chunks = 0
        var bytes = 0
        for (storage, layouts) in zip(storages, layouts) {
            let visibility = StorageVisibility(layouts)
            parts.append(Part(storage: storage, visibility: visibility, firstChunk: chunks))
            chunks += FileLayout.chunkCount(storageSize: visibility.range.count)
            let (sum, overflow) = bytes.addingReportingOverflow(visibility.range.count)
            guard !overflow else { throw .invalidTree(path: "", reason: "its storages have more than 2^63 bytes") }
            bytes = sum
        }
        chunkCount = chunks
        logicalBytes = bytes
    }

    /// The tree with the offsets that its tensors have in what is written.
    func rebased(_ state: StateTree) throws(StoreError) -> StateTree {
        try state.mapTensors { (tensor) throws(StoreError) in
            var tensor = tensor
            tensor.layout = try tensor.layout.rebased(by: parts[ids[tensor.storage]! - 1].visibility.range.lowerBound)
            return tensor
        }
    }

    func writeChunks(to output: ContainerOutput, _ options: SaveOptions) throws {
        let pool = BufferPool()
        let parts = parts
        // The part that a chunk belongs to: the last one that begins at or before it and has chunks.
        @Sendable func part(of chunk: Int) -> Int {
            var (low, high) = (0, parts.count)
            while high - low > 1 {
                let middle = (low + high) / 2
                if parts[middle].firstChunk <= chunk { low = middle } else { high = middle }
            }
            return low
        }
        var nextStorage = 0
        var digest: StorageDigestBuilder?
        func begin() throws(StoreError) {
            // Storages without chunks come and go at once.
            while nextStorage < parts.count {
                let builder = try StorageDigestBuilder(byteCount: parts[nextStorage].byteCount)
                nextStorage += 1
                if parts[nextStorage - 1].byteCount > 0 {
                    digest = builder
                    return
                }
                try output.add(StorageRow(id: nextStorage, byteCount: 0, digest: builder.digest()))
            }
        }
        try begin()
        try Workers.pipeline(
            chunkCount, threads: options.threads, window: 2 * options.threads, cancellation: options.cancellation
        ) {
            try ChunkEncoder(options.compression, pool)
        } produce: { chunk, encoder in
            let part = parts[part(of: chunk)]
            return try encoder.encodeChunk(chunk - part.firstChunk, of: part.storage, part.visibility, pool)
        } consume: { chunk, encoded in
            let id = nextStorage
            let part = parts[id - 1]
            let sequence = chunk - part.firstChunk
            try output.write(encoded, sequence: sequence, storage: id, storageSize: part.byteCount)
            digest!.append(encoded.digest)
            if encoded.isPooled { pool.giveBack(encoded.memory) }
            if sequence + 1 == FileLayout.chunkCount(storageSize: part.byteCount) {
                try output.add(StorageRow(id: id, byteCount: part.byteCount, digest: digest!.digest()))
                try begin()
            }
            options.progress?(output.logicalBytes, logicalBytes)
        }
    }
}

extension ChunkEncoder {
    /// Encodes a chunk of what is visible of a storage: from its memory where it can be used as it is, else from a copy
    /// in which unseen bytes are zero.
    fileprivate func encodeChunk(
        _ sequence: Int, of storage: Storage, _ visibility: StorageVisibility, _ pool: BufferPool
    ) throws -> EncodedChunk {
        let inVisible = FileLayout.chunkRange(sequence, storageSize: visibility.range.count)
        let start = visibility.range.lowerBound
        let range = start + inVisible.lowerBound..<start + inVisible.upperBound
        if visibility.isSolid,
            let encoded = try storage.withMemory({ memory throws(StoreError) in
                try encode(memory, range, isPooled: false)
            })
        {
            return encoded
        }
        let buffer = try pool.take()
        try buffer.withMutableBytes(in: 0..<range.count) { bytes in
            try storage.read(range, into: &bytes)
            visibility.zeroUnseen(in: range, &bytes)
        }
        return try encode(buffer, 0..<range.count, isPooled: true)
    }
}
