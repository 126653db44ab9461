/// A place in a state tree: the keys from the root.
public struct StatePath: Sendable, Hashable, CustomStringConvertible {
    /// The keys, outermost first.
    public var keys: [StateKey]

    /// The path with these keys.
    public init(_ keys: [StateKey] = []) { self.keys = keys }

    /// The keys joined by `.`: the entry's flat name (spec section 4).
    public var flatName: String {
        keys.count == 1 ? keys[0].description : keys.lazy.map(\.description).joined(separator: ".")
    }

    /// The keys one by one, texts in quotes, so that two paths with one flat name look different.
    public var description: String {
        keys.map { key in
            switch key {
            case .text(let text): "[\"\(text)\"]"
            case .integer(let value): "[\(value)]"
            }
        }.joined()
    }
}

extension StateTree {
    /// Calls `body` with every node and its path, in preorder: a node before its children, children in order.
    ///
    /// Trees deeper than ``maximumDepth`` are not walked into below it.
    public func forEachNode(_ body: (StatePath, StateTree) throws -> Void) rethrows {
        var path = StatePath()
        try walk(&path, body)
    }

    private func walk(_ path: inout StatePath, _ body: (StatePath, StateTree) throws -> Void) rethrows {
        try body(path, self)
        guard path.keys.count <= StateTree.maximumDepth else { return }
        for (key, child) in children {
            path.keys.append(key)
            try child.walk(&path, body)
            path.keys.removeLast()
        }
    }

    /// Checks that the tree is no deeper than trees may be, before it is walked in other ways.
    ///
    /// - Throws: ``StoreError/invalidTree(path:reason:)``.
    func checkDepth(_ depth: Int = 0) throws(StoreError) {
        guard depth <= StateTree.maximumDepth else {
            throw .invalidTree(path: "", reason: "it is deeper than \(StateTree.maximumDepth) levels")
        }
        switch self {
        case .dictionary(let entries), .record(_, let entries):
            for (_, child) in entries { try child.checkDepth(depth + 1) }
        case .list(let elements, _), .tuple(let elements, _):
            for child in elements { try child.checkDepth(depth + 1) }
        default: break
        }
    }

    /// The tensors with their paths, in order.
    public var tensors: [(path: StatePath, tensor: StateTensor)] {
        var tensors: [(StatePath, StateTensor)] = []
        forEachNode { path, node in
            if let tensor = node.tensor { tensors.append((path, tensor)) }
        }
        return tensors
    }

    /// A copy with every tensor replaced by what `body` makes of it; a shared storage is the caller's to keep shared.
    public func mapTensors<Failure: Error>(
        _ body: (StateTensor) throws(Failure) -> StateTensor
    ) throws(Failure) -> StateTree {
        func map(_ entries: StateDictionary) throws(Failure) -> StateDictionary {
            var mapped = StateDictionary(tag: entries.tag)
            for (key, value) in entries { mapped[key] = try value.mapTensors(body) }
            return mapped
        }
        func map(_ elements: [StateTree]) throws(Failure) -> [StateTree] {
            var mapped: [StateTree] = []
            mapped.reserveCapacity(elements.count)
            for element in elements { mapped.append(try element.mapTensors(body)) }
            return mapped
        }
        switch self {
        case .dictionary(let entries): return .dictionary(try map(entries))
        case .record(let type, let entries): return .record(type: type, try map(entries))
        case .list(let elements, let tag): return .list(try map(elements), tag: tag)
        case .tuple(let elements, let tag): return .tuple(try map(elements), tag: tag)
        case .tensor(let tensor): return .tensor(try body(tensor))
        default: return self
        }
    }
}
