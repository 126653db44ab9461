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

    /// Replaces the elements by those of a tensor of the same dtype and shape.
    func setElements(from other: StateTensor) throws {
        var elements = [UInt8](repeating: 0, count: layout.byteCount)
        try elements.withMutableRawSpan { try other.copyElements(to: &$0) }
        try storage.withMutableBytes { destination in
            elements.withRawSpan { elements in
                var runs = RowMajorRuns(layout)
                var position = 0
                while let run = runs.next() {
                    destination.withBytes(in: run) { $0.copy(elements.extracting(position..<position + run.count)) }
                    position += run.count
                }
            }
        }
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
