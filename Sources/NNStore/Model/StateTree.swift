/// What a checkpoint holds: nested dictionaries, lists, tuples and records with tensors and plain values as leaves
/// (spec section 4).
public indirect enum StateTree: Sendable {
    /// Named entries in order.
    case dictionary(StateDictionary)
    /// A list; `tag` names the foreign type that it stood for, if it was not a plain one.
    case list([StateTree], tag: String? = nil)
    /// A tuple; `tag` as for lists (`torch.Size`).
    case tuple([StateTree], tag: String? = nil)
    /// Something of a foreign type that is carried through without being interpreted: its type and its parts.
    case record(type: String, StateDictionary)
    /// A tensor.
    case tensor(StateTensor)
    /// Nothing (`None`).
    case null
    /// A truth value.
    case boolean(Bool)
    /// An integer of any size.
    case integer(StateInteger)
    /// A double; every bit is kept, those of NaN too.
    case double(Double)
    /// A text.
    case string(String)
    /// Bytes.
    case bytes([UInt8])
    /// One element of a dtype, outside any storage.
    case scalar(TypedValue)
    /// A one-dimensional array of elements of a dtype, outside any storage.
    case array(TypedValue)
    /// Many texts as one leaf.
    case strings([String])

    /// How deep a tree may be, in levels below its root.
    public static let maximumDepth = 200
}

extension StateTree {
    /// An integer leaf.
    public static func integer(_ value: Int) -> StateTree { .integer(StateInteger(value)) }

    /// A dictionary from entries in order.
    ///
    /// - Precondition: no key occurs twice.
    public static func dictionary(_ entries: [(String, StateTree)], tag: String? = nil) -> StateTree {
        .dictionary(StateDictionary(entries, tag: tag))
    }

    /// The child under a key of a dictionary or record, or at an index of a list or tuple.
    public subscript(key: StateKey) -> StateTree? {
        switch self {
        case .dictionary(let entries), .record(_, let entries): entries[key]
        case .list(let elements, _), .tuple(let elements, _):
            if case .integer(let index) = key, elements.indices.contains(index) { elements[index] } else { nil }
        default: nil
        }
    }

    /// The child under a text key.
    public subscript(key: String) -> StateTree? { self[.text(key)] }

    /// The child at an index, or under an integer key.
    public subscript(index: Int) -> StateTree? { self[.integer(index)] }

    /// The tensor, if this is one.
    public var tensor: StateTensor? {
        if case .tensor(let tensor) = self { tensor } else { nil }
    }

    /// The integer, if this is one that fits.
    public var int: Int? {
        if case .integer(let value) = self { value.int } else { nil }
    }

    /// The double, if this is one.
    public var double: Double? {
        if case .double(let value) = self { value } else { nil }
    }

    /// The truth value, if this is one.
    public var bool: Bool? {
        if case .boolean(let value) = self { value } else { nil }
    }

    /// The text, if this is one.
    public var string: String? {
        if case .string(let value) = self { value } else { nil }
    }

    /// The node at a path.
    public subscript(path: StatePath) -> StateTree? {
        var node = self
        for key in path.keys {
            guard let child = node[key] else { return nil }
            node = child
        }
        return node
    }

    /// The children with their keys, in order; empty for leaves.
    public var children: [(key: StateKey, value: StateTree)] {
        switch self {
        case .dictionary(let entries), .record(_, let entries):
            entries.map { ($0.key, $0.value) }
        case .list(let elements, _), .tuple(let elements, _):
            elements.enumerated().map { (.integer($0.offset), $0.element) }
        default: []
        }
    }
}

extension StateTree: ExpressibleByDictionaryLiteral, ExpressibleByArrayLiteral, ExpressibleByStringLiteral,
    ExpressibleByIntegerLiteral, ExpressibleByFloatLiteral, ExpressibleByBooleanLiteral, ExpressibleByNilLiteral
{
    /// A dictionary. A key that occurs twice is a programming error and stops.
    public init(dictionaryLiteral elements: (StateKey, StateTree)...) {
        self = .dictionary(StateDictionary(keyed: elements))
    }
    /// A list.
    public init(arrayLiteral elements: StateTree...) { self = .list(elements) }
    /// A string.
    public init(stringLiteral value: String) { self = .string(value) }
    /// An integer.
    public init(integerLiteral value: Int) { self = .integer(value) }
    /// A double.
    public init(floatLiteral value: Double) { self = .double(value) }
    /// A boolean.
    public init(booleanLiteral value: Bool) { self = .boolean(value) }
    /// Null.
    public init(nilLiteral: ()) { self = .null }
}

/// A tensor in a state tree: a layout over a storage.
public struct StateTensor: Sendable {
    /// The memory that the tensor looks into. Tensors with the same storage are aliases.
    public package(set) var storage: Storage
    /// How it looks into it.
    public package(set) var layout: TensorLayout
    /// Whether gradients are wanted for it.
    public var requiresGrad: Bool
    /// The foreign type that it stood for, if it was not a plain tensor (`torch.nn.parameter.Parameter`).
    public var tag: String?

    /// A tensor over `storage`.
    ///
    /// - Throws: ``StoreError/invalidLayout(reason:)`` if the layout reaches outside the storage.
    public init(
        storage: Storage, layout: TensorLayout, requiresGrad: Bool = false, tag: String? = nil
    ) throws(StoreError) {
        guard layout.byteRange.upperBound <= storage.byteCount else {
            throw .invalidLayout(
                reason: "\(layout.dtype) \(layout.shape) with strides \(layout.strides) at offset \(layout.offset) "
                    + "reaches byte \(layout.byteRange.upperBound) of a storage of \(storage.byteCount) bytes")
        }
        self.storage = storage
        self.layout = layout
        self.requiresGrad = requiresGrad
        self.tag = tag
    }

    /// The type of the elements.
    public var dtype: DType { layout.dtype }
    /// The extents, outermost first.
    public var shape: [Int] { layout.shape }
}

/// Elements of a dtype outside any storage: a typed scalar or a typed array.
public struct TypedValue: Sendable, Hashable {
    /// The type of the elements, which has one element a block.
    public let dtype: DType
    /// The elements, little-endian.
    public let bytes: [UInt8]

    /// The elements in `bytes`.
    ///
    /// - Throws: ``StoreError/invalidArgument(reason:)`` if the bytes are no whole number of elements, or if the
    ///   dtype's elements are not whole bytes.
    public init(_ dtype: DType, bytes: [UInt8]) throws(StoreError) {
        guard dtype.elementsPerBlock == 1 else {
            throw .invalidArgument(reason: "\(dtype) has no single elements, so there is no scalar or array of it")
        }
        guard bytes.count % dtype.bytesPerBlock == 0 else {
            throw .invalidArgument(reason: "\(bytes.count) bytes are no whole number of \(dtype) elements")
        }
        self.dtype = dtype
        self.bytes = bytes
    }

    /// The number of elements.
    public var count: Int { bytes.count / dtype.bytesPerBlock }
}
