/// What a save can be told.
public struct SaveOptions: Sendable {
    /// How chunks are compressed.
    public var compression: Compression
    /// What to do if the destination exists.
    public var existing: ExistingDestination
    /// Whether saving returns only when the file is on stable storage.
    public var isDurable: Bool
    /// Whether the finished file is read back and checked in full before it takes its place: for files only, what went
    /// into a pipe can't be read back.
    public var verifies: Bool
    /// Whether tensors that share a storage go on sharing it. Otherwise each is written contiguous and alone, and the
    /// container says that sharing is ``Sharing/unknown``.
    public var keepsSharing = true
    /// Declares that other files will refer to this one, so that tools do not replace it.
    public var isReferencedByOthers: Bool
    /// Whether tensors that were shared at the source are shared in the tree, and no others (spec section 8).
    public var sharing: Sharing
    /// How many threads work; the processors that the process may use, unless set.
    public var threads: Int
    /// Asks the save to stop.
    public var cancellation: Cancellation?
    /// Called on the saving thread with the logical bytes done so far and the total, if the total is known.
    public var progress: (@Sendable (_ done: Int, _ total: Int?) -> Void)?
    /// Facts for `extra` that a format's importer wants back when it exports (spec section 8).
    package var sourceFacts: [String: [UInt8]] = [:]

    /// The usual options: compression ``Compression/fast``, nothing replaced, durable.
    public init(
        compression: Compression = .fast, existing: ExistingDestination = .refuse, isDurable: Bool = true,
        verifies: Bool = false, isReferencedByOthers: Bool = false, sharing: Sharing = .known, threads: Int? = nil,
        cancellation: Cancellation? = nil, progress: (@Sendable (_ done: Int, _ total: Int?) -> Void)? = nil
    ) {
        self.compression = compression
        self.existing = existing
        self.isDurable = isDurable
        self.verifies = verifies
        self.isReferencedByOthers = isReferencedByOthers
        self.sharing = sharing
        self.threads = Workers.count(threads)
        self.cancellation = cancellation
        self.progress = progress
    }
}

/// What a container knows about sharing at its source.
public enum Sharing: String, Sendable {
    /// Tensors that were shared are shared here, and no others.
    case known
    /// The source could not express sharing; equal storages may have been one.
    case unknown
}

/// Writes a container piece by piece, for checkpoints larger than memory, to a file or a pipe.
///
/// ```swift
/// let writer = try ContainerWriter(path: "big.nnck")
/// let weights = try writer.declareStorage(byteCount: rows * columns * 4)
/// while let piece = nextPiece() { try writer.append(piece) }
/// let layout = try TensorLayout(.f32, shape: [rows, columns])
/// try writer.finish(["weight": .tensor(StateTensor(storage: weights, layout: layout))])
/// ```
///
/// A storage is declared with its size, then its bytes are appended, then the next one is declared. What is appended
/// is written as it is, whether a tensor will see it or not. A writer that is not finished leaves nothing behind.
public final class ContainerWriter {
    private let output: ContainerOutput
    private let options: SaveOptions
    private let pool = BufferPool()
    private var encoder: ChunkEncoder
    private var current: OpenStorage?
    private var ids: [Storage: Int] = [:]

    /// The storage that bytes are appended to.
    private final class OpenStorage {
        let id: Int
        let byteCount: Int
        var chunk: Memory
        var filled = 0
        var sequence = 0
        var digest: StorageDigestBuilder

        init(id: Int, byteCount: Int, chunk: Memory) throws(StoreError) {
            self.id = id
            self.byteCount = byteCount
            self.chunk = chunk
            digest = try StorageDigestBuilder(byteCount: byteCount)
        }

        /// The bytes that the chunk in hand still lacks.
        var room: Int { FileLayout.chunkRange(sequence, storageSize: byteCount).count - filled }
        var isComplete: Bool { sequence == FileLayout.chunkCount(storageSize: byteCount) }
    }

    /// Begins a container at `path`: a file that appears when it is finished, or a pipe or device that is there.
    public convenience init(path: String, options: SaveOptions = SaveOptions()) throws(StoreError) {
        try self.init(
            sink: Destination.sink(for: path, options.existing, isDurable: options.isDurable), options: options)
    }

    /// Begins a container in a sink.
    public init(sink: any ByteSink, options: SaveOptions = SaveOptions()) throws(StoreError) {
        output = try ContainerOutput(sink, options)
        self.options = options
        encoder = try ChunkEncoder(options.compression, pool)
    }

    /// Declares the next storage. Exactly `byteCount` bytes are to be appended before another one is declared.
    ///
    /// - Returns: the storage's identity, for the tensors of the tree. Its bytes can't be read.
    public func declareStorage(byteCount: Int) throws(StoreError) -> Storage {
        try output.checkOpen()
        try checkComplete()
        guard (0...TensorLayout.maximumSize).contains(byteCount) else {
            throw .invalidArgument(reason: "a storage of \(byteCount) bytes is impossible")
        }
        let storage = Storage(
            identityOf: byteCount,
            reason: "the bytes of this storage were handed to a writer and are not kept in memory")
        let id = ids.count + 1
        let opened = try OpenStorage(id: id, byteCount: byteCount, chunk: pool.take())
        ids[storage] = id
        current = opened
        try closeIfComplete(opened)
        return storage
    }

    /// Appends bytes to the storage that was declared last.
    ///
    /// - Throws: ``StoreError/invalidArgument(reason:)`` if they are more than were declared.
    public func append(_ bytes: RawSpan) throws(StoreError) {
        var position = 0
        while position < bytes.byteCount {
            guard let current else {
                throw .invalidArgument(
                    reason:
                        "\(output.name): \(bytes.byteCount - position) bytes more than the storage was declared with")
            }
            let count = min(current.room, bytes.byteCount - position)
            current.chunk.withMutableBytes(in: current.filled..<current.filled + count) {
                $0.copy(bytes.extracting(position..<position + count))
            }
            current.filled += count
            position += count
            if current.room == 0 { try writeChunk(of: current) }
        }
    }

    /// Appends bytes to the storage that was declared last.
    public func append(_ bytes: [UInt8]) throws(StoreError) {
        try bytes.withRawSpan { (bytes: RawSpan) throws(StoreError) in try append(bytes) }
    }

    private func writeChunk(of current: OpenStorage) throws(StoreError) {
        try options.cancellation?.check()
        let chunk = try encoder.encode(current.chunk, 0..<current.filled, isPooled: true)
        try output.write(chunk, sequence: current.sequence, storage: current.id, storageSize: current.byteCount)
        current.digest.append(chunk.digest)
        pool.giveBack(chunk.memory)
        current.chunk = try pool.take()
        current.sequence += 1
        current.filled = 0
        options.progress?(output.logicalBytes, nil)
        try closeIfComplete(current)
    }

    private func closeIfComplete(_ storage: OpenStorage) throws(StoreError) {
        guard storage.isComplete else { return }
        try output.add(StorageRow(id: storage.id, byteCount: storage.byteCount, digest: storage.digest.digest()))
        pool.giveBack(storage.chunk)
        current = nil
    }

    private func checkComplete() throws(StoreError) {
        guard let current else { return }
        throw .invalidArgument(
            reason: "\(output.name): storage \(current.id) was declared with \(current.byteCount) bytes and has "
                + "\(current.sequence * FileLayout.chunkSize + current.filled)")
    }

    /// Writes the trees and puts the container in place.
    ///
    /// - Parameters:
    ///   - state: the state tree. Its tensors are over storages that this writer declared.
    ///   - metadata: a dictionary without tensors.
    /// - Throws: ``StoreError``; then there is no container.
    public func finish(_ state: StateTree, metadata: StateTree = [:]) throws {
        try checkComplete()
        try output.finish(state: state, metadata: metadata, ids: ids)
    }
}
