/// A Swift type whose values are elements of a dtype, bit for bit.
public protocol TensorElement: BitwiseCopyable, Sendable {
    /// The dtype of the elements.
    static var dtype: DType { get }
    /// A value, for memory that is not filled yet.
    static var zero: Self { get }
}

extension Double: TensorElement {
    /// F64
    public static var dtype: DType { .f64 }
}
extension Float: TensorElement {
    /// F32
    public static var dtype: DType { .f32 }
}
#if !((os(macOS) || targetEnvironment(macCatalyst)) && arch(x86_64))
    extension Float16: TensorElement {
        /// F16
        public static var dtype: DType { .f16 }
    }
#endif
extension Int: TensorElement {
    /// I64
    public static var dtype: DType { .i64 }
}
extension Int64: TensorElement {
    /// I64
    public static var dtype: DType { .i64 }
}
extension Int32: TensorElement {
    /// I32
    public static var dtype: DType { .i32 }
}
extension Int16: TensorElement {
    /// I16
    public static var dtype: DType { .i16 }
}
extension Int8: TensorElement {
    /// I8
    public static var dtype: DType { .i8 }
}
extension UInt64: TensorElement {
    /// U64
    public static var dtype: DType { .u64 }
}
extension UInt32: TensorElement {
    /// U32
    public static var dtype: DType { .u32 }
}
extension UInt16: TensorElement {
    /// U16
    public static var dtype: DType { .u16 }
}
extension UInt8: TensorElement {
    /// U8
    public static var dtype: DType { .u8 }
}

extension StateTensor {
    /// A contiguous tensor over a storage of its own that holds a copy of `elements`; its dtype is the one of their
    /// type (``TensorElement``).
    ///
    /// ```swift
    /// let weight = try StateTensor([1, 2, 3, 4, 5, 6] as [Float], shape: [2, 3])
    /// ```
    ///
    /// - Throws: ``StoreError/invalidLayout(reason:)`` if `elements` are not as many as `shape` needs.
    public init<Element: TensorElement>(
        _ elements: [Element], shape: [Int], requiresGrad: Bool = false
    ) throws(StoreError) {
        let layout = try TensorLayout(Element.dtype, shape: shape)
        guard layout.elementCount == elements.count else {
            throw .invalidLayout(
                reason: "shape \(shape) has \(layout.elementCount) elements, \(elements.count) were given")
        }
        try self.init(storage: Storage(copying: elements), layout: layout, requiresGrad: requiresGrad)
    }

    /// A contiguous tensor over a storage of its own that holds a copy of `bytes`, the elements one after another,
    /// little-endian: for dtypes that Swift has no type for.
    ///
    /// - Throws: ``StoreError/invalidLayout(reason:)`` if `bytes` are not as many as `dtype` and `shape` need.
    public init(bytes: [UInt8], dtype: DType, shape: [Int], requiresGrad: Bool = false) throws(StoreError) {
        let layout = try TensorLayout(dtype, shape: shape)
        guard layout.byteCount == bytes.count else {
            throw .invalidLayout(
                reason: "shape \(shape) of \(dtype) takes \(layout.byteCount) bytes, \(bytes.count) were given")
        }
        try self.init(storage: Storage(bytes), layout: layout, requiresGrad: requiresGrad)
    }

    /// The elements in row-major order.
    ///
    /// - Throws: ``StoreError/invalidArgument(reason:)`` if the tensor's dtype is not `type`'s; what reading the storage
    ///   throws.
    public func elements<Element: TensorElement>(as type: Element.Type) throws -> [Element] {
        guard dtype == Element.dtype else {
            throw StoreError.invalidArgument(reason: "the elements are \(dtype), \(type) would read \(Element.dtype)")
        }
        var elements = [Element](repeating: .zero, count: layout.elementCount)
        var span = elements.mutableSpan
        // Sound: every pattern of bits is a value of these types, and they have no padding.
        var bytes = unsafe span.mutableBytes
        try copyElements(to: &bytes)
        return elements
    }
}

extension StateTensor: CustomStringConvertible {
    /// dtype and shape: `F32 [2, 3]`.
    public var description: String { "\(dtype) \(shape)" }
}
