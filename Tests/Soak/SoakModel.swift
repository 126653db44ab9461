import NNStore
import TestSupport

/// What a checkpoint should hold, in plain arrays: blocks of bytes, and tensors that look into them.
struct SoakModel: Equatable {
    struct Entry: Equatable {
        var name: String
        var block: Int
        var dtype: DType
        var shape: [Int]
        var strides: [Int]
        /// In elements.
        var offset: Int

        var layout: TensorLayout {
            get throws { try TensorLayout(dtype, shape: shape, strides: strides, offset: offset) }
        }
    }

    /// By number. One that no entry looks into is not part of what is saved.
    var blocks: [Int: [UInt8]] = [:]
    var entries: [Entry] = []
    var values: [String: Int] = [:]
    private var nextBlock = 0
    private var nextName = 0

    private static let dtypes: [DType] = [.f32, .bf16, .f16, .f64, .i64, .u8, .bool]

    // MARK: What it is as a tree

    /// A new tree with storages of its own, shared as the model says.
    func tree() throws -> StateTree {
        var storages: [Int: Storage] = [:]
        var entries: [(StateKey, StateTree)] = []
        for entry in self.entries {
            let storage = try storages[entry.block] ?? Storage(blocks[entry.block]!)
            storages[entry.block] = storage
            entries.append((.text(entry.name), .tensor(try StateTensor(storage: storage, layout: entry.layout))))
        }
        for (name, value) in values.sorted(by: { $0.key < $1.key }) { entries.append((.text(name), .integer(value))) }
        return .dictionary(StateDictionary(keyed: entries))
    }

    /// The elements of an entry in row-major order, gathered one by one.
    func elements(of entry: Entry) -> [UInt8] {
        let size = entry.dtype.bytesPerBlock
        let block = blocks[entry.block]!
        var bytes: [UInt8] = []
        func gather(_ dimension: Int, _ position: Int) {
            if dimension == entry.shape.count {
                bytes += block[position * size..<(position + 1) * size]
                return
            }
            for index in 0..<entry.shape[dimension] {
                gather(dimension + 1, position + index * entry.strides[dimension])
            }
        }
        gather(0, entry.offset)
        return bytes
    }

    /// What is wrong with a tree that should be this model's; `nil` if nothing is.
    ///
    /// - Parameters:
    ///   - lost: names that may be missing.
    ///   - keepsSharing: whether tensors have to share what they shared.
    func difference(from tree: StateTree, lost: Set<String> = [], keepsSharing: Bool = true) throws -> String? {
        var storages: [Int: Storage] = [:]
        var blocksOfStorages: [Storage: Int] = [:]
        for entry in entries where !lost.contains(entry.name) {
            guard let tensor = tree[.text(entry.name)]?.tensor else { return "\(entry.name) is missing" }
            guard tensor.layout.shape == entry.shape, tensor.layout.dtype == entry.dtype else {
                return "\(entry.name) is \(tensor.layout)"
            }
            var bytes: [UInt8] = []
            try tensor.forEachPiece { piece in piece.withUnsafeBytes { bytes += $0 } }
            if bytes != elements(of: entry) { return "\(entry.name) has other elements" }
            // Empty tensors look at nothing.
            guard keepsSharing, !entry.shape.contains(0) else { continue }
            if let storage = storages[entry.block], storage != tensor.storage {
                return "\(entry.name) lost its sharing"
            }
            if let block = blocksOfStorages[tensor.storage], block != entry.block {
                return "\(entry.name) shares too much"
            }
            storages[entry.block] = tensor.storage
            blocksOfStorages[tensor.storage] = entry.block
        }
        for (name, value) in values where tree[.text(name)]?.int != value { return "\(name) is another value" }
        let count = entries.count + values.count - lost.count
        if let dictionary = tree.children.count as Int?, keepsSharing, dictionary != count {
            return "\(dictionary) entries instead of \(count)"
        }
        return nil
    }

    // MARK: Changes

    /// Changes something at random: adds a tensor, a view or a tie, writes into a block, removes an entry, sets a value.
    mutating func change(using generator: inout SeededGenerator) {
        switch Int.random(in: 0..<10, using: &generator) {
        case 0...2: addTensor(using: &generator)
        case 3...4: addAlias(using: &generator)
        case 5...6: write(using: &generator)
        case 7: unshare(using: &generator)
        case 8:
            if !entries.isEmpty { entries.remove(at: Int.random(in: entries.indices, using: &generator)) }
        default:
            values["value\(Int.random(in: 0..<5, using: &generator))"] = Int.random(in: -1000...1000, using: &generator)
        }
        while entries.count > 24 { entries.remove(at: Int.random(in: entries.indices, using: &generator)) }
        let used = Set(entries.map(\.block))
        blocks = blocks.filter { used.contains($0.key) }
    }

    private mutating func name() -> String {
        nextName += 1
        return "tensor\(nextName)"
    }

    private static func contiguous(_ shape: [Int]) -> [Int] {
        var strides = [Int](repeating: 1, count: shape.count)
        for dimension in shape.indices.dropLast().reversed() {
            strides[dimension] = strides[dimension + 1] * max(1, shape[dimension + 1])
        }
        return strides
    }

    private mutating func addTensor(using generator: inout SeededGenerator) {
        let dtype = SoakModel.dtypes.randomElement(using: &generator)!
        let limit = Int.random(in: 0..<20, using: &generator) == 0 ? 1400 : 40
        let shape = (0..<Int.random(in: 0...3, using: &generator)).map { dimension in
            Int.random(in: 0...(dimension == 0 ? limit : 40), using: &generator)
        }
        let count = shape.reduce(1, *)
        nextBlock += 1
        blocks[nextBlock] = SoakModel.bytes(count * dtype.bytesPerBlock, dtype, using: &generator)
        entries.append(
            Entry(
                name: name(), block: nextBlock, dtype: dtype, shape: shape, strides: SoakModel.contiguous(shape),
                offset: 0))
    }

    /// Bytes as weights have them, or constant ones, or such that nothing is to be compressed in.
    private static func bytes(_ count: Int, _ dtype: DType, using generator: inout SeededGenerator) -> [UInt8] {
        if dtype == .bool { return (0..<count).map { _ in UInt8(truncatingIfNeeded: generator.next() & 1) } }
        switch Int.random(in: 0..<4, using: &generator) {
        case 0: return [UInt8](repeating: UInt8(truncatingIfNeeded: generator.next()), count: count)
        case 1: return (0..<count).map { _ in UInt8(truncatingIfNeeded: generator.next()) }
        default:
            let width = dtype.bytesPerBlock
            return (0..<count).map { place in
                let byte = UInt8(truncatingIfNeeded: generator.next())
                return place % width == width - 1 ? 0x3c | byte & 0x83 : byte
            }
        }
    }

    private mutating func addAlias(using generator: inout SeededGenerator) {
        guard let base = entries.filter({ !$0.shape.contains(0) }).randomElement(using: &generator) else { return }
        var alias = base
        alias.name = name()
        if !alias.shape.isEmpty {
            let dimension = Int.random(in: alias.shape.indices, using: &generator)
            switch Int.random(in: 0..<4, using: &generator) {
            case 0: break
            case 1:
                alias.shape.reverse()
                alias.strides.reverse()
            case 2:
                let start = Int.random(in: 0..<alias.shape[dimension], using: &generator)
                alias.offset += start * alias.strides[dimension]
                alias.shape[dimension] = Int.random(in: 1...alias.shape[dimension] - start, using: &generator)
            default:
                alias.shape[dimension] = (alias.shape[dimension] + 1) / 2
                alias.strides[dimension] *= 2
            }
        }
        // Where a stride says nothing it is the contiguous one.
        let contiguous = SoakModel.contiguous(alias.shape)
        for dimension in alias.shape.indices where alias.shape[dimension] == 1 {
            alias.strides[dimension] = contiguous[dimension]
        }
        entries.append(alias)
    }

    private mutating func write(using generator: inout SeededGenerator) {
        guard let entry = entries.randomElement(using: &generator), let count = blocks[entry.block]?.count, count > 0
        else { return }
        let start = Int.random(in: 0..<count, using: &generator)
        for place in start..<min(count, start + 300) {
            blocks[entry.block]![place] =
                entry.dtype == .bool
                ? UInt8(truncatingIfNeeded: generator.next() & 1) : UInt8(truncatingIfNeeded: generator.next())
        }
    }

    /// Gives an entry a block of its own.
    private mutating func unshare(using generator: inout SeededGenerator) {
        guard let number = entries.indices.randomElement(using: &generator) else { return }
        nextBlock += 1
        blocks[nextBlock] = elements(of: entries[number])
        entries[number].block = nextBlock
        entries[number].offset = 0
        entries[number].strides = SoakModel.contiguous(entries[number].shape)
    }
}
