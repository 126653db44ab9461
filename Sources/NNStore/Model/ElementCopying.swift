extension StateTensor {
    /// Copies the elements (of a block dtype: the blocks) to `destination` in row-major order, one after another.
    ///
    /// - Throws: ``StoreError/invalidArgument(reason:)`` if `destination` has not just their size; what reading the
    ///   storage throws.
    public func copyElements(to destination: inout MutableRawSpan) throws {
        guard destination.byteCount == layout.byteCount else {
            throw StoreError.invalidArgument(
                reason: "the elements take \(layout.byteCount) bytes, the destination has \(destination.byteCount)")
        }
        if layout.isEmpty { return }
        if layout.isContiguous { return try storage.read(layout.byteRange, into: &destination) }
        try storage.withBytes { source in
            var runs = RowMajorRuns(layout)
            var position = 0
            while let run = runs.next() {
                destination.withBytes(in: position..<position + run.count) { $0.copy(source.extracting(run)) }
                position += run.count
            }
        }
    }

    /// The elements in row-major order, their bytes taken as values of `type` (`Float` for F32, `Int64` for I64).
    ///
    /// - Throws: ``StoreError/invalidArgument(reason:)`` if an element of the dtype has another size than `type`; what
    ///   reading the storage throws.
    public func elements<Element: FixedWidthInteger & BitwiseCopyable>(as type: Element.Type) throws -> [Element] {
        try copiedElements(as: type, zero: 0)
    }

    /// The elements in row-major order, their bytes taken as values of `type` (`Float` for F32, `Double` for F64).
    ///
    /// - Throws: as ``elements(as:)-(FixedWidthInteger.Type)``.
    public func elements<Element: BinaryFloatingPoint & BitwiseCopyable>(as type: Element.Type) throws -> [Element] {
        try copiedElements(as: type, zero: 0)
    }

    private func copiedElements<Element: BitwiseCopyable>(as type: Element.Type, zero: Element) throws -> [Element] {
        guard dtype.elementsPerBlock == 1, dtype.bytesPerBlock == MemoryLayout<Element>.size else {
            throw StoreError.invalidArgument(
                reason: "an element of \(dtype) has \(dtype.bytesPerBlock) bytes for \(dtype.elementsPerBlock), "
                    + "\(type) has \(MemoryLayout<Element>.size)")
        }
        var elements = [Element](repeating: zero, count: layout.elementCount)
        var span = elements.mutableSpan
        // Sound: every pattern of bits is a number of these types, and they have no padding.
        var bytes = unsafe span.mutableBytes
        try copyElements(to: &bytes)
        return elements
    }

    /// Calls `body` with the elements in row-major order, in pieces of about a megabyte, without holding more than a
    /// piece in memory if the tensor is contiguous.
    ///
    /// - Throws: what reading the storage and what `body` throws.
    public func forEachPiece(_ body: (RawSpan) throws -> Void) throws {
        if layout.isEmpty { return }
        let pieceSize = 1 << 20
        // A whole number of blocks, so that no element is torn.
        let size = max(1, pieceSize / layout.dtype.bytesPerBlock) * layout.dtype.bytesPerBlock
        let piece = try Memory.allocate(min(size, layout.byteCount))
        if layout.isContiguous {
            var start = layout.byteRange.lowerBound
            while start < layout.byteRange.upperBound {
                let count = min(size, layout.byteRange.upperBound - start)
                try piece.withMutableBytes(in: 0..<count) { try storage.read(start..<start + count, into: &$0) }
                try piece.withBytes(in: 0..<count, body)
                start += count
            }
            return
        }
        try storage.withBytes { source in
            var runs = RowMajorRuns(layout)
            var filled = 0
            while var run = runs.next() {
                while !run.isEmpty {
                    let part = run.prefix(size - filled)
                    piece.withMutableBytes(in: filled..<filled + part.count) { $0.copy(source.extracting(part)) }
                    filled += part.count
                    run = part.upperBound..<run.upperBound
                    if filled == size {
                        try piece.withBytes(in: 0..<filled, body)
                        filled = 0
                    }
                }
            }
            if filled > 0 { try piece.withBytes(in: 0..<filled, body) }
        }
    }
}

/// The bytes of a strided tensor's elements in row-major order, as runs that lie together in the storage.
package struct RowMajorRuns {
    private let runSize: Int
    private let shape: [Int]
    /// In bytes.
    private let strides: [Int]
    private var indices: [Int]
    private var start: Int
    private var isDone: Bool

    package init(_ layout: TensorLayout) {
        let block = layout.dtype.elementsPerBlock
        let size = layout.dtype.bytesPerBlock
        var shape = layout.shape
        var strides = layout.strides.map { $0 / block * size }
        var runSize = size
        if block > 1, let row = shape.popLast() {
            // Rows of block dtypes lie together (spec section 5).
            strides.removeLast()
            runSize = row / block * size
        }
        while let extent = shape.last, let stride = strides.last, stride == runSize || extent == 1 {
            runSize *= extent
            shape.removeLast()
            strides.removeLast()
        }
        self.runSize = runSize
        self.shape = shape
        self.strides = strides
        indices = [Int](repeating: 0, count: shape.count)
        start = layout.byteRange.lowerBound
        isDone = layout.isEmpty
    }

    package mutating func next() -> Range<Int>? {
        if isDone { return nil }
        let run = start..<start + runSize
        var dimension = shape.count - 1
        while dimension >= 0 {
            indices[dimension] += 1
            start += strides[dimension]
            if indices[dimension] < shape[dimension] { return run }
            start -= shape[dimension] * strides[dimension]
            indices[dimension] = 0
            dimension -= 1
        }
        isDone = true
        return run
    }
}
