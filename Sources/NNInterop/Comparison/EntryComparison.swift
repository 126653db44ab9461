import NNStore

/// Compares the entries of two trees.
struct EntryComparison {
    private let digests: (first: StorageDigests, second: StorageDigests)
    private let effort: ComparisonEffort
    private let threads: Int
    private let cancellation: Cancellation?
    /// What was found for two tensors; those that are tied to them are the same again.
    private var known: [Pair: ElementDifferences?] = [:]
    /// How many leaves were equal.
    private(set) var equalCount = 0

    private struct Pair: Hashable {
        let storages: [Storage]
        let layouts: [TensorLayout]
    }

    init(
        digests: (StorageDigests, StorageDigests), effort: ComparisonEffort, threads: Int, cancellation: Cancellation?
    ) {
        self.digests = digests
        self.effort = effort
        self.threads = threads
        self.cancellation = cancellation
    }

    /// What differs: in the order of the first tree, then what only the second one has.
    mutating func differences(_ entries: MatchedEntries) throws -> [EntryDifference] {
        for entry in entries.first {
            guard let tensor = entry.node.tensor, let other = entries.partner(of: entry)?.node.tensor,
                tensor.dtype == other.dtype, tensor.shape == other.shape
            else { continue }
            effort.expect(tensor.layout)
        }
        var differences: [EntryDifference] = []
        for entry in entries.first {
            try cancellation?.check()
            if let other = entries.partner(of: entry) {
                let aspects = try aspects(entry.node, other.node, entry.path)
                if !aspects.isEmpty {
                    differences.append(
                        EntryDifference(
                            change: .changed, path: entry.path, first: entry.node, second: other.node, aspects: aspects
                        ))
                } else if entry.node.children.isEmpty, other.node.children.isEmpty {
                    equalCount += 1
                }
            } else if entry.node.children.isEmpty {
                // What has children is told by them.
                differences.append(
                    EntryDifference(change: .removed, path: entry.path, first: entry.node, second: nil, aspects: []))
            }
        }
        for entry in entries.added where entry.node.children.isEmpty {
            differences.append(
                EntryDifference(change: .added, path: entry.path, first: nil, second: entry.node, aspects: []))
        }
        return differences
    }

    private mutating func aspects(
        _ first: StateTree, _ second: StateTree, _ path: StatePath
    ) throws -> [EntryDifference.Aspect] {
        var aspects: [EntryDifference.Aspect] = []
        if first.kindName != second.kindName { aspects.append(.kind(first.kindName, second.kindName)) }
        if !areEqual(first.tag, second.tag) {
            aspects.append(.tag(first.tag, second.tag))
        }
        if let first = first.tensor, let second = second.tensor {
            if first.dtype != second.dtype { aspects.append(.dtype(first.dtype, second.dtype)) }
            if first.shape != second.shape { aspects.append(.shape(first.shape, second.shape)) }
            if first.requiresGrad != second.requiresGrad {
                aspects.append(.requiresGrad(first.requiresGrad, second.requiresGrad))
            }
            if first.dtype == second.dtype, first.shape == second.shape,
                let found = try values(first, second, path.flatName)
            {
                aspects.append(.values(found))
            }
        } else if first.isPlain, second.isPlain, let texts = PlainValues.difference(first, second) {
            aspects.append(.value(texts.0, texts.1))
        }
        return aspects
    }

    private func areEqual(_ first: String?, _ second: String?) -> Bool {
        // By their bytes, as the file has them.
        first.map { StateKey.text($0) } == second.map { StateKey.text($0) }
    }

    private mutating func values(
        _ first: StateTensor, _ second: StateTensor, _ name: String
    ) throws -> ElementDifferences? {
        let pair = Pair(storages: [first.storage, second.storage], layouts: [first.layout, second.layout])
        if let known = known[pair] {
            effort.finish(first.layout)
            return known
        }
        let comparison = TensorComparison(
            name, TensorComparison.Side(storage: first.storage, layout: first.layout, digests: digests.first),
            TensorComparison.Side(storage: second.storage, layout: second.layout, digests: digests.second),
            effort: effort, threads: threads, cancellation: cancellation)
        let found = try comparison.differences()
        effort.finish(first.layout)
        known[pair] = .some(found)
        return found
    }
}

extension StateTree {
    /// The name of the case.
    package var kindName: String {
        switch self {
        case .dictionary: "dictionary"
        case .list: "list"
        case .tuple: "tuple"
        case .record: "record"
        case .tensor: "tensor"
        case .null: "null"
        case .boolean: "boolean"
        case .integer: "integer"
        case .double: "double"
        case .string: "string"
        case .bytes: "bytes"
        case .scalar: "scalar"
        case .array: "array"
        case .strings: "strings"
        }
    }

    /// Whether it is a leaf and no tensor.
    fileprivate var isPlain: Bool {
        switch self {
        case .dictionary, .list, .tuple, .record, .tensor: false
        default: true
        }
    }
}
