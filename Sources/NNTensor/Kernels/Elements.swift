import CVectorMath
import NNStore

/// A tensor's elements as the loops in C see them: a type, an address, and strides.
///
/// This is where tensors become pointers. It is sound because a layout is checked here against the memory that it looks
/// into, the memory is retained, and the loops are given only offsets that the layout's shape and strides have.
///
/// Sendable because the loops' threads write disjoint elements and end before the call that began them does.
@safe struct Elements: @unchecked Sendable {
    let type: nnstore_element
    let layout: TensorLayout
    private let memory: Memory
    /// The address of the first element.
    private let start: UnsafeMutableRawPointer?

    /// The elements of a tensor, to read or, if the memory was opened for that, to write.
    init(_ memory: Memory, _ layout: TensorLayout, operation: String) throws {
        type = try layout.dtype.elementType(for: operation)
        guard layout.byteRange.upperBound <= memory.byteCount else {
            throw TensorError.invalidArgument(
                operation: operation,
                reason: "a tensor reaches to byte \(layout.byteRange.upperBound) of a storage of \(memory.byteCount)")
        }
        self.layout = layout
        self.memory = memory
        unsafe start = unsafe memory.address.map { unsafe $0 + layout.byteRange.lowerBound }
    }

    /// The address of an element, by its distance from the first one in elements.
    @unsafe func address(_ offset: Int) -> UnsafeMutableRawPointer? {
        unsafe start.map { unsafe $0 + offset * layout.dtype.bytesPerBlock }
    }

    /// ``address(_:)`` as that of elements of a Swift type, which the caller knows to be theirs.
    @unsafe func pointer<Element>(_ offset: Int) -> UnsafeMutablePointer<Element>? {
        unsafe address(offset)?.assumingMemoryBound(to: Element.self)
    }

    /// The strides with which the elements are seen as `shape`, which they are broadcast to.
    func strides(in shape: [Int]) -> [Int] {
        layout.strides(in: shape)
    }
}

extension Tensor {
    /// The elements, to read.
    ///
    /// - Throws: ``TensorError/uninitialized(what:)`` for a parameter without a value.
    func elements(for operation: String) throws -> Elements {
        try requireValue(operation)
        try requireCPU(operation)
        return try Elements(try storage.readableMemory(), layout, operation: operation)
    }

    /// The elements, to read in a loop of another type: a Swift number keeps all of its digits in F64.
    func elements(for operation: String, in type: nnstore_element) throws -> Elements {
        guard let exactNumber, type == nnstore_f64 else { return try elements(for: operation) }
        return try Tensor([exactNumber], shape: [], dtype: .f64).elements(for: operation)
    }

    /// The elements, to write. Counts the storage's version up.
    func writableElements(for operation: String) throws -> Elements {
        exactNumber = nil
        try requireCPU(operation)
        return try Elements(try storage.writableMemory(), layout, operation: operation)
    }
}

extension TensorLayout {
    /// The strides with which the elements are seen as `shape`, which they are broadcast to.
    func strides(in shape: [Int]) -> [Int] {
        let missing = shape.count - rank
        return shape.indices.map { dimension in
            dimension < missing || self.shape[dimension - missing] == 1 ? 0 : strides[dimension - missing]
        }
    }
}
