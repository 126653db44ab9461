import NNStore

/// What a checkpoint file holds, without the bytes: the tensors in order, and who shares memory with whom.
public struct CheckpointListing: Sendable {
    /// A tensor of the file.
    public struct Tensor: Sendable {
        /// The keys from the root.
        public let path: StatePath
        /// The flat name.
        public let name: String
        /// The tensor, its bytes not read yet.
        public let tensor: StateTensor
        /// A number that tensors over one storage have in common, from 1 in the order of first use.
        public let storage: Int

        /// dtype, shape, strides and offset.
        public var layout: TensorLayout { tensor.layout }
    }

    /// The tensors in the order of the state tree.
    public let tensors: [Tensor]
    /// How many storages there are.
    public let storageCount: Int
    /// Indices into ``tensors`` of those that share a storage: two or more each, in order, tensors without elements
    /// left out.
    public let aliasGroups: [[Int]]

    /// Lists the tensors of a tree.
    public init(_ state: StateTree) {
        var numbers: [Storage: Int] = [:]
        var tensors: [Tensor] = []
        var members: [Int: [Int]] = [:]
        for (path, tensor) in state.tensors {
            let number = numbers[tensor.storage] ?? numbers.count + 1
            numbers[tensor.storage] = number
            if !tensor.layout.isEmpty { members[number, default: []].append(tensors.count) }
            tensors.append(Tensor(path: path, name: path.flatName, tensor: tensor, storage: number))
        }
        self.tensors = tensors
        storageCount = numbers.count
        aliasGroups = members.values.filter { $0.count > 1 }.sorted { $0[0] < $1[0] }
    }

    /// The size of all storages in bytes; the greatest integer if it is more.
    public var storageByteCount: Int {
        var seen: Set<Int> = []
        return tensors.reduce(0) { sum, tensor in
            let size = seen.insert(tensor.storage).inserted ? tensor.tensor.storage.byteCount : 0
            let (total, overflow) = sum.addingReportingOverflow(size)
            return overflow ? .max : total
        }
    }

    /// The group of a tensor, and its place in it.
    public func group(of index: Int) -> (group: Int, place: Int)? {
        for (number, group) in aliasGroups.enumerated() {
            if let place = group.firstIndex(of: index) { return (number, place) }
        }
        return nil
    }

    /// How a tensor looks at the storage of another one, in words: `tied to`, or `view of` with what differs.
    public static func relation(of layout: TensorLayout, to owner: TensorLayout, named name: String) -> String {
        if layout == owner { return "tied to \(name)" }
        if layout.dtype != owner.dtype { return "view of \(name), as \(layout.dtype)" }
        if layout.offset == owner.offset, layout.rank == 2, owner.rank == 2,
            layout.shape == owner.shape.reversed(), layout.strides == owner.strides.reversed()
        {
            return "view of \(name), transposed"
        }
        if layout.strides.contains(0) && !layout.isContiguous { return "view of \(name), expanded" }
        if layout.isContiguous {
            return layout.byteCount == owner.byteCount ? "view of \(name), reshaped" : "view of \(name), a part"
        }
        return "view of \(name), strided"
    }
}
