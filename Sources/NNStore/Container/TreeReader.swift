/// Reads whole trees from an index, and checks that they are trees.
struct TreeReader {
    private let index: Index
    private let part: Part

    /// Which trees are read, and so checked. Each has its rows in one piece.
    enum Part: Sendable {
        case both, state, metadata
    }

    /// - Parameter part: the state tree alone where the metadata is damaged; what is asked for must be in it.
    init(_ index: Index, _ part: Part = .both) {
        self.index = index
        self.part = part
    }

    /// The tensors of the state tree, in order, each inside its storage.
    func entries() throws(StoreError) -> [TensorEntry] {
        // Their ids count from 1 without a gap. Reading them takes a fifth of the time that the nodes take.
        let (storages, nodes) = try Workers.both(
            atOnce: index.pages.byteCount > 1 << 20, { () throws(StoreError) in try index.storages() },
            { () throws(StoreError) in try Nodes(index, part) })
        var entries: [TensorEntry] = []
        entries.reserveCapacity(storages.count)
        try nodes.forEach(root: 0) { (path, content) throws(StoreError) in
            guard case .tensor(let row) = content else { return }
            let entry = TensorEntry(path, row, fileID: index.tail.fileID)
            guard row.storage <= storages.count else {
                throw index.validation.damaged("tensor \(entry.name)", "its storage \(row.storage) is missing")
            }
            try index.validation.checkBounds(row, entry.name, in: storages[row.storage - 1])
            entries.append(entry)
        }
        return entries
    }

    /// How many leaves of both trees have their values in the table of large ones.
    func largeValueCount() throws(StoreError) -> Int { try Nodes(index, .both).largeValueCount }

    /// The state tree (root 0) or the metadata tree (root 1).
    func tree(
        root: Int, tensor: (TensorRow) throws(StoreError) -> StateTensor
    ) throws(StoreError) -> StateTree {
        try Nodes(index, root == 1 ? .metadata : part).build(root: root, tensor: tensor)
    }
}

/// All rows of `node`, to be walked in preorder.
private struct Nodes: Sendable {
    private let index: Index
    private let rows: [Int: [NodeRow]]
    /// How many leaves have their values in the table of large ones.
    private(set) var largeValueCount = 0

    /// Reads the trees, or one alone: the metadata's rows stand together, behind those of the state tree.
    init(_ index: Index, _ part: TreeReader.Part) throws(StoreError) {
        self.index = index
        let roots = try index.children(of: 0, keys: [0, 1])
        guard roots.count == 2, roots.allSatisfy({ $0.position == 0 }),
            case .inner(.dictionary, let metadataID, _) = roots[1].content
        else { throw index.validation.damaged("the roots", "they are not a state tree and a metadata dictionary") }
        var rows =
            switch part {
            case .both: try index.nodes(from: 0)
            case .state: try index.nodes(from: 0, before: metadataID)
            case .metadata: try index.nodes(from: metadataID)
            }
        guard part == .metadata || rows[0]?.count == 2 else {
            throw index.validation.damaged("the roots", "there are more than two")
        }
        rows[0] = roots
        self.rows = rows

        // Preorder numbering makes a tree of each half: ids count up on the way, so no row is met twice or never.
        var next = 1
        var nextLarge = 0
        if part == .metadata {
            // Where the other tree is not read, its numbers are not checked, but there are no more of them than nodes.
            let firstLarge = rows.values.joined().compactMap(\.largeValue).min() ?? 1
            guard max(metadataID, firstLarge) <= index.limits.maximumNodes, firstLarge > 0 else {
                throw index.validation.damaged(
                    "the metadata tree", "its id is \(metadataID), its first large value \(firstLarge): too large")
            }
            next = metadataID
            nextLarge = firstLarge - 1
        } else {
            try number(roots[0], depth: 0, &next, &nextLarge)
        }
        guard next == metadataID else {
            throw index.validation.damaged("the metadata tree", "its id is \(metadataID), expected \(next)")
        }
        if part == .state {
            next += 1
        } else {
            try number(roots[1], depth: 0, &next, &nextLarge)
        }
        largeValueCount = nextLarge
        let parents = rows.keys.max() ?? 0
        guard parents < next else {
            throw index.validation.damaged("node \(parents)", "it has children and is in neither tree")
        }
    }

    private func number(_ row: NodeRow, depth: Int, _ next: inout Int, _ nextLarge: inout Int) throws(StoreError) {
        guard depth <= StateTree.maximumDepth else {
            throw index.validation.damaged(
                "node \(row.key)", "it is more than \(StateTree.maximumDepth) levels below the root")
        }
        guard case .inner(let kind, let id, _) = row.content else {
            if let large = row.largeValue {
                nextLarge += 1
                guard large == nextLarge else {
                    throw index.validation.damaged(
                        "node \(row.key)", "its large value is \(large), expected \(nextLarge)")
                }
            }
            return
        }
        guard id == next else { throw index.validation.damaged("node \(row.key)", "its id is \(id), expected \(next)") }
        next += 1
        let children = rows[id] ?? []
        if kind == .list || kind == .tuple {
            for (position, child) in children.enumerated() where child.key != .integer(position) {
                throw index.validation.damaged("node \(id)", "its element \(position) has the key \(child.key)")
            }
        }
        for child in children { try number(child, depth: depth + 1, &next, &nextLarge) }
    }

    func forEach(
        root: Int, _ visit: (StatePath, NodeRow.Content) throws(StoreError) -> Void
    ) throws(StoreError) {
        var path = StatePath()
        try walk(rows[0]![root], &path, visit)
    }

    private func walk(
        _ row: NodeRow, _ path: inout StatePath, _ visit: (StatePath, NodeRow.Content) throws(StoreError) -> Void
    ) throws(StoreError) {
        try visit(path, row.content)
        guard case .inner(_, let id, _) = row.content else { return }
        for child in rows[id] ?? [] {
            path.keys.append(child.key)
            try walk(child, &path, visit)
            path.keys.removeLast()
        }
    }

    func build(
        root: Int, tensor: (TensorRow) throws(StoreError) -> StateTensor
    ) throws(StoreError) -> StateTree {
        try build(rows[0]![root], tensor)
    }

    private func build(
        _ row: NodeRow, _ tensor: (TensorRow) throws(StoreError) -> StateTensor
    ) throws(StoreError) -> StateTree {
        switch row.content {
        case .leaf(let leaf): return leaf
        case .tensor(let row): return .tensor(try tensor(row))
        case .inner(let kind, let id, let tag):
            var children: [(StateKey, StateTree)] = []
            for child in rows[id] ?? [] { children.append((child.key, try build(child, tensor))) }
            return switch kind {
            case .list: .list(children.map(\.1), tag: tag)
            case .tuple: .tuple(children.map(\.1), tag: tag)
            case .record: .record(type: tag ?? "", StateDictionary(keyed: children))
            default: .dictionary(StateDictionary(keyed: children, tag: tag))
            }
        }
    }
}
