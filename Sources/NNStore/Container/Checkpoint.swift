import Synchronization

/// An open container.
///
/// Opening reads a few pages at the end of the file. Everything else is read when it is asked for and checked before
/// it is given out. A checkpoint may be used from several threads at once, and in a child process after `fork`, if no
/// other thread was inside a call of this library when the process forked (SQLite's own locks would stay taken).
///
/// ```swift
/// let checkpoint = try Checkpoint.open("lm.nnck")
/// for tensor in try checkpoint.tensors { print(tensor.name, tensor.dtype, tensor.shape) }
/// let rows = try checkpoint.read("embedding.weight", rows: 0..<10)
/// let tree = try checkpoint.readAll()
/// ```
public final class Checkpoint: Sendable {
    let source: any ByteSource
    let sourceVersion: SourceVersion
    let tail: Tail
    let index: Index
    private let ownerNames = Mutex<[Int: String]?>(nil)

    /// How much of the file's end is read first: enough for mark, tail and index of a small container.
    private static let endSize = 16 << 10

    private init(_ source: any ByteSource, _ limits: ReadLimits) throws(StoreError) {
        let (end, version) = try source.readEnd(Checkpoint.endSize)
        let size = version.byteCount
        let header = try Header(source.bytes(0..<min(size, FileLayout.block), of: version), file: source.name)
        guard size >= 3 * FileLayout.block + FileLayout.endMarkSize else {
            throw .incomplete(file: source.name, reason: "it has only \(size) bytes")
        }
        let indexOffset = try Tail.indexOffset(
            endMark: end.suffix(FileLayout.endMarkSize), fileSize: size, file: source.name)
        let tailOffset = indexOffset - FileLayout.block
        let tailBytes =
            tailOffset >= size - end.count
            ? Array(end[(tailOffset - (size - end.count))...].prefix(FileLayout.block))
            : try source.bytes(tailOffset..<indexOffset, of: version)
        tail = try Tail(tailBytes, at: tailOffset, fileSize: size, header: header, file: source.name)
        let pages = PageReader(source, version: version, tail: tail, end: end)
        index = try Index(pages, tail: tail, file: source.name, limits: limits)
        self.source = source
        sourceVersion = version
    }

    /// Opens the container at `path`.
    ///
    /// - Throws: ``StoreError``: the file can't be read, is no container, is cut or damaged, or needs a newer library.
    public static func open(_ path: String, limits: ReadLimits = ReadLimits()) throws(StoreError) -> Checkpoint {
        try Checkpoint(FileSource(path: path), limits)
    }

    /// Opens the container that `source` holds.
    public static func open(
        _ source: any ByteSource, limits: ReadLimits = ReadLimits()
    ) throws(StoreError) -> Checkpoint {
        try Checkpoint(source, limits)
    }

    /// Whether a file that begins with `bytes` (12 are enough) claims to be a container.
    public static func isContainer(_ bytes: some Collection<UInt8>) -> Bool {
        bytes.starts(with: FileLayout.headerMagic)
    }

    // MARK: Facts

    /// What messages call the file.
    public var name: String { source.name }
    /// The container format's version.
    public var version: FormatVersion { tail.version }
    /// The size of the file in bytes.
    public var byteCount: Int { sourceVersion.byteCount }
    /// Identifies the contents, whatever the compression and the format version: equal ids, equal contents.
    public var contentID: Digest { tail.contentID }
    /// Identifies the very bytes of the file.
    public var fileID: Digest { tail.fileID }
    /// Whether other files were declared to refer to this one.
    public var isReferencedByOthers: Bool { tail.optionalFeatures & Tail.referencedByOthers != 0 }

    /// The compression that the container was saved with; `nil` if a newer library used one that this one does not know.
    public var compression: Compression? {
        get throws(StoreError) {
            guard case .text(let text) = try index.extra()["compression"] else {
                throw index.validation.damaged("extra", "compression is missing")
            }
            return Compression(rawValue: text)
        }
    }

    /// What the container knows about sharing at its source.
    public var sharing: Sharing {
        get throws(StoreError) {
            guard case .text(let text) = try index.extra()["sharing"], let sharing = Sharing(rawValue: text) else {
                throw index.validation.damaged("extra", "sharing is missing or neither known nor unknown")
            }
            return sharing
        }
    }

    /// The steps in the container's life.
    public var history: [HistoryStep] {
        get throws(StoreError) { try index.history() }
    }

    /// A fact that a format's importer left for its exporter; `nil` if it is not there.
    package func sourceFact(_ key: String) throws(StoreError) -> [UInt8]? {
        guard let value = try index.extra()[key] else { return nil }
        guard case .integer(let id) = value, case .blob(let bytes) = try index.large(id) else {
            throw index.validation.damaged("extra", "\(key) is no id of a blob")
        }
        return bytes
    }

    // MARK: Trees

    /// The tensors in the order of the state tree.
    public var tensors: [TensorEntry] {
        get throws(StoreError) { try TreeReader(index).entries() }
    }

    /// The metadata: a dictionary.
    public var metadata: StateTree {
        get throws(StoreError) {
            try TreeReader(index).tree(root: 1) { (_) throws(StoreError) in
                throw index.validation.damaged("metadata", "it holds a tensor")
            }
        }
    }

    /// The state tree, with storages that are read when they are first used or saved elsewhere.
    ///
    /// Tensors that share a storage in the container share one in the tree; each call gives storages of its own.
    public func state() throws(StoreError) -> StateTree {
        let storages = try index.storages()
        let lazily = storages.map { Storage(backing: ContainerBacking(self, $0)) }
        return try tree(over: lazily)
    }

    /// The state tree with everything in memory, read on all cores. Aliases are intact: tensors that share a storage
    /// in the container share one in the tree.
    public func readAll(threads: Int? = nil, cancellation: Cancellation? = nil) throws -> StateTree {
        let rows = try index.storages()
        var total = 0
        for row in rows {
            let (sum, overflow) = total.addingReportingOverflow(row.byteCount)
            total = overflow ? .max : sum
        }
        try checkMemory(total)
        let memories = try Memory.allocate(rows.map(\.byteCount))
        try ChunkReader(self).read(
            rows, into: memories, areZeroed: true, threads: threads, cancellation: cancellation)
        return try tree(over: memories.map { Storage(memory: $0) })
    }

    func tree(over storages: [Storage], reading part: TreeReader.Part = .both) throws(StoreError) -> StateTree {
        try TreeReader(index, part).tree(root: 0) { (row) throws(StoreError) in
            guard row.storage <= storages.count else {
                throw index.validation.damaged("a tensor", "its storage \(row.storage) is missing")
            }
            do {
                return try StateTensor(
                    storage: storages[row.storage - 1], layout: row.layout, requiresGrad: row.requiresGrad, tag: row.tag
                )
            } catch {
                throw index.validation.damaged("a tensor of storage \(row.storage)", "\(error)")
            }
        }
    }

    /// The name of a tensor that looks at the storage, for messages; `nil` if there is none, or the tree can't be read.
    func ownerName(of storage: Int) -> String? {
        // A damaged file may have as many damaged chunks as tensors, so the tree is walked once.
        ownerNames.withLock { names in
            if names == nil {
                let owned = ((try? tensors) ?? []).map { ($0.storage, $0.name) }
                names = Dictionary(owned, uniquingKeysWith: { first, _ in first })
            }
            return names![storage]
        }
    }

    /// The bytes that each storage takes in the file, by its id. Chunks that share their bytes count for each.
    public var storedByteCounts: [Int: Int] {
        get throws(StoreError) { try index.storedByteCounts() }
    }

    // MARK: One tensor

    /// The tensor of a flat name.
    ///
    /// - Throws: ``StoreError/notFound(file:name:similar:)``; ``StoreError/ambiguousName(file:name:paths:)`` if two
    ///   tensors have this flat name.
    public func tensor(_ name: String) throws(StoreError) -> TensorEntry {
        try NameLookup(index).tensor(name)
    }

    /// The tensor at a path.
    public func tensor(at path: StatePath) throws(StoreError) -> TensorEntry {
        try NameLookup(index).tensor(at: path)
    }

    /// Reads a tensor into memory: a storage that holds just the bytes between its first and last element.
    public func read(_ name: String, threads: Int? = nil) throws -> StateTensor {
        try read(tensor(name), threads: threads)
    }

    /// Reads rows of the first dimension of a tensor; only the chunks under them are read.
    public func read(_ name: String, rows: Range<Int>, threads: Int? = nil) throws -> StateTensor {
        try read(tensor(name), rows: rows, threads: threads)
    }

    /// Reads a tensor, or rows of its first dimension, into memory.
    public func read(_ entry: TensorEntry, rows: Range<Int>? = nil, threads: Int? = nil) throws -> StateTensor {
        let storage = try storage(of: entry)
        let layout = if let rows { try entry.layout.rows(rows) } else { entry.layout }
        return try StateTensor(
            storage: Storage(backing: ContainerBacking(self, storage)), layout: layout,
            requiresGrad: entry.requiresGrad, tag: entry.tag
        ).loadedAlone(threads: threads)
    }

    /// Copies a tensor's elements, or those of rows of its first dimension, to `destination` in row-major order, one
    /// after another. `destination` has just their size.
    public func read(
        _ entry: TensorEntry, rows: Range<Int>? = nil, into destination: inout MutableRawSpan, threads: Int? = nil
    ) throws {
        let storage = try storage(of: entry)
        let layout = if let rows { try entry.layout.rows(rows) } else { entry.layout }
        guard destination.byteCount == layout.byteCount else {
            throw StoreError.invalidArgument(
                reason:
                    "\"\(entry.name)\" takes \(layout.byteCount) bytes, the destination has \(destination.byteCount)")
        }
        if layout.isContiguous {
            try ChunkReader(self).read(
                layout.byteRange, of: storage, into: &destination, threads: threads)
        } else {
            try read(entry, rows: rows, threads: threads).copyElements(to: &destination)
        }
    }

    /// Reads many tensors into memory that is there already, on all cores: the elements of each entry replace those of
    /// the tensor beside it. That is how the parameters of a model get the values of a checkpoint without a second copy
    /// of all of them in memory.
    ///
    /// Each tensor has its entry's dtype and shape; strides may differ, but none is 0. Every tensor over a destination's
    /// storage sees the change; where destinations overlap, the last one wins. After an error the destinations hold some
    /// old and some new values.
    ///
    /// - Throws: ``StoreError/invalidArgument(reason:)``, before anything is changed, if an entry is another file's or
    ///   does not fit its destination; what reading throws.
    public func read(
        into destinations: [(entry: TensorEntry, tensor: StateTensor)], threads: Int? = nil,
        cancellation: Cancellation? = nil
    ) throws {
        // One pass over the table for many; a look-up for a few.
        let all = destinations.count > 8 ? try index.storages() : []
        var storages: [Int: Storage] = [:]
        let copies = try destinations.map { entry, tensor in
            try checkOrigin(of: entry)
            let row = entry.storage <= all.count ? all[entry.storage - 1] : try index.storage(entry.storage)
            let storage = storages[row.id] ?? Storage(backing: ContainerBacking(self, row))
            storages[row.id] = storage
            return TensorTransfer.Copy(
                name: "\(name): \"\(entry.name)\"", source: try StateTensor(storage: storage, layout: entry.layout),
                destination: tensor)
        }
        do {
            try TensorTransfer(copies).run(threads: threads, cancellation: cancellation)
        } catch let interruption as TensorTransfer.Interruption {
            throw interruption.reason
        }
    }

    /// The storage of an entry, which must be one of this file's.
    private func storage(of entry: TensorEntry) throws(StoreError) -> StorageRow {
        try checkOrigin(of: entry)
        return try index.storage(entry.storage)
    }

    private func checkOrigin(of entry: TensorEntry) throws(StoreError) {
        guard entry.fileID == fileID else {
            throw .invalidArgument(
                reason:
                    "\(name): \"\(entry.name)\" was looked up in another file, or in this one before it was replaced; "
                    + "look it up again")
        }
    }

    /// Maps a tensor that was saved with ``Compression/none``: its bytes are used where they are in the file, without
    /// a copy.
    ///
    /// Mapped bytes are the exception to "always verified": only the index is checked, unless `verifying` asks for the
    /// chunks' checksums too. And while the mapping is used, nobody may cut the file: that would end the process.
    ///
    /// - Throws: ``StoreError/invalidArgument(reason:)`` if the tensor's storage is compressed or not in a file.
    public func map(_ name: String, verifying: Bool = false) throws -> StateTensor {
        let entry = try tensor(name)
        guard let source = source as? any MappableSource else {
            throw StoreError.invalidArgument(reason: "\(self.name): is not a file, so nothing of it can be mapped")
        }
        let storage = try index.storage(entry.storage)
        let chunks = try index.chunks(of: storage, 0..<FileLayout.chunkCount(storageSize: storage.byteCount))
        for (previous, chunk) in zip(chunks, chunks.dropFirst())
        where previous.extent.upperBound != chunk.extent.lowerBound {
            throw notMappable(name)
        }
        guard chunks.allSatisfy({ $0.encoding.isStored }) else { throw notMappable(name) }
        let start = chunks.first?.extent.lowerBound ?? 0
        let memory = try source.map(start..<start + storage.byteCount)
        if verifying { try ChunkReader(self).check(chunks, of: storage, in: memory) }
        return try StateTensor(
            storage: Storage(memory: memory), layout: entry.layout, requiresGrad: entry.requiresGrad, tag: entry.tag)
    }

    private func notMappable(_ name: String) -> StoreError {
        .invalidArgument(
            reason:
                "\(self.name): \"\(name)\" is compressed, so it can't be mapped; read it, or save it with compression none"
        )
    }

    /// Refuses what is more than the caller's limit, before it is allocated.
    func checkMemory(_ byteCount: Int) throws(StoreError) {
        try index.limits.checkMemory(byteCount, file: name)
    }
}

/// A tensor of a container: its description, without its bytes.
public struct TensorEntry: Sendable, Hashable {
    /// The keys from the root of the state tree.
    public let path: StatePath
    /// The flat name.
    public let name: String
    /// dtype, shape, strides and offset.
    public let layout: TensorLayout
    /// The storage's id in the container. Tensors with equal ids are aliases.
    public let storage: Int
    /// Whether gradients are wanted.
    public let requiresGrad: Bool
    /// The foreign type that the tensor stood for.
    public let tag: String?
    /// The file that the entry was found in.
    let fileID: Digest

    init(_ path: StatePath, _ row: TensorRow, fileID: Digest) {
        self.path = path
        self.fileID = fileID
        name = path.flatName
        layout = row.layout
        storage = row.storage
        requiresGrad = row.requiresGrad
        tag = row.tag
    }

    /// The type of the elements.
    public var dtype: DType { layout.dtype }
    /// The extents, outermost first.
    public var shape: [Int] { layout.shape }
}
