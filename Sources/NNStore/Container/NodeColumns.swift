/// The columns of a node's row, in the order of the table's.
struct NodeColumns {
    private(set) var values = [Statement.Value](repeating: .null, count: 13)

    /// The column `value`.
    var value: Statement.Value {
        get { values[5] }
        set { values[5] = newValue }
    }

    /// Whether the value has to stand in the table of large ones.
    var hasLargeValue: Bool {
        switch value {
        case .text(let text): text.utf8.count > IndexSchema.largestInlineValue
        case .blob(let bytes): bytes.count > IndexSchema.largestInlineValue
        default: false
        }
    }

    /// The columns of `node`, whose id is `id` if it is an inner node.
    init(
        _ node: StateTree, key: StateKey, position: Int, parent: Int, id: Int, path: StatePath,
        storageID: (StateTensor, StatePath) throws(StoreError) -> Int
    ) throws(StoreError) {
        guard node.tag != "" else { throw .invalidTree(path: path.flatName, reason: "its tag is empty") }
        for text in [node.tag, key.text] {
            guard text?.utf8.count ?? 0 <= IndexSchema.maximumKeySize else {
                throw .invalidTree(
                    path: String(path.flatName.prefix(80)) + "...",
                    reason: "its key or tag has more than \(IndexSchema.maximumKeySize) bytes")
            }
        }
        values[0] = .integer(parent)
        values[1] =
            switch key {
            case .integer(let value): .integer(value)
            case .text(let text): .text(text)
            }
        values[2] = .integer(position)
        values[3] = .integer(node.kind.rawValue)
        values[4] = node.tag.map { .text($0) } ?? .null
        values[5] = node.kind.isInner ? .integer(id) : try NodeColumns.value(of: node, path)
        values[7] = (node.dtype?.name).map { .text($0) } ?? .null
        let size =
            switch value {
            case .text(let text): text.utf8.count
            case .blob(let bytes): bytes.count
            default: 0
            }
        guard size <= IndexSchema.maximumValueSize else {
            throw .invalidTree(
                path: path.flatName, reason: "its value of \(size) bytes is larger than \(IndexSchema.maximumValueSize)"
            )
        }
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
                throw .invalidTree(
                    path: path.flatName, reason: "its strings are more, or longer, than 32 bits can count")
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
