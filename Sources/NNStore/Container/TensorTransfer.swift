import Synchronization

/// Copies of many tensors' elements into the memory of others, on all cores, from wherever their storages are: chunks of
/// containers are decoded straight into their places, or into memory that a device copies from.
package struct TensorTransfer {
    /// One tensor and where its elements go.
    package struct Copy {
        /// What messages call it.
        package let name: String
        package let source: StateTensor
        package let destination: StateTensor

        package init(name: String, source: StateTensor, destination: StateTensor) {
            (self.name, self.source, self.destination) = (name, source, destination)
        }
    }

    /// Why a transfer stopped on its way.
    package struct Interruption: Error {
        /// What was thrown.
        package let reason: any Error
        /// The numbers of the copies that were begun, in order: their destinations may have new values.
        package let begun: [Int]
    }

    private let copies: [Copy]

    /// Checks that each tensor has its destination's dtype and shape, and that no destination is expanded.
    ///
    /// - Throws: ``StoreError/invalidArgument(reason:)`` if not.
    package init(_ copies: [Copy]) throws(StoreError) {
        for copy in copies {
            let (source, destination) = (copy.source.layout, copy.destination.layout)
            guard source.dtype == destination.dtype, source.shape == destination.shape else {
                throw .invalidArgument(
                    reason: "\(copy.name) is \(source.dtype.name) \(source.shape), its destination "
                        + "\(destination.dtype.name) \(destination.shape)")
            }
            guard !zip(destination.shape, destination.strides).contains(where: { $0 > 1 && $1 == 0 }) else {
                throw .invalidArgument(
                    reason: "the destination of \(copy.name) is expanded: several of its elements are one")
            }
        }
        self.copies = copies
    }

    /// Copies everything. Where destinations overlap, the last one wins.
    ///
    /// - Throws: ``Interruption`` with what reading threw.
    package func run(threads: Int? = nil, cancellation: Cancellation? = nil) throws {
        let begun = Mutex<Set<Int>>([])
        do {
            var batch = PieceBatch()
            func finishBatch() throws {
                try read(batch.pieces, begun, Workers.count(threads), cancellation)
                batch = PieceBatch()
            }
            for (number, copy) in copies.enumerated() where !copy.source.layout.isEmpty {
                guard copy.source.layout.isContiguous && copy.destination.layout.isContiguous else {
                    try finishBatch()
                    try cancellation?.check()
                    let source = try copy.source.loadedAlone(threads: threads)
                    begun.withLock { _ = $0.insert(number) }
                    try copy.destination.setElements(from: source)
                    continue
                }
                let piece = TransferPiece(
                    copy: number, source: copy.source.storage, range: copy.source.layout.byteRange,
                    landing: try Landing(copy.destination.storage),
                    offset: copy.destination.layout.byteRange.lowerBound)
                if batch.add(piece) { continue }
                try finishBatch()
                _ = batch.add(piece)
            }
            try finishBatch()
        } catch {
            throw Interruption(reason: error, begun: begun.withLock { $0.sorted() })
        }
    }

    /// What is read in one go.
    private struct Step: Sendable {
        let piece: TransferPiece
        /// The chunk of a container that the bytes are in; `nil` for bytes that are in memory or that a backing reads.
        let chunk: Chunk?
        /// Which of the piece's bytes they are.
        let range: Range<Int>

        struct Chunk: Sendable {
            let row: ChunkRow
            let container: Int
            let storage: StorageRow
        }
    }

    /// What one worker does at a time.
    private enum Task: Sendable {
        /// Reading to the destination's memory.
        case read(Step, into: Memory)
        /// Reading to memory that a device copies from, and having it copied.
        case send(DeviceCopy<Step>)
    }

    /// How many bytes are copied at a time where there are no chunks.
    private static let stepSize = 4 << 20

    private func read(
        _ pieces: [TransferPiece], _ begun: borrowing Mutex<Set<Int>>, _ threads: Int, _ cancellation: Cancellation?
    ) throws {
        let containers = try Containers(pieces)
        var tasks: [Task] = []
        var copies = DeviceCopies<Step>()
        // Small storages of a device stand side by side there and share copies, if they follow each other here.
        for piece in pieces.filter(\.isBesideOthers) + pieces.filter({ !$0.isBesideOthers }) {
            for step in try steps(of: piece, containers) {
                switch piece.landing {
                case .memory(let memory): tasks.append(.read(step, into: memory))
                case .device(let backing):
                    try copies.add(step, step.range.count, to: backing, at: piece.offset + step.range.lowerBound)
                }
            }
        }
        let all = tasks + copies.copies.map(Task.send)
        try copies.finishing {
            try Workers.forEach(all.count, threads: threads, cancellation: cancellation, context: Decoders.init) {
                number, decoders in
                func read(_ step: Step, to memory: Memory, at place: Int, isReadLater: Bool) throws {
                    begun.withLock { _ = $0.insert(step.piece.copy) }
                    try self.read(step, to: memory, at: place, isReadLater: isReadLater, containers, decoders)
                }
                switch all[number] {
                case .read(let step, let memory):
                    try read(step, to: memory, at: step.piece.offset + step.range.lowerBound, isReadLater: true)
                case .send(let copy):
                    try copy.upload.send(copy.byteCount, to: copy.address) { memory in
                        for (offset, step) in copy.parts {
                            try read(step, to: memory, at: offset, isReadLater: false)
                        }
                    }
                }
            }
        }
    }

    private func read(
        _ step: Step, to memory: Memory, at place: Int, isReadLater: Bool, _ containers: borrowing Containers,
        _ decoders: Decoders
    ) throws {
        let start = step.piece.range.lowerBound
        let range = start + step.range.lowerBound..<start + step.range.upperBound
        if let chunk = step.chunk {
            let reader = containers.readers[chunk.container]
            let part = ChunkReader.Piece(storage: chunk.storage, range: range, memory: memory, offset: place)
            try reader.decode(
                chunk.row, for: part, decoders.decoder(chunk.container, reader), isZeroed: false,
                isReadLater: isReadLater)
        } else {
            try memory.withMutableBytes(in: place..<place + range.count) {
                try step.piece.source.read(range, into: &$0)
            }
        }
    }

    private func steps(of piece: TransferPiece, _ containers: borrowing Containers) throws -> [Step] {
        if let found = try containers.chunks(of: piece) {
            return found.chunks.map { row in
                let start = row.sequence * FileLayout.chunkSize - piece.range.lowerBound
                return Step(
                    piece: piece, chunk: Step.Chunk(row: row, container: found.container, storage: found.storage),
                    range: (start..<start + row.logicalSize).clamped(to: 0..<piece.range.count))
            }
        }
        return stride(from: 0, to: piece.range.count, by: TensorTransfer.stepSize).map { start in
            Step(piece: piece, chunk: nil, range: start..<min(start + TensorTransfer.stepSize, piece.range.count))
        }
    }

    /// A worker's decoders, by the numbers of the containers.
    private final class Decoders {
        private var decoders: [Int: ChunkDecoder] = [:]

        func decoder(_ number: Int, _ reader: ChunkReader) throws(StoreError) -> ChunkDecoder {
            if let decoder = decoders[number] { return decoder }
            let decoder = try reader.decoder()
            decoders[number] = decoder
            return decoder
        }
    }

    /// The containers that pieces are in, and the chunks of their storages.
    private struct Containers {
        private(set) var readers: [ChunkReader] = []
        private var numbers: [ObjectIdentifier: Int] = [:]
        private var rows: [[Int: StorageRow]] = []
        /// By container and id.
        private var chunks: [[Int: Result<[ChunkRow], StoreError>]] = []

        init(_ pieces: [TransferPiece]) throws(StoreError) {
            for piece in pieces {
                guard let backing = piece.source.backing as? ContainerBacking else { continue }
                let number = numbers[ObjectIdentifier(backing.checkpoint)] ?? readers.count
                if number == readers.count {
                    numbers[ObjectIdentifier(backing.checkpoint)] = number
                    readers.append(ChunkReader(backing.checkpoint))
                    rows.append([:])
                }
                rows[number][backing.row.id] = backing.row
            }
            for (reader, rows) in zip(readers, rows) {
                let rows = rows.values.sorted { $0.id < $1.id }
                let found = try reader.chunks(of: rows)
                chunks.append(Dictionary(uniqueKeysWithValues: zip(rows.map(\.id), found)))
            }
        }

        /// The chunks of a piece, if it is in a container.
        func chunks(
            of piece: TransferPiece
        ) throws(StoreError) -> (container: Int, storage: StorageRow, chunks: ArraySlice<ChunkRow>)? {
            guard let backing = piece.source.backing as? ContainerBacking,
                let number = numbers[ObjectIdentifier(backing.checkpoint)], let found = chunks[number][backing.row.id]
            else { return nil }
            return (number, backing.row, ChunkReader.chunks(try found.get(), holding: piece.range))
        }
    }
}

/// Bytes of a storage, and where they go.
private struct TransferPiece: Sendable {
    /// The number of the copy.
    let copy: Int
    let source: Storage
    let range: Range<Int>
    let landing: Landing
    /// Where in the destination's storage they begin.
    let offset: Int

    /// Where in the destination's storage they end.
    var end: Int { offset + range.count }

    /// Whether they go to a storage on a device that stands beside others.
    var isBesideOthers: Bool {
        if case .device(let backing) = landing { backing.padding != nil } else { false }
    }
}

/// The bytes of a storage that is written to.
private enum Landing: Sendable {
    case memory(Memory)
    case device(any DeviceBacking)

    init(_ storage: Storage) throws {
        if let backing = storage.deviceBacking {
            storage.countWrite()
            self = .device(backing)
        } else {
            self = .memory(try storage.writableMemory())
        }
    }

    var identity: ObjectIdentifier {
        switch self {
        case .memory(let memory): ObjectIdentifier(memory)
        case .device(let backing): ObjectIdentifier(backing)
        }
    }
}

/// Pieces that can be read at the same time, because no two of them go to the same bytes.
private struct PieceBatch {
    private(set) var pieces: [TransferPiece] = []
    /// The numbers of the pieces of each landing, in the order of their places in it.
    private var places: [ObjectIdentifier: [Int]] = [:]

    /// Adds a piece, unless it goes to bytes that another one goes to; returns whether all is well. The same piece a
    /// second time (tied parameters) is left out.
    mutating func add(_ piece: TransferPiece) -> Bool {
        let landing = piece.landing.identity
        let numbers = places[landing] ?? []
        // The first that ends behind the piece's beginning. Those there are do not overlap, so their ends are in order.
        var (low, high) = (0, numbers.count)
        while low < high {
            let middle = (low + high) / 2
            if pieces[numbers[middle]].end <= piece.offset { low = middle + 1 } else { high = middle }
        }
        if low < numbers.count, pieces[numbers[low]].offset < piece.end {
            let other = pieces[numbers[low]]
            return other.source === piece.source && other.range == piece.range && other.offset == piece.offset
        }
        places[landing, default: []].insert(pieces.count, at: low)
        pieces.append(piece)
        return true
    }
}

extension StateTensor {
    /// The tensor over memory of its own that holds just the bytes between its first and last element, if it is not in
    /// memory; so that its storage is not drawn into memory to stay there.
    ///
    /// - Throws: ``StoreError/limitExceeded(file:what:limit:found:)`` if that is more than a container's limits allow; what
    ///   reading throws.
    package func loadedAlone(threads: Int? = nil) throws -> StateTensor {
        if storage.isResident { return self }
        let range = StorageVisibility([layout]).range
        let container = storage.backing as? ContainerBacking
        try container?.checkpoint.checkMemory(range.count)
        let memory = try Memory.allocate(range.count)
        if let container {
            try ChunkReader(container.checkpoint).read(range, of: container.row, into: memory, threads: threads)
        } else {
            try memory.withMutableBytes(in: 0..<memory.byteCount) { try storage.read(range, into: &$0) }
        }
        var tensor = self
        tensor.layout = try layout.rebased(by: range.lowerBound)
        tensor.storage = Storage(memory: memory)
        return tensor
    }
}
