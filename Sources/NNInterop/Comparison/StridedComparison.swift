import NNStore

/// Compares two tensors whose elements lie in different orders, or with holes, element by element.
///
/// The space of indices is halved until a part of it is small and touches few blocks of both storages. Parts that lie
/// side by side touch the same blocks, and those that were used last are kept, so that a transposed matrix is not read
/// once for each of its rows. At most 64 MiB of each storage are held, whatever the tensors' sizes.
struct StridedComparison {
    /// A dimension, with its strides in bytes.
    private struct Dimension {
        let count: Int
        let left: Int
        let right: Int
    }

    /// A part of the space of indices.
    private typealias Part = [Range<Int>]

    private let dimensions: [Dimension]
    /// The bytes of a block, which is the least that is compared.
    private let unit: Int
    private let starts: (left: Int, right: Int)
    private let blocks: (left: BlockCache, right: BlockCache)
    private let buffers: (left: Memory, right: Memory)
    private let comparer: ElementComparer
    private let effort: ComparisonEffort
    private let cancellation: Cancellation?
    private var found: ElementDifferences

    /// The bytes of elements that are compared at a time.
    private static let pieceSize = 1 << 20

    /// - Parameter blockCount: how many blocks of each storage are kept in memory, at least two.
    init(
        _ left: TensorComparison.Side, _ right: TensorComparison.Side, effort: ComparisonEffort,
        cancellation: Cancellation?, blockCount: Int = 64
    ) throws {
        let dtype = left.layout.dtype
        let unit = dtype.bytesPerBlock
        let elements = dtype.elementsPerBlock
        let last = left.layout.rank - 1
        // Rows of block dtypes are whole blocks one after another where the tensor is not contiguous, and two contiguous
        // ones do not come here (spec section 5).
        let unsorted = left.layout.shape.indices.map { dimension in
            elements > 1 && dimension == last
                ? Dimension(count: left.layout.shape[dimension] / elements, left: unit, right: unit)
                : Dimension(
                    count: left.layout.shape[dimension], left: left.layout.strides[dimension] / elements * unit,
                    right: right.layout.strides[dimension] / elements * unit)
        }
        // Neighbours in the left storage are taken together; the order of elements does not matter.
        dimensions = unsorted.sorted { ($0.left, $0.right) > ($1.left, $1.right) }
        starts = (left.layout.byteRange.lowerBound, right.layout.byteRange.lowerBound)
        blocks = (BlockCache(left.storage, blockCount), BlockCache(right.storage, blockCount))
        let size = max(unit, StridedComparison.pieceSize)
        buffers = (try Memory.allocate(size), try Memory.allocate(size))
        comparer = ElementComparer(left.layout)
        self.unit = unit
        self.effort = effort
        self.cancellation = cancellation
        found = ElementDifferences(left.layout)
    }

    mutating func run() throws -> ElementDifferences {
        try compare(dimensions.map { 0..<$0.count })
        return found
    }

    private mutating func compare(_ part: Part) throws {
        let splittable = part.indices.filter { part[$0].count > 1 }
        let reach = splittable.map { max(dimensions[$0].left, dimensions[$0].right) * (part[$0].count - 1) }
        if !isSmall(part), let place = reach.indices.max(by: { reach[$0] < reach[$1] }) {
            let dimension = splittable[place]
            let middle = part[dimension].lowerBound + part[dimension].count / 2
            var halves = (part, part)
            halves.0[dimension] = part[dimension].lowerBound..<middle
            halves.1[dimension] = middle..<part[dimension].upperBound
            try compare(halves.0)
            return try compare(halves.1)
        }
        try cancellation?.check()
        let size = part.reduce(unit) { $0 * $1.count }
        try gather(part, starts.left, \.left, blocks.left, into: buffers.left)
        try gather(part, starts.right, \.right, blocks.right, into: buffers.right)
        let differences = buffers.left.withBytes(in: 0..<size) { left in
            buffers.right.withBytes(in: 0..<size) { comparer.differences(left, $0) }
        }
        found.add(differences)
        effort.advance(size)
    }

    private func isSmall(_ part: Part) -> Bool {
        var size = unit
        for range in part {
            let (product, overflow) = size.multipliedReportingOverflow(by: range.count)
            if overflow || product > StridedComparison.pieceSize { return false }
            size = product
        }
        return touched(part, \.left) <= blocks.left.capacity && touched(part, \.right) <= blocks.right.capacity
    }

    /// How many blocks of a storage a part touches at most.
    private func touched(_ part: Part, _ stride: KeyPath<Dimension, Int>) -> Int {
        func count(_ span: Int) -> Int { span / BlockCache.blockSize + 2 }
        let reaches = zip(dimensions, part).map { $0[keyPath: stride] * ($1.count - 1) }
        let whole = count(reaches.reduce(unit, +))
        // Rows that lie far apart touch the blocks under them and not those between.
        guard
            let inner = dimensions.indices.min(by: { dimensions[$0][keyPath: stride] < dimensions[$1][keyPath: stride] }
            )
        else { return whole }
        let rows = part.indices.reduce(1) { $1 == inner ? $0 : $0 * part[$1].count }
        let (byRows, overflow) = rows.multipliedReportingOverflow(by: count(unit + reaches[inner]))
        return overflow ? whole : min(whole, byRows)
    }

    /// Copies the elements of a part one after another.
    private func gather(
        _ part: Part, _ start: Int, _ stride: KeyPath<Dimension, Int>, _ blocks: BlockCache, into buffer: Memory
    ) throws {
        let strides = dimensions.map { $0[keyPath: stride] }
        var indices = part.map(\.lowerBound)
        var source = zip(strides, indices).reduce(start) { $0 + $1.0 * $1.1 }
        // What lies together is copied together.
        var run = unit
        var outer = part.count
        while outer > 0, strides[outer - 1] == run {
            outer -= 1
            run *= part[outer].count
        }
        // The innermost dimension that is left, as a row of runs.
        outer -= 1
        let row = outer < 0 ? (count: 1, stride: 0) : (count: part[outer].count, stride: strides[outer])
        let size = part.reduce(unit) { $0 * $1.count }
        try buffer.withMutableBytes(in: 0..<size) { destination throws in
            var position = 0
            while true {
                try blocks.copy(row.count, of: run, every: row.stride, from: source, to: position, of: &destination)
                position += row.count * run
                var dimension = outer - 1
                while dimension >= 0 {
                    indices[dimension] += 1
                    source += strides[dimension]
                    if indices[dimension] < part[dimension].upperBound { break }
                    source -= part[dimension].count * strides[dimension]
                    indices[dimension] = part[dimension].lowerBound
                    dimension -= 1
                }
                if dimension < 0 { return }
            }
        }
    }
}

/// The blocks of a storage that were used last.
private final class BlockCache {
    /// A chunk's size, so that a container decodes one for each block.
    static let blockSize = Checkpoint.chunkSize
    /// How many blocks are kept.
    let capacity: Int

    private let storage: Storage
    private var blocks: [Int: (memory: Memory, lastUse: Int)] = [:]
    private var last: (number: Int, memory: Memory)?
    private var time = 0

    init(_ storage: Storage, _ capacity: Int) {
        self.storage = storage
        self.capacity = capacity
    }

    /// Copies `count` runs of `size` bytes, whose beginnings are `stride` bytes apart, one after another to a position of
    /// `destination`.
    func copy(
        _ count: Int, of size: Int, every stride: Int, from start: Int, to position: Int,
        of destination: inout MutableRawSpan
    ) throws {
        var start = start
        var position = position
        var rest = count
        while rest > 0 {
            let number = start / BlockCache.blockSize
            let inBlock = start - number * BlockCache.blockSize
            let room = BlockCache.blockSize - inBlock - size
            if room < 0 {
                try copy(start..<start + size, to: position, of: &destination)
                (start, position, rest) = (start + stride, position + size, rest - 1)
                continue
            }
            let fitting = stride == 0 ? rest : min(rest, room / stride + 1)
            try block(number).withBytes { bytes in
                BlockCache.copy(
                    fitting, of: size, every: stride, from: inBlock, of: bytes, to: position, of: &destination)
            }
            (start, position, rest) = (start + fitting * stride, position + fitting * size, rest - fitting)
        }
    }

    private static func copy(
        _ count: Int, of size: Int, every stride: Int, from start: Int, of source: RawSpan, to position: Int,
        of destination: inout MutableRawSpan
    ) {
        func each<Word: FixedWidthInteger & BitwiseCopyable>(_ type: Word.Type) {
            for number in 0..<count {
                let word = source.littleEndian(at: start + number * stride, as: type)
                destination.storeBytes(of: word.littleEndian, toByteOffset: position + number * size, as: type)
            }
        }
        // Single elements are most of the work where one of two matrices is transposed.
        switch size {
        case 1: each(UInt8.self)
        case 2: each(UInt16.self)
        case 4: each(UInt32.self)
        case 8: each(UInt64.self)
        default:
            for number in 0..<count {
                let run = start + number * stride..<start + number * stride + size
                let place = position + number * size
                destination.withBytes(in: place..<place + size) { $0.copy(source.extracting(run)) }
            }
        }
    }

    /// Copies a run that lies in more than one block.
    private func copy(_ range: Range<Int>, to position: Int, of destination: inout MutableRawSpan) throws {
        var start = range.lowerBound
        while start < range.upperBound {
            let number = start / BlockCache.blockSize
            let end = min(range.upperBound, (number + 1) * BlockCache.blockSize)
            let target = position + (start - range.lowerBound)
            let source = start - number * BlockCache.blockSize..<end - number * BlockCache.blockSize
            try block(number).withBytes(in: source) { source in
                destination.withBytes(in: target..<target + source.byteCount) { $0.copy(source) }
            }
            start = end
        }
    }

    private func block(_ number: Int) throws -> Memory {
        if let last, last.number == number { return last.memory }
        time += 1
        if let present = blocks[number]?.memory {
            blocks[number]?.lastUse = time
            last = (number, present)
            return present
        }
        // The memory of the block that was not used for longest is used again, so that no more than the capacity is.
        var memory: Memory?
        if blocks.count == capacity, let oldest = blocks.min(by: { $0.value.lastUse < $1.value.lastUse }) {
            memory = blocks.removeValue(forKey: oldest.key)?.memory
        }
        let fresh = try memory ?? Memory.allocate(BlockCache.blockSize)
        let range = number * BlockCache.blockSize..<min(storage.byteCount, (number + 1) * BlockCache.blockSize)
        last = nil
        try fresh.withMutableBytes(in: 0..<range.count) { try storage.read(range, into: &$0) }
        blocks[number] = (fresh, time)
        last = (number, fresh)
        return fresh
    }
}
