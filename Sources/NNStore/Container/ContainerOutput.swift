/// The bytes of a container on their way into a sink, and the index that describes them.
///
/// What both ways of saving share: chunks go in one after another in the order of storages, then the trees.
final class ContainerOutput {
    private let bytes: BufferedOutput
    private let options: SaveOptions
    private let index: IndexWriter
    private var storages: [StorageRow] = []
    /// The end of the last chunk.
    private var chunkAreaEnd = FileLayout.block
    /// The logical bytes of all chunks so far.
    private(set) var logicalBytes = 0

    /// Begins a container at `path`.
    convenience init(path: String, _ options: SaveOptions) throws(StoreError) {
        try self.init(Destination.sink(for: path, options.existing, isDurable: options.isDurable), options)
    }

    init(_ sink: any ByteSink, _ options: SaveOptions) throws(StoreError) {
        bytes = BufferedOutput(sink)
        self.options = options
        let version = options.formatVersion
        guard FileLayout.writtenVersions.contains(version) else {
            throw .invalidArgument(
                reason: "\(sink.name): this library writes container formats "
                    + FileLayout.writtenVersionsText + ", not \(version)")
        }
        index = try IndexWriter(version: version)
        try bytes.append(Header(majorVersion: version.major).bytes)
    }

    /// What messages call the container.
    var name: String { bytes.name }

    /// - Throws: if the container was finished or given up.
    func checkOpen() throws(StoreError) { try bytes.checkOpen() }

    /// Runs a step; if it fails, the container is given up, and every later step fails too.
    func givingUpOnError<Failure: Error>(_ body: () throws(Failure) -> Void) throws(Failure) {
        do throws(Failure) {
            try body()
        } catch {
            bytes.abandon()
            throw error
        }
    }

    // MARK: Chunks

    /// Appends a chunk and its row, and returns the row.
    @discardableResult
    func write(_ chunk: EncodedChunk, sequence: Int, storage: Int, storageSize: Int) throws(StoreError) -> ChunkRow {
        try bytes.checkOpen()
        var extent = 0..<0
        try givingUpOnError { () throws(StoreError) in
            if chunk.encoding.isStored {
                try bytes.pad(to: FileLayout.storedOffset(from: bytes.position, storageSize: storageSize))
            }
            if !chunk.range.isEmpty {
                extent = bytes.position..<bytes.position + chunk.range.count
                try chunk.memory.withBytes(in: chunk.range) { (encoded: RawSpan) throws(StoreError) in
                    try bytes.append(encoded)
                }
                chunkAreaEnd = extent.upperBound
            }
        }
        let row = ChunkRow(
            sequence: sequence, logicalSize: FileLayout.chunkRange(sequence, storageSize: storageSize).count,
            extent: extent, encoding: chunk.encoding, digest: chunk.digest)
        try addRow(row, storage: storage)
        return row
    }

    /// Adds the row of a chunk whose bytes are those of one that was written, and returns it.
    @discardableResult
    func repeatChunk(_ chunk: ChunkRow, sequence: Int, storage: Int) throws(StoreError) -> ChunkRow {
        try bytes.checkOpen()
        let row = ChunkRow(
            sequence: sequence, logicalSize: chunk.logicalSize, extent: chunk.extent, encoding: chunk.encoding,
            digest: chunk.digest)
        try addRow(row, storage: storage)
        return row
    }

    private func addRow(_ row: ChunkRow, storage: Int) throws(StoreError) {
        logicalBytes += row.logicalSize
        try givingUpOnError { () throws(StoreError) in try index.addChunk(row, storage: storage) }
    }

    /// Adds a storage, all of whose chunks were written. Ids come in order.
    func add(_ storage: StorageRow) throws(StoreError) {
        try bytes.checkOpen()
        precondition(storage.id == storages.count + 1)
        storages.append(storage)
        try givingUpOnError { () throws(StoreError) in try index.addStorage(storage) }
    }

    // MARK: The end

    /// Writes trees, index, tail and mark, and finishes the sink. After an error nothing is left of the container.
    func finish(state: StateTree, metadata: StateTree, ids: [Storage: Int]) throws {
        try bytes.checkOpen()
        try givingUpOnError { () throws(StoreError) in try options.cancellation?.check() }
        try givingUpOnError { () throws(StoreError) in try writeEnd(state: state, metadata: metadata, ids: ids) }
        try bytes.finish(options.existing) { sink in
            if options.verifies, let file = sink as? FileSink { try verify(file) }
        }
    }

    private func writeEnd(state: StateTree, metadata: StateTree, ids: [Storage: Int]) throws(StoreError) {
        try state.checkDepth()
        try metadata.checkDepth()
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
        let sharing = options.keepsSharing ? options.sharing : .unknown
        try index.addExtra("sharing", .text(sharing.rawValue))
        let facts = options.carriedFacts.merging(options.sourceFacts.mapValues { .large(.blob($0)) }) { $1 }
        for (key, fact) in facts.sorted(by: { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }) {
            switch fact {
            case .plain(let value): try index.addExtra(key, value)
            case .large(let value): try index.addExtra(key, .integer(try index.addLarge(value)))
            }
        }
        try index.addHistory(options.history.isEmpty ? [.created(options.formatVersion)] : options.history)
        let contentID = try ContentID.of(state: state, metadata: metadata) { (storage) throws(StoreError) in
            storages[ids[storage]! - 1]
        }
        if let expected = options.expectedContentID, expected != contentID {
            throw .damaged(
                file: name,
                problem: Problem(.digest, "the content id of what was read is \(contentID), it says \(expected)"))
        }
        let image = try index.image(contentID: contentID)
        let copy =
            options.formatVersion >= IndexCopy.firstVersion
            ? try IndexCopy.frames(of: image, threads: options.threads) : nil
        let annex = FileLayout.blockEnd(chunkAreaEnd)
        let tailOffset = FileLayout.blockEnd(annex + (copy?.byteCount ?? 0))
        let tail = Tail(
            version: options.formatVersion,
            optionalFeatures: (options.isReferencedByOthers ? Tail.referencedByOthers : 0)
                | (copy == nil ? 0 : Tail.indexCopy),
            chunkAreaEnd: chunkAreaEnd, indexOffset: tailOffset + FileLayout.block, indexSize: image.count,
            indexDigest: image.withRawSpan { Digest(of: $0) }, contentID: contentID)
        try bytes.pad(to: annex)
        if let copy { try bytes.append(IndexCopy.bytes(copy, at: annex, tailFields: tail.fields)) }
        try bytes.pad(to: tailOffset)
        try bytes.append(tail.bytes)
        try bytes.append(image)
        try bytes.append(Tail.endMark(indexOffset: tail.indexOffset))
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
        let checkpoint: Checkpoint
        do throws(StoreError) {
            checkpoint = try Checkpoint.open(FileSource(path: file.temporaryPath))
        } catch .damaged(_, let problem) {
            throw StoreError.damaged(file: name, problem: problem)
        }
        let report = try checkpoint.verify(.full, threads: options.threads, cancellation: options.cancellation)
        if let problem = report.problems.first { throw StoreError.damaged(file: name, problem: problem) }
    }
}

/// This library, as containers name it in their history.
public enum Library {
    /// The version of the library.
    public static let version = "0.1.0"
    /// The newest container format, which the library writes unless it is asked for an older one.
    public static let formatVersion = FileLayout.version
    /// The container formats that the library writes, oldest first.
    public static let writtenFormatVersions = FileLayout.writtenVersions
    /// Name and version.
    public static let name = "NNStore \(version)"
}
