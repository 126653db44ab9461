import Synchronization

/// Copies of many tensors' elements into the memory of others, on all cores, from wherever their storages are: chunks of
/// containers are decoded straight into their places.
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
                    memory: try copy.destination.storage.writableMemory(),
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

    /// What one worker does at a time.
    private enum Task: Sendable {
        /// A chunk of the container of this number.
        case chunk(ChunkRow, of: ChunkReader.Piece, container: Int)
        /// A range of the bytes of a storage that is in memory, or that a backing reads.
        case bytes(Range<Int>)
    }

    /// How many bytes are copied at a time where there are no chunks.
    private static let stepSize = 4 << 20

    private func read(
        _ pieces: [TransferPiece], _ begun: borrowing Mutex<Set<Int>>, _ threads: Int, _ cancellation: Cancellation?
    ) throws {
        let containers = try Containers(pieces)
        var tasks: [(piece: TransferPiece, task: Task)] = []
        for piece in pieces {
            if let (container, part, chunks) = try containers.chunks(of: piece) {
                tasks += chunks.map { (piece, .chunk($0, of: part, container: container)) }
            } else {
                tasks += stride(from: 0, to: piece.range.count, by: TensorTransfer.stepSize).map { start in
                    (piece, .bytes(start..<min(start + TensorTransfer.stepSize, piece.range.count)))
                }
            }
        }
        let all = tasks
        try Workers.forEach(all.count, threads: threads, cancellation: cancellation, context: Decoders.init) {
            number, decoders in
            let (piece, task) = all[number]
            begun.withLock { _ = $0.insert(piece.copy) }
            switch task {
            case .chunk(let chunk, let part, let container):
                let reader = containers.readers[container]
                try reader.decode(chunk, for: part, decoders.decoder(container, reader), isZeroed: false)
            case .bytes(let range):
                let start = piece.range.lowerBound
                try piece.memory.withMutableBytes(in: piece.offset + range.lowerBound..<piece.offset + range.upperBound)
                {
                    try piece.source.read(start + range.lowerBound..<start + range.upperBound, into: &$0)
                }
            }
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
        ) throws(StoreError) -> (container: Int, part: ChunkReader.Piece, chunks: ArraySlice<ChunkRow>)? {
            guard let backing = piece.source.backing as? ContainerBacking,
                let number = numbers[ObjectIdentifier(backing.checkpoint)], let found = chunks[number][backing.row.id]
            else { return nil }
            let part = ChunkReader.Piece(
                storage: backing.row, range: piece.range, memory: piece.memory, offset: piece.offset)
            return (number, part, part.chunks(try found.get()))
        }
    }
}

/// Bytes of a storage, and where they go.
private struct TransferPiece: Sendable {
    /// The number of the copy.
    let copy: Int
    let source: Storage
    let range: Range<Int>
    let memory: Memory
    /// Where in the memory they begin.
    let offset: Int

    /// Where in the memory they end.
    var end: Int { offset + range.count }
}

/// Pieces that can be read at the same time, because no two of them go to the same bytes.
private struct PieceBatch {
    private(set) var pieces: [TransferPiece] = []
    /// The numbers of the pieces of each memory, in the order of their places in it.
    private var places: [ObjectIdentifier: [Int]] = [:]

    /// Adds a piece, unless it goes to bytes that another one goes to; returns whether all is well. The same piece a
    /// second time (tied parameters) is left out.
    mutating func add(_ piece: TransferPiece) -> Bool {
        let memory = ObjectIdentifier(piece.memory)
        let numbers = places[memory] ?? []
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
        places[memory, default: []].insert(pieces.count, at: low)
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
