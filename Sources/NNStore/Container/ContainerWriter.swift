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
    /// The container format's version: the newest, unless readers are to be served that know no other than an older one.
    public var formatVersion: FormatVersion
    /// Facts for `extra` that a format's importer wants back when it exports (spec section 8).
    package var sourceFacts: [String: [UInt8]] = [:]
    /// The container's history, if it is not made from nothing.
    var history: [HistoryStep] = []
    /// The facts for `extra` of the container that this one is made from.
    var carriedFacts: [String: CarriedFact] = [:]
    /// The content id that has to come out, where the content is known.
    var expectedContentID: Digest?

    /// The usual options: compression ``Compression/fast``, nothing replaced, durable.
    public init(
        compression: Compression = .fast, existing: ExistingDestination = .refuse, isDurable: Bool = true,
        verifies: Bool = false, isReferencedByOthers: Bool = false, sharing: Sharing = .known,
        formatVersion: FormatVersion = Library.formatVersion, threads: Int? = nil, cancellation: Cancellation? = nil,
        progress: (@Sendable (_ done: Int, _ total: Int?) -> Void)? = nil
    ) {
        self.compression = compression
        self.existing = existing
        self.isDurable = isDurable
        self.verifies = verifies
        self.isReferencedByOthers = isReferencedByOthers
        self.sharing = sharing
        self.formatVersion = formatVersion
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
    private let encoders: Pool<ChunkEncoder>
    private var current: OpenStorage?
    /// Chunks that are full and wait to be encoded, a few for each thread, in order.
    private var waiting: [WaitingChunk] = []
    private var ids: [Storage: Int] = [:]

    /// A storage some of whose bytes are yet to come or to be encoded.
    private final class OpenStorage {
        let id: Int
        let byteCount: Int
        let transforms: [PlaneTransform?]
        var chunk: Memory?
        var filled = 0
        var sequence = 0
        var digest: StorageDigestBuilder

        init(id: Int, byteCount: Int, _ transforms: [PlaneTransform?]) throws(StoreError) {
            self.id = id
            self.byteCount = byteCount
            self.transforms = transforms
            digest = try StorageDigestBuilder(byteCount: byteCount)
        }

        var chunkCount: Int { FileLayout.chunkCount(storageSize: byteCount) }
        /// The bytes that the chunk in hand still lacks.
        var room: Int { FileLayout.chunkRange(sequence, storageSize: byteCount).count - filled }
    }

    private struct WaitingChunk {
        let storage: OpenStorage
        let sequence: Int
        let memory: Memory
        let size: Int
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
        let (compression, version, pool) = (options.compression, options.formatVersion, pool)
        encoders = Pool { () throws(StoreError) in try ChunkEncoder(compression, version, pool) }
    }

    /// Declares the next storage. Exactly `byteCount` bytes are to be appended before another one is declared.
    ///
    /// - Parameters:
    ///   - byteCount: the bytes of the storage.
    ///   - dtype: the type of most of its elements, if it is known: it tells how they compress best. Without it a sample
    ///     of each chunk has to.
    /// - Returns: the storage's identity, for the tensors of the tree. Its bytes can't be read.
    public func declareStorage(byteCount: Int, of dtype: DType? = nil) throws(StoreError) -> Storage {
        try output.checkOpen()
        try checkComplete()
        guard (0...TensorLayout.maximumSize).contains(byteCount) else {
            throw .invalidArgument(reason: "a storage of \(byteCount) bytes is impossible")
        }
        let storage = Storage(
            identityOf: byteCount,
            reason: "the bytes of this storage were handed to a writer and are not kept in memory")
        let id = ids.count + 1
        let opened = try OpenStorage(
            id: id, byteCount: byteCount,
            dtype.map { PlaneTransform.all(for: CollectionOfOne($0)) } ?? PlaneTransform.forUnknownElements)
        ids[storage] = id
        if byteCount > 0 {
            current = opened
        } else {
            try encodeWaiting()
            try add(opened)
        }
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
            let chunk: Memory = if let chunk = current.chunk { chunk } else { try pool.take() }
            current.chunk = chunk
            let count = min(current.room, bytes.byteCount - position)
            chunk.withMutableBytes(in: current.filled..<current.filled + count) {
                $0.copy(bytes.extracting(position..<position + count))
            }
            current.filled += count
            position += count
            if current.room == 0 { try completeChunk(of: current) }
        }
    }

    /// Appends bytes to the storage that was declared last.
    public func append(_ bytes: [UInt8]) throws(StoreError) {
        try bytes.withRawSpan { (bytes: RawSpan) throws(StoreError) in try append(bytes) }
    }

    private func completeChunk(of storage: OpenStorage) throws(StoreError) {
        waiting.append(
            WaitingChunk(
                storage: storage, sequence: storage.sequence, memory: storage.chunk!, size: storage.filled))
        storage.chunk = nil
        storage.sequence += 1
        storage.filled = 0
        if storage.sequence == storage.chunkCount { current = nil }
        // Threads are started for each batch, so a batch gives each of them work that is worth it.
        if waiting.count >= (options.threads == 1 ? 1 : 4 * min(options.threads, 16)) { try encodeWaiting() }
    }

    /// Encodes the chunks that wait, on all threads, and writes them. After an error the container is given up: some of
    /// them are lost.
    private func encodeWaiting() throws(StoreError) {
        let batch = waiting.map { (memory: $0.memory, size: $0.size, transforms: $0.storage.transforms) }
        let chunks = waiting
        waiting = []
        // Starting threads takes as long as encoding a quarter of a mebibyte.
        let isLarge = batch.reduce(0) { $0 + $1.size } >= 256 << 10
        try output.givingUpOnError { () throws(StoreError) in
            do {
                try Workers.pipeline(
                    batch.count, threads: isLarge ? options.threads : 1, window: batch.count,
                    cancellation: options.cancellation
                ) {
                } produce: { [encoders] number, _ in
                    let (memory, size, transforms) = batch[number]
                    let digest = memory.withBytes(in: 0..<size) { Digest(of: $0) }
                    return try encoders.with { (encoder) throws(StoreError) in
                        try encoder.encode(memory, 0..<size, transforms, digest, isPooled: true)
                    }
                } consume: { number, encoded in
                    try write(encoded, chunks[number])
                }
            } catch let error as StoreError {
                throw error
            } catch {
                throw .library(name: "NNStore", operation: "encode chunks", message: "\(error)")
            }
        }
    }

    private func write(_ encoded: EncodedChunk, _ chunk: WaitingChunk) throws(StoreError) {
        let storage = chunk.storage
        try output.write(encoded, sequence: chunk.sequence, storage: storage.id, storageSize: storage.byteCount)
        storage.digest.append(encoded.digest)
        if encoded.isPooled { pool.giveBack(encoded.memory) }
        options.progress?(output.logicalBytes, nil)
        if chunk.sequence + 1 == storage.chunkCount { try add(storage) }
    }

    private func add(_ storage: OpenStorage) throws(StoreError) {
        try output.add(StorageRow(id: storage.id, byteCount: storage.byteCount, digest: storage.digest.digest()))
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
        try encodeWaiting()
        try output.finish(state: state, metadata: metadata, ids: ids)
    }
}
