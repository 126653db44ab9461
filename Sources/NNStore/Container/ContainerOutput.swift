/// The bytes of a container on their way into a sink, and the index that describes them.
///
/// What both ways of saving share: chunks go in one after another in the order of storages, then the trees.
final class ContainerOutput {
    private let sink: any ByteSink
    private let options: SaveOptions
    private let index: IndexWriter
    private var storages: [StorageRow] = []
    /// Bytes that wait for a larger write.
    private var buffer: [UInt8] = []
    private var position = 0
    private var isFinished = false
    /// The end of the last chunk.
    private var chunkAreaEnd = FileLayout.block
    /// The logical bytes of all chunks so far.
    private(set) var logicalBytes = 0

    private static let bufferSize = 1 << 20

    /// The sink for a path: a pipe or device that is there is written to, anything else is a file that appears when it
    /// is finished.
    static func sink(for path: String, _ options: SaveOptions) throws(StoreError) -> any ByteSink {
        switch try SystemCall.status(path)?.kind {
        case .pipe, .device: try StreamSink(path: path)
        default: try FileSink(path: path, existing: options.existing, isDurable: options.isDurable)
        }
    }

    init(_ sink: any ByteSink, _ options: SaveOptions) throws(StoreError) {
        self.sink = sink
        self.options = options
        index = try IndexWriter(version: FileLayout.version)
        buffer.reserveCapacity(ContainerOutput.bufferSize)
        try append(Header(majorVersion: FileLayout.version.major).bytes)
    }

    deinit {
        if !isFinished { sink.abandon() }
    }

    /// What messages call the container.
    var name: String { sink.name }

    // MARK: Bytes

    private func append(_ bytes: [UInt8]) throws(StoreError) {
        try bytes.withRawSpan { (bytes: RawSpan) throws(StoreError) in try append(bytes) }
    }

    private func append(_ bytes: RawSpan) throws(StoreError) {
        position += bytes.byteCount
        if buffer.count + bytes.byteCount > ContainerOutput.bufferSize { try flush() }
        if bytes.byteCount >= ContainerOutput.bufferSize {
            try sink.append(bytes)
        } else {
            unsafe bytes.withUnsafeBytes { unsafe buffer.append(contentsOf: $0) }
        }
    }

    private func flush() throws(StoreError) {
        if buffer.isEmpty { return }
        try buffer.withRawSpan { (bytes: RawSpan) throws(StoreError) in try sink.append(bytes) }
        buffer.removeAll(keepingCapacity: true)
    }

    private func pad(to target: Int) throws(StoreError) {
        if target > position { try append([UInt8](repeating: 0, count: target - position)) }
    }

    // MARK: Chunks

    /// Appends a chunk and its row.
    func write(_ chunk: EncodedChunk, sequence: Int, storage: Int, storageSize: Int) throws(StoreError) {
        if chunk.coding == .stored { try pad(to: FileLayout.storedOffset(from: position, storageSize: storageSize)) }
        let extent = position..<position + chunk.range.count
        try chunk.memory.withBytes(in: chunk.range) { (bytes: RawSpan) throws(StoreError) in try append(bytes) }
        chunkAreaEnd = position
        let logicalSize = FileLayout.chunkRange(sequence, storageSize: storageSize).count
        logicalBytes += logicalSize
        try index.addChunk(
            ChunkRow(
                sequence: sequence, logicalSize: logicalSize, extent: extent, coding: chunk.coding,
                checksum: chunk.checksum, digest: chunk.digest),
            storage: storage)
    }

    /// Adds a storage, all of whose chunks were written. Ids come in order.
    func add(_ storage: StorageRow) throws(StoreError) {
        precondition(storage.id == storages.count + 1)
        storages.append(storage)
        try index.addStorage(storage)
    }

    // MARK: The end

    /// Writes trees, index, tail and mark, and finishes the sink. After an error nothing is left of the container.
    func finish(state: StateTree, metadata: StateTree, ids: [Storage: Int]) throws {
        defer {
            // Does nothing if the sink was finished.
            sink.abandon()
            isFinished = true
        }
        try writeEnd(state: state, metadata: metadata, ids: ids)
        if options.verifies, let file = sink as? FileSink { try verify(file) }
        try sink.finish(options.existing)
    }

    private func writeEnd(state: StateTree, metadata: StateTree, ids: [Storage: Int]) throws {
        try checkMetadata(metadata)
        try index.addTrees(state: state, metadata: metadata) { (tensor, path) throws(StoreError) in
            guard let id = ids[tensor.storage] else {
                throw .invalidTree(path: path.flatName, reason: "its storage was not declared by this writer")
            }
            let size = storages[id - 1].byteCount
            guard tensor.layout.byteRange.upperBound <= size else {
                throw .invalidTree(path: path.flatName, reason: "it reaches outside its storage of \(size) bytes")
            }
            return id
        }
        try index.addExtra("compression", .text(options.compression.rawValue))
        try index.addExtra("sharing", .text(options.sharing.rawValue))
        for (key, value) in options.sourceFacts.sorted(by: { $0.key < $1.key }) {
            try index.addExtra(key, .integer(try index.addLarge(.blob(value))))
        }
        try index.addHistory([
            HistoryStep(action: "created", fromVersion: nil, toVersion: FileLayout.version.description, by: Library.name)
        ])
        let contentID = try ContentID.of(state: state, metadata: metadata) { (storage) throws(StoreError) in
            storages[ids[storage]! - 1]
        }
        let image = try index.image(contentID: contentID)
        let tailOffset = (position + FileLayout.block - 1) / FileLayout.block * FileLayout.block
        let tail = Tail(
            version: FileLayout.version, optionalFeatures: options.isReferencedByOthers ? Tail.referencedByOthers : 0,
            chunkAreaEnd: chunkAreaEnd, indexOffset: tailOffset + FileLayout.block, indexSize: image.count,
            indexDigest: image.withRawSpan { Digest(of: $0) }, contentID: contentID)
        try pad(to: tailOffset)
        try append(tail.bytes)
        try append(image)
        try append(Tail.endMark(indexOffset: tail.indexOffset))
        try flush()
    }

    private func checkMetadata(_ metadata: StateTree) throws(StoreError) {
        guard case .dictionary = metadata else {
            throw .invalidTree(path: "", reason: "metadata has to be a dictionary")
        }
        if let tensor = metadata.tensors.first {
            throw .invalidTree(path: tensor.path.flatName, reason: "metadata can't hold tensors")
        }
    }

    private func verify(_ file: FileSink) throws {
        let checkpoint = try Checkpoint.open(FileSource(path: file.temporaryPath))
        let report = try checkpoint.verify(.full, threads: options.threads, cancellation: options.cancellation)
        if let problem = report.problems.first { throw StoreError.damaged(file: sink.name, problem: problem) }
    }
}

/// This library, as containers name it in their history.
public enum Library {
    /// The version of the library.
    public static let version = "0.1.0"
    /// Name and version.
    static let name = "NNStore \(version)"
}
