/// Numbers the inner nodes of trees in preorder, as spec section 4 wants their ids.
struct TreeNumbering {
    /// A node as its row will have it.
    struct Child {
        let key: StateKey
        let position: Int
        let node: StateTree
        /// The id that the node has if it is an inner one.
        let id: Int
    }

    struct InnerNode {
        let id: Int
        let path: StatePath
        var children: [Child]
    }

    /// The inner nodes of all trees so far, in the order of their ids.
    private(set) var innerNodes: [InnerNode] = []

    /// Numbers a tree's inner nodes, after those of the trees before it.
    ///
    /// - Throws: ``StoreError/invalidTree(path:reason:)`` if the tree is too deep.
    mutating func number(_ tree: StateTree) throws(StoreError) -> (node: StateTree, id: Int) {
        let id = innerNodes.count + 1
        try number(tree, StatePath())
        return (tree, id)
    }

    private mutating func number(_ node: StateTree, _ path: StatePath) throws(StoreError) {
        guard path.keys.count <= StateTree.maximumDepth else {
            throw .invalidTree(
                path: path.flatName, reason: "it is more than \(StateTree.maximumDepth) levels below the root")
        }
        guard node.kind.isInner else { return }
        let place = innerNodes.count
        innerNodes.append(InnerNode(id: place + 1, path: path, children: []))
        var children: [Child] = []
        for (position, (key, child)) in node.children.enumerated() {
            children.append(Child(key: key, position: position, node: child, id: innerNodes.count + 1))
            try number(child, StatePath(path.keys + [key]))
        }
        innerNodes[place].children = children
    }
}

/// The columns of a node's row, in the order of ``RowValidation/nodeColumns``.
struct NodeColumns {
    private(set) var values = [Statement.Value](repeating: .null, count: 13)

    init(
        _ child: TreeNumbering.Child, parent: Int, path: StatePath,
        storageID: (StateTensor, StatePath) throws(StoreError) -> Int
    ) throws(StoreError) {
        let node = child.node
        guard node.tag != "" else { throw .invalidTree(path: path.flatName, reason: "its tag is empty") }
        values[0] = .integer(parent)
        values[1] =
            switch child.key {
            case .integer(let value): .integer(value)
            case .text(let text): .text(text)
            }
        values[2] = .integer(child.position)
        values[3] = .integer(node.kind.rawValue)
        values[4] = node.tag.map { .text($0) } ?? .null
        values[5] = node.kind.isInner ? .integer(child.id) : try NodeColumns.value(of: node, path)
        values[7] = (node.dtype?.name).map { .text($0) } ?? .null
        if case .tensor(let tensor) = node {
            values[6] = .integer(try storageID(tensor, path))
            values[8] = .text(IntegerList.encode(tensor.layout.shape))
            values[9] = tensor.layout.isContiguous ? .null : .text(IntegerList.encode(tensor.layout.strides))
            values[10] = .integer(tensor.layout.offset)
            values[11] = .integer(tensor.layout.byteCount)
            values[12] = .integer(tensor.requiresGrad ? 1 : 0)
        }
    }

    private static func value(of node: StateTree, _ path: StatePath) throws(StoreError) -> Statement.Value {
        func blob(_ number: UInt64) -> Statement.Value {
            var bytes: [UInt8] = []
            bytes.append(littleEndian: number)
            return .blob(bytes)
        }
        switch node {
        case .boolean(let value): return .integer(value ? 1 : 0)
        case .integer(let value):
            return switch value.form {
            case .signed(let value): .integer(Int(value))
            case .unsigned(let value): blob(value)
            case .large(let bytes): .blob(bytes)
            }
        case .double(let value): return blob(value.bitPattern)
        case .string(let text): return .text(text)
        case .bytes(let bytes): return .blob(bytes)
        case .scalar(let value):
            guard value.count == 1 else {
                throw .invalidTree(path: path.flatName, reason: "a typed scalar with \(value.count) elements")
            }
            return .blob(value.bytes)
        case .array(let value): return .blob(value.bytes)
        case .strings(let strings):
            guard let bytes = StringArray.encode(strings) else {
                throw .invalidTree(path: path.flatName, reason: "its strings are more, or longer, than 32 bits can count")
            }
            return .blob(bytes)
        default: return .null
        }
    }
}

extension StateTree {
    /// The dtype of a tensor, typed scalar or typed array.
    var dtype: DType? {
        switch self {
        case .tensor(let tensor): tensor.dtype
        case .scalar(let value), .array(let value): value.dtype
        default: nil
        }
    }
}
