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
        let plan = SavePlan(state)
        let writing = try StorageWriting(plan.storages, options)
        let output = try output()
        try writing.write(to: output)
        try output.finish(state: try plan.rebased(state), metadata: metadata, ids: plan.ids)
    }
}

/// What of a tree is to be written: its storages in the order of first use, and what of each is visible.
package struct SavePlan {
    private(set) var storages: [VisibleStorage] = []
    /// Ids by storage, counted from 1.
    package private(set) var ids: [Storage: Int] = [:]
    private let pool = BufferPool()

    package init(_ state: StateTree) {
        var layouts: [[TensorLayout]] = []
        var inOrder: [Storage] = []
        for (_, tensor) in state.tensors {
            if let id = ids[tensor.storage] {
                layouts[id - 1].append(tensor.layout)
            } else {
                inOrder.append(tensor.storage)
                layouts.append([tensor.layout])
                ids[tensor.storage] = inOrder.count
            }
        }
        storages = zip(inOrder, layouts).map { VisibleStorage($0, $1) }
        for (storage, layouts) in zip(inOrder, layouts) {
            let seeing = layouts.lazy.filter { !$0.isEmpty }.map(\.dtype)
            if let first = seeing.first, seeing.contains(where: { $0 != first }) {
                storagesOfSeveralDTypes.insert(storage)
            }
        }
    }

    /// The storages into which tensors of more than one dtype look.
    package private(set) var storagesOfSeveralDTypes: Set<Storage> = []

    /// How many storages there are.
    package var storageCount: Int { storages.count }

    /// How many bytes of a storage are written.
    package func byteCount(of id: Int) -> Int { storages[id - 1].byteCount }

    /// Calls `body` with the bytes of a storage that are written, in pieces of at most a chunk.
    package func forEachPiece(of id: Int, _ body: (RawSpan) throws -> Void) throws {
        let storage = storages[id - 1]
        for sequence in 0..<FileLayout.chunkCount(storageSize: storage.byteCount) {
            let bytes = try storage.bytes(of: sequence, pool)
            defer { bytes.giveBack(to: pool) }
            try bytes.memory.withBytes(in: bytes.range, body)
        }
    }

    /// The tree with the offsets that its tensors have in what is written.
    package func rebased(_ state: StateTree) throws(StoreError) -> StateTree {
        try state.mapTensors { (tensor) throws(StoreError) in
            var tensor = tensor
            tensor.layout = try tensor.layout.rebased(
                by: storages[ids[tensor.storage]! - 1].visibility.range.lowerBound)
            return tensor
        }
    }
}

/// What tensors see of a storage: from its memory where it can be used as it is, else a copy in which unseen bytes are
/// zero.
struct VisibleStorage: ChunkSource {
    let storage: Storage
    let visibility: StorageVisibility
    let transforms: [PlaneTransform?]

    init(_ storage: Storage, _ layouts: [TensorLayout]) {
        self.storage = storage
        visibility = StorageVisibility(layouts)
        transforms = PlaneTransform.all(for: layouts.lazy.filter { !$0.isEmpty }.map(\.dtype))
    }

    var byteCount: Int { visibility.range.count }

    func bytes(of sequence: Int, _ pool: BufferPool) throws -> ChunkBytes {
        let inVisible = FileLayout.chunkRange(sequence, storageSize: byteCount)
        let start = visibility.range.lowerBound
        let range = start + inVisible.lowerBound..<start + inVisible.upperBound
        if visibility.isSolid,
            let bytes = storage.withMemory({ ChunkBytes(memory: $0, range: range, isPooled: false) })
        {
            return bytes
        }
        let buffer = try pool.take()
        try buffer.withMutableBytes(in: 0..<range.count) { bytes in
            if start == 0, byteCount == storage.byteCount {
                try storage.readPiece(range, into: &bytes)
            } else {
                try storage.read(range, into: &bytes)
            }
            visibility.zeroUnseen(in: range, &bytes)
        }
        return ChunkBytes(memory: buffer, range: 0..<range.count, isPooled: true)
    }
}
