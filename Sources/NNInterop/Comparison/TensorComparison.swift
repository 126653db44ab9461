import NNStore
import Synchronization

/// Compares the elements of two tensors of one dtype and shape, and reads only what the digests do not say.
struct TensorComparison {
    /// One of the two.
    struct Side: Sendable {
        let storage: Storage
        var layout: TensorLayout
        let digests: StorageDigests

        /// The digests of chunks; of a file that has none, `nil`.
        func chunkDigests(_ range: Range<Int>) throws -> [Digest]? { try digests.chunks(range, of: storage) }
    }

    private let name: String
    private let left: Side
    private let right: Side
    private let effort: ComparisonEffort
    private let threads: Int
    private let cancellation: Cancellation?

    /// How many chunks' digests are held at a time.
    private static let windowSize = 256

    init(
        _ name: String, _ left: Side, _ right: Side, effort: ComparisonEffort, threads: Int, cancellation: Cancellation?
    ) {
        self.name = name
        self.left = left
        self.right = right
        self.effort = effort
        self.threads = threads
        self.cancellation = cancellation
    }

    /// The differences; `nil` if there are none.
    func differences() throws -> ElementDifferences? {
        if left.layout.isEmpty { return nil }
        if left.layout == right.layout, let digest = left.digests.digest(of: left.storage),
            digest == right.digests.digest(of: right.storage)
        {
            return nil
        }
        var (left, right) = (left, right)
        let repetitions = try TensorComparison.removeRepetitions(&left.layout, &right.layout)
        let found = try compare(left, right)
        return found.differingCount == 0 ? nil : found.repeated(repetitions)
    }

    /// Takes the dimensions out of both layouts in which both repeat their elements, and those of extent 1: a few bytes
    /// may stand for any number of elements, and comparing them once tells all.
    ///
    /// - Returns: how many times each element was there.
    private static func removeRepetitions(
        _ left: inout TensorLayout, _ right: inout TensorLayout
    ) throws(StoreError) -> Int {
        let kept = left.shape.indices.filter { dimension in
            left.shape[dimension] > 1 && (left.strides[dimension] > 0 || right.strides[dimension] > 0)
        }
        let count = left.elementCount
        func reduced(_ layout: TensorLayout) throws(StoreError) -> TensorLayout {
            try TensorLayout(
                layout.dtype, shape: kept.map { layout.shape[$0] }, strides: kept.map { layout.strides[$0] },
                offset: layout.offset)
        }
        (left, right) = (try reduced(left), try reduced(right))
        return count / left.elementCount
    }

    private func compare(_ left: Side, _ right: Side) throws -> ElementDifferences {
        let range = left.layout.byteRange
        let haveSameStart = range.lowerBound == right.layout.byteRange.lowerBound
        if left.layout.strides == right.layout.strides, left.layout.isDense {
            // Neither the order nor the place of the elements matters: those at one distance from the start belong
            // together.
            return try compare(left, right, haveSameGrid: haveSameStart)
        }
        if left.layout == right.layout, try !haveDifferingChunk(left, right) { return ElementDifferences(left.layout) }
        try effort.spend(left.layout.byteCount, on: name)
        var strided = try StridedComparison(left, right, effort: effort, cancellation: cancellation)
        return try strided.run()
    }

    // MARK: Stretches without holes

    /// Compares two tensors whose elements lie in the same order without holes, chunk by chunk of the left storage.
    ///
    /// - Parameter haveSameGrid: whether the chunks of both storages hold the same elements.
    private func compare(_ left: Side, _ right: Side, haveSameGrid: Bool) throws -> ElementDifferences {
        let range = left.layout.byteRange
        let distance = right.layout.byteRange.lowerBound - range.lowerBound
        try effort.spend(range.count, on: name)
        let size = Checkpoint.chunkSize
        let block = left.layout.dtype.bytesPerBlock
        func blockEnd(_ position: Int) -> Int { (position + block - 1) / block * block }
        let chunks = range.lowerBound / size..<(range.upperBound - 1) / size + 1
        let comparer = ElementComparer(left.layout)
        let found = Mutex(ElementDifferences(left.layout))
        for start in stride(from: chunks.lowerBound, to: chunks.upperBound, by: TensorComparison.windowSize) {
            let window = start..<min(chunks.upperBound, start + TensorComparison.windowSize)
            // One more, for a block that the border between two windows tears.
            let looked = window.lowerBound..<min(chunks.upperBound, window.upperBound + 1)
            let differ =
                try haveSameGrid
                ? differing(looked, left, right) : [Bool](repeating: true, count: looked.count)
            // A block belongs to the chunk that it begins in.
            let pieces = window.compactMap { chunk -> Range<Int>? in
                let end = min(range.upperBound, (chunk + 1) * size)
                let piece = blockEnd(max(range.lowerBound, chunk * size))..<blockEnd(end)
                let isTorn = piece.upperBound > end
                let index = chunk - looked.lowerBound
                return !piece.isEmpty && (differ[index] || isTorn && differ[index + 1]) ? piece : nil
            }
            try Workers.forEach(pieces.count, threads: threads, cancellation: cancellation) {
                (try Memory.allocate(size + block), try Memory.allocate(size + block))
            } _: { number, buffers in
                let piece = pieces[number]
                let count = piece.count
                try buffers.0.withMutableBytes(in: 0..<count) { try left.storage.read(piece, into: &$0) }
                let other = piece.lowerBound + distance..<piece.upperBound + distance
                try buffers.1.withMutableBytes(in: 0..<count) { try right.storage.read(other, into: &$0) }
                let differences = buffers.0.withBytes(in: 0..<count) { first in
                    buffers.1.withBytes(in: 0..<count) { comparer.differences(first, $0) }
                }
                found.withLock { $0.add(differences) }
                effort.advance(count)
            }
        }
        return found.withLock { $0 }
    }

    // MARK: Chunks

    /// Whether any chunk under two equal layouts differs.
    private func haveDifferingChunk(_ left: Side, _ right: Side) throws -> Bool {
        let range = left.layout.byteRange
        try effort.spend(range.count, on: name)
        let chunks = range.lowerBound / Checkpoint.chunkSize..<(range.upperBound - 1) / Checkpoint.chunkSize + 1
        for start in stride(from: chunks.lowerBound, to: chunks.upperBound, by: TensorComparison.windowSize) {
            let window = start..<min(chunks.upperBound, start + TensorComparison.windowSize)
            if try differing(window, left, right).contains(true) { return true }
        }
        return false
    }

    /// For each of some chunks, whether its digests differ. A file without digests is read to compute them; where
    /// neither has any, reading both is left to the caller.
    private func differing(_ chunks: Range<Int>, _ left: Side, _ right: Side) throws -> [Bool] {
        switch (try left.chunkDigests(chunks), try right.chunkDigests(chunks)) {
        case (let first?, let second?): return zip(first, second).map { $0 != $1 }
        case (let known?, nil): return try differing(chunks, known, right.storage)
        case (nil, let known?): return try differing(chunks, known, left.storage)
        case (nil, nil): return [Bool](repeating: true, count: chunks.count)
        }
    }

    private func differing(_ chunks: Range<Int>, _ digests: [Digest], _ storage: Storage) throws -> [Bool] {
        let differ = Mutex([Bool](repeating: false, count: chunks.count))
        try Workers.forEach(chunks.count, threads: threads, cancellation: cancellation) {
            try Memory.allocate(Checkpoint.chunkSize)
        } _: { number, buffer in
            let start = (chunks.lowerBound + number) * Checkpoint.chunkSize
            let range = start..<min(storage.byteCount, start + Checkpoint.chunkSize)
            try buffer.withMutableBytes(in: 0..<range.count) { try storage.read(range, into: &$0) }
            let digest = buffer.withBytes(in: 0..<range.count) { Digest(of: $0) }
            if digest != digests[number] { differ.withLock { $0[number] = true } } else { effort.advance(range.count) }
        }
        return differ.withLock { $0 }
    }
}

extension TensorLayout {
    /// Whether the elements fill their stretch of the storage, each place once, in whatever order.
    fileprivate var isDense: Bool {
        var expected = 1
        for (stride, extent) in zip(strides, shape).sorted(by: { $0 < $1 }) where extent > 1 {
            if stride != expected { return false }
            expected *= extent
        }
        return true
    }
}
