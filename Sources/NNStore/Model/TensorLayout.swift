/// How a tensor looks into its storage: dtype, shape, strides and offset (spec section 5).
///
/// A layout is always valid in itself: its sizes do not overflow, its strides are canonical where they say nothing,
/// and the offsets and rows of block dtypes are whole blocks. Whether it lies inside a given storage is
/// ``byteRange``'s question.
public struct TensorLayout: Sendable, Hashable {
    /// The type of the elements.
    public let dtype: DType
    /// The extents, outermost first; empty for a scalar.
    public let shape: [Int]
    /// How many elements apart neighbours in each dimension are.
    public let strides: [Int]
    /// Position of the first element, in elements from the start of the storage.
    public let offset: Int
    /// The number of elements, the product of the shape.
    public let elementCount: Int
    /// The size of the elements laid out one after another, in bytes.
    public let byteCount: Int
    /// The bytes of the storage between the first and the last element, both included; `0..<0` if there is no element.
    public let byteRange: Range<Int>
    /// Whether the strides are the contiguous, row-major ones.
    public let isContiguous: Bool

    /// The most elements and bytes that a tensor may have or reach (spec section 5): far more than there is, and little
    /// enough that sums of a few do not overflow.
    public static let maximumSize = 1 << 60
    /// The most dimensions that a tensor may have.
    public static let maximumRank = 64

    /// A layout with the given strides, or with contiguous ones.
    ///
    /// Strides that say nothing (where the extent is 1, or in a tensor without elements) are replaced by the
    /// contiguous ones, and the offset of a tensor without elements by 0.
    ///
    /// - Throws: ``StoreError/invalidLayout(reason:)`` for negative figures, too many dimensions, sizes that
    ///   overflow, and block dtypes whose offset or rows are not whole blocks.
    public init(_ dtype: DType, shape: [Int], strides: [Int]? = nil, offset: Int = 0) throws(StoreError) {
        guard shape.count <= TensorLayout.maximumRank else {
            throw .invalidLayout(reason: "\(shape.count) dimensions, at most \(TensorLayout.maximumRank) are possible")
        }
        guard shape.allSatisfy({ $0 >= 0 }) else { throw .invalidLayout(reason: "negative extent in shape \(shape)") }
        guard offset >= 0 else { throw .invalidLayout(reason: "negative offset \(offset)") }

        let contiguous = try TensorLayout.contiguousStrides(of: shape)
        let isEmpty = shape.contains(0)
        var effective = contiguous
        if let strides {
            guard strides.count == shape.count else {
                throw .invalidLayout(reason: "\(strides.count) strides for \(shape.count) dimensions")
            }
            guard strides.allSatisfy({ $0 >= 0 }) else {
                throw .invalidLayout(reason: "negative stride in \(strides)")
            }
            if !isEmpty {
                for dimension in shape.indices where shape[dimension] > 1 { effective[dimension] = strides[dimension] }
            }
        }
        // The product with 1 for 0 did not overflow, so this one does not either.
        let elementCount = shape.reduce(1, *)
        let blocks = elementCount / dtype.elementsPerBlock
        let (byteCount, overflow) = blocks.multipliedReportingOverflow(by: dtype.bytesPerBlock)
        guard !overflow, byteCount <= TensorLayout.maximumSize else {
            throw .invalidLayout(reason: "\(shape) elements of \(dtype) take more than 2^60 bytes")
        }

        self.dtype = dtype
        self.shape = shape
        self.strides = effective
        self.offset = isEmpty ? 0 : offset
        self.elementCount = elementCount
        self.byteCount = byteCount
        isContiguous = effective == contiguous
        if dtype.elementsPerBlock > 1 {
            try TensorLayout.checkBlocks(
                dtype, shape: shape, strides: effective, offset: self.offset, elementCount: elementCount,
                isContiguous: isContiguous)
        }
        byteRange =
            isEmpty ? 0..<0 : try TensorLayout.byteRange(dtype, shape: shape, strides: effective, offset: offset)
    }

    /// The contiguous, row-major strides of a shape.
    ///
    /// - Throws: ``StoreError/invalidLayout(reason:)`` if the product of the extents is more than 2^60.
    public static func contiguousStrides(of shape: [Int]) throws(StoreError) -> [Int] {
        var strides = [Int](repeating: 1, count: shape.count)
        var product = 1
        for dimension in shape.indices.reversed() {
            strides[dimension] = product
            let (next, overflow) = product.multipliedReportingOverflow(by: max(1, shape[dimension]))
            guard !overflow, next <= maximumSize else {
                throw .invalidLayout(reason: "the product of shape \(shape) is more than 2^60")
            }
            product = next
        }
        return strides
    }

    private static func checkBlocks(
        _ dtype: DType, shape: [Int], strides: [Int], offset: Int, elementCount: Int, isContiguous: Bool
    ) throws(StoreError) {
        let block = dtype.elementsPerBlock
        guard elementCount % block == 0 else {
            throw .invalidLayout(
                reason: "\(elementCount) elements of \(dtype) are no whole number of blocks of \(block)")
        }
        guard offset % block == 0 else {
            throw .invalidLayout(reason: "offset \(offset) of \(dtype) is no multiple of its block of \(block)")
        }
        if isContiguous { return }
        guard let row = shape.last, strides.last == 1, row % block == 0 else {
            throw .invalidLayout(
                reason: "\(dtype) with shape \(shape) and strides \(strides): rows are not whole blocks of \(block)")
        }
        for dimension in shape.indices.dropLast() where shape[dimension] > 1 {
            guard strides[dimension] % block == 0 else {
                throw .invalidLayout(
                    reason: "stride \(strides[dimension]) of \(dtype) is no multiple of its block of \(block)")
            }
        }
    }

    private static func byteRange(
        _ dtype: DType, shape: [Int], strides: [Int], offset: Int
    ) throws(StoreError) -> Range<Int> {
        var last = offset
        for dimension in shape.indices {
            let (distance, overflow) = (shape[dimension] - 1).multipliedReportingOverflow(by: strides[dimension])
            let (sum, overflowOfSum) = last.addingReportingOverflow(distance)
            guard !overflow, !overflowOfSum else {
                throw .invalidLayout(reason: "shape \(shape) with strides \(strides) overflows 63 bits")
            }
            last = sum
        }
        guard last < maximumSize else {
            throw .invalidLayout(reason: "offset \(offset), shape \(shape) and strides \(strides) reach beyond 2^60")
        }
        let (lower, overflowOfLower) = (offset / dtype.elementsPerBlock).multipliedReportingOverflow(
            by: dtype.bytesPerBlock)
        let (upper, overflowOfUpper) = (last / dtype.elementsPerBlock + 1).multipliedReportingOverflow(
            by: dtype.bytesPerBlock)
        guard !overflowOfLower, !overflowOfUpper, upper <= maximumSize else {
            throw .invalidLayout(
                reason: "offset \(offset), shape \(shape) and strides \(strides) of \(dtype) reach beyond 2^60 bytes")
        }
        return lower..<upper
    }
}

extension TensorLayout {
    /// Whether the tensor has no elements.
    public var isEmpty: Bool { elementCount == 0 }

    /// The number of dimensions.
    public var rank: Int { shape.count }

    /// The layout without its first `bytes` bytes of storage: what is left when a storage is cut to what is visible.
    ///
    /// - Parameter bytes: a multiple of the dtype's bytes a block, at most `byteRange.lowerBound`.
    func rebased(by bytes: Int) throws(StoreError) -> TensorLayout {
        if isEmpty || bytes == 0 { return self }
        return try TensorLayout(
            dtype, shape: shape, strides: strides,
            offset: offset - bytes / dtype.bytesPerBlock * dtype.elementsPerBlock)
    }

    /// The rows `range` of the first dimension.
    ///
    /// - Throws: ``StoreError/invalidArgument(reason:)`` if the tensor is a scalar or the rows are not all there;
    ///   ``StoreError/invalidLayout(reason:)`` if rows of a block dtype do not begin at whole blocks.
    public func rows(_ range: Range<Int>) throws(StoreError) -> TensorLayout {
        guard let extent = shape.first else {
            throw .invalidArgument(reason: "a scalar has no rows to take \(range) of")
        }
        guard range.lowerBound >= 0, range.upperBound <= extent else {
            throw .invalidArgument(reason: "rows \(range) of shape \(shape): only 0..<\(extent) are there")
        }
        return try TensorLayout(
            dtype, shape: [range.count] + shape.dropFirst(), strides: strides,
            offset: range.isEmpty ? 0 : offset + range.lowerBound * strides[0])
    }
}
