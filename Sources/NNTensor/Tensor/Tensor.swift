import NNDevices
import NNStore

/// An array of elements of one dtype with a shape, over a storage that other tensors may look into as well.
///
/// Slicing, transposing and reshaping give views: tensors over the same storage, through which a change of one is seen in
/// all. Operations on tensors that require gradients are recorded, and ``backward(_:retainGraph:)`` fills ``grad`` of the
/// leaves, as in PyTorch.
///
/// A tensor is not Sendable: a graph of operations belongs to one thread. To hand values to another one, hand over a
/// `StateTensor` or a `StateTree`.
public class Tensor {
    /// The memory that the tensor looks into.
    public final internal(set) var storage: Storage
    /// How it does: dtype, shape, strides and offset, all in elements.
    public final internal(set) var layout: TensorLayout {
        get {
            if isUninitialized { orStop { throw TensorError.uninitialized(what: "this parameter") } }
            return currentLayout
        }
        set { currentLayout = newValue }
    }

    /// ``layout``, before there is a value as well.
    final var currentLayout: TensorLayout
    /// Whether this is a parameter that has no value yet.
    final var isUninitialized = false

    /// What ``backward(_:retainGraph:)`` has added up so far for this leaf, with its dtype and shape; `nil` before the
    /// first time.
    public final var grad: Tensor?

    /// The operation that made the value, while it is recorded.
    final var node: Node?
    /// The tensor that this one is a view of, itself not a view.
    final var base: Tensor?
    /// How often the value was changed in place by recorded operations. A view whose base was changed since it looked
    /// takes its node anew.
    final var history = 0
    /// ``history`` of the base when ``node`` was made.
    final var baseHistory = 0
    /// Whether a leaf wants a gradient.
    final var wantsGradient = false
    /// Whether this is a Swift number that became a tensor: it does not decide the dtype of a result.
    final var isNumber = false
    /// The number itself, for results in F64: as a tensor it is F32.
    final var exactNumber: Double?
    /// Whether the view was made while nothing was recorded, so that its base would not know of changes.
    final var isUnrecordedView = false

    init(_ storage: Storage, _ layout: TensorLayout) {
        self.storage = storage
        currentLayout = layout
    }

    /// A tensor over a storage, which other tensors may look into too.
    ///
    /// - Throws: ``TensorError/invalidArgument(operation:reason:)`` if the layout reaches beyond the storage.
    public convenience init(storage: Storage, layout: TensorLayout) throws {
        guard layout.byteRange.upperBound <= storage.byteCount else {
            throw TensorError.invalidArgument(
                operation: "Tensor",
                reason:
                    "\(layout.dtype) \(layout.shape) with strides \(layout.strides) from element \(layout.offset) on "
                    + "reaches to byte \(layout.byteRange.upperBound) of a storage of \(storage.byteCount) bytes")
        }
        self.init(storage, layout)
    }

    /// The number of a literal: F32, or I64 for an integer; in operations with tensors it takes their dtype as Swift
    /// numbers do.
    public required convenience init(floatLiteral value: Double) { self.init(number: value) }
    /// The number of a literal; see ``init(floatLiteral:)``.
    public required convenience init(integerLiteral value: Int) { self.init(number: value) }
    /// The truth value of a literal, BOOL.
    public required convenience init(booleanLiteral value: Bool) {
        self.init(filled: value, .bool, isNumber: true)
    }

    convenience init(number: Double) {
        self.init(filled: Float(number), .f32, isNumber: true)
        exactNumber = number
    }
    convenience init(number: Int) { self.init(filled: Int64(number), .i64, isNumber: true) }

    private convenience init<Value: BitwiseCopyable>(filled value: Value, _ dtype: DType, isNumber: Bool) {
        self.init(orStop { try Storage(copying: [value]) }, orStop { try TensorLayout(dtype, shape: []) })
        self.isNumber = isNumber
    }
}

extension Tensor: ExpressibleByFloatLiteral, ExpressibleByIntegerLiteral, ExpressibleByBooleanLiteral {}

extension Tensor {
    /// The extents, outermost first; empty for a scalar.
    public var shape: [Int] { layout.shape }
    /// How many elements apart neighbours in each dimension are.
    public var strides: [Int] { layout.strides }
    /// Position of the first element in the storage, in elements.
    public var offset: Int { layout.offset }
    /// The type of the elements.
    public var dtype: DType { layout.dtype }
    /// The number of dimensions.
    public var rank: Int { layout.rank }
    /// The number of elements.
    public var count: Int { layout.elementCount }
    /// Whether the elements lie one after another, the last dimension's neighbours side by side.
    public var isContiguous: Bool { layout.isContiguous }
    /// The extent of a dimension; negative ones count from the last, which is -1.
    ///
    /// - Throws: ``TensorError/invalidArgument(operation:reason:)`` if there is no such dimension.
    public func size(_ dimension: Int) throws -> Int { shape[try axis(dimension, "size")] }

    /// Whether both look into the same memory. Their values may still lie apart in it.
    public func sharesStorage(with other: Tensor) -> Bool { storage === other.storage }

    /// The tensor as NNStore saves it: storage and layout, sharing kept.
    ///
    /// - Throws: `StoreError` if the layout can't be stored.
    public func stateTensor() throws -> StateTensor {
        try StateTensor(storage: storage, layout: layout, requiresGrad: requiresGrad)
    }

    /// - Throws: ``TensorError/uninitialized(what:)`` for a parameter without a value.
    func requireValue(_ operation: String) throws {
        if isUninitialized { throw TensorError.uninitialized(what: "\(operation): the parameter") }
    }

    /// A dimension as a number from 0 on.
    func axis(_ dimension: Int, _ operation: String) throws -> Int {
        let axis = dimension < 0 ? dimension + rank : dimension
        guard axis >= 0, axis < rank else {
            throw TensorError.invalidArgument(
                operation: operation,
                reason: rank == 0
                    ? "a scalar has no dimension \(dimension)"
                    : "dimension \(dimension) of shape \(shape); \(-rank) to \(rank - 1) are there")
        }
        return axis
    }

    /// Dimensions as numbers from 0 on, ascending; all of them for `nil`.
    func axes(_ dimensions: [Int]?, _ operation: String) throws -> [Int] {
        guard let dimensions else { return Array(0..<rank) }
        let axes = try dimensions.map { try axis($0, operation) }.sorted()
        if let twice = axes.indices.dropFirst().first(where: { axes[$0] == axes[$0 - 1] }) {
            throw TensorError.invalidArgument(
                operation: operation, reason: "dimension \(axes[twice]) is named twice in \(dimensions)")
        }
        return axes
    }

    /// A fresh contiguous tensor of zeros.
    static func zeroed(_ dtype: DType, _ shape: [Int], on device: Device) throws -> Tensor {
        let layout = try TensorLayout(dtype, shape: shape)
        if device.isGPU {
            let storage = try DeviceStorage.allocate(layout.byteCount, on: device.gpu())
            try storage.gpu.zero(storage)
            return Tensor(Storage(on: storage), layout)
        }
        return Tensor(try Storage(byteCount: layout.byteCount), layout)
    }

    /// A fresh contiguous tensor that holds anything. The caller writes all elements before anybody sees it.
    static func unwritten(_ dtype: DType, _ shape: [Int], on device: Device) throws -> Tensor {
        let layout = try TensorLayout(dtype, shape: shape)
        if device.isGPU {
            return Tensor(Storage(on: try DeviceStorage.allocate(layout.byteCount, on: device.gpu())), layout)
        }
        return Tensor(Storage(memory: try TensorMemory.cache.allocate(layout.byteCount)), layout)
    }
}

/// The memory of results of operations.
public enum TensorMemory {
    /// As much is kept for the next operations when tensors are freed.
    private static let limit = 256 << 20

    static let cache = MemoryCache(limit: limit)

    /// Gives memory that is kept for the next operations, at most 256 MiB, back to the system.
    public static func emptyCache() { cache.empty() }
}
