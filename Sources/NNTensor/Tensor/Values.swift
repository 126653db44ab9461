import CVectorMath
import NNStore

extension Tensor {
    /// The elements in row-major order, as Swift values; converted if their dtype is another one, by the rules of
    /// ``to(_:)-(DType)``.
    ///
    /// - Throws: ``TensorError/dtypeMismatch(operation:dtypes:reason:)`` for dtypes without operations.
    public func elements<Element: TensorElement>(as type: Element.Type = Element.self) throws -> [Element] {
        try requireValue("elements(as:)")
        // Of a tensor on a GPU only what it sees comes over.
        return try converted(to: Element.dtype, "elements(as:)").copied(to: .cpu).stateTensor()
            .elements(as: Element.self)
    }

    /// The truth values in row-major order: whether each element is other than 0.
    public func booleans() throws -> [Bool] {
        try converted(to: .bool, "booleans()").converted(to: .u8, "booleans()").elements(as: UInt8.self).map { $0 != 0 }
    }

    /// The only element as a Swift value.
    ///
    /// - Throws: ``TensorError/invalidArgument(operation:reason:)`` if there is more than one element, or none.
    public func item<Element: TensorElement>(as type: Element.Type) throws -> Element {
        try requireValue("item")
        guard count == 1 else {
            throw TensorError.invalidArgument(
                operation: "item", reason: "shape \(shape) has \(count) elements, only a single one is a number")
        }
        return try elements(as: type)[0]
    }

    /// The only element as a Double.
    ///
    /// - Throws: ``TensorError/invalidArgument(operation:reason:)`` if there is more than one element, or none.
    public func item() throws -> Double { try item(as: Double.self) }

    /// The tensor with another dtype, or itself if it has that.
    ///
    /// Floats are rounded to the nearest; as integers they lose what stands behind the point. Integers keep their lowest
    /// bits. As BOOL everything but 0 is true. The gradient is converted back.
    ///
    /// - Throws: ``TensorError/dtypeMismatch(operation:dtypes:reason:)`` for dtypes without operations.
    public func to(_ dtype: DType) throws -> Tensor {
        if dtype == self.dtype { return self }
        let result = try converted(to: dtype, "to")
        if dtype.isFloatingPoint {
            result.record("to", [self]) { gradient, _ in [gradient] }
        }
        return result
    }

    /// F32; see ``to(_:)-(DType)``.
    public func float() throws -> Tensor { try to(.f32) }
    /// F64; see ``to(_:)-(DType)``.
    public func double() throws -> Tensor { try to(.f64) }
    /// I64; see ``to(_:)-(DType)``.
    public func long() throws -> Tensor { try to(.i64) }

    /// A copy with a storage of its own, contiguous. The gradient goes through.
    ///
    /// - Throws: what reading the storage throws.
    public func clone() throws -> Tensor {
        try requireValue("clone")
        let result = try copied("clone")
        result.record("clone", [self]) { gradient, _ in [gradient] }
        return result
    }

    /// The tensor itself if it is contiguous, otherwise a contiguous copy.
    ///
    /// - Throws: what reading the storage throws.
    public func contiguous() throws -> Tensor { isContiguous ? self : try clone() }

    /// The same memory without history: what is calculated from it has no gradient.
    public func detach() -> Tensor { Tensor(storage, layout) }

    /// The same memory without history, to be written where ``requiresGrad`` would forbid it: `net.weight.data[0] = 1`.
    public var data: Tensor {
        get { detach() }
        set { orStop { try detach().copy(from: newValue) } }
    }

    /// A fresh contiguous tensor with the same values and no history.
    func copied(_ operation: String) throws -> Tensor {
        if dtype.elementType == nil { return try copiedAsBytes() }
        let result = try Tensor.unwritten(dtype, shape, on: device)
        try result.writeValues(of: self, operation)
        return result
    }

    /// Dtypes without operations are moved as NNStore moves them, on the CPU.
    private func copiedAsBytes() throws -> Tensor {
        let result = try Tensor.unwritten(dtype, shape, on: .cpu)
        let state = try stateTensor()
        try result.storage.withMutableBytes { bytes in try state.copyElements(to: &bytes) }
        return try result.copied(to: device)
    }

    /// The values as loops over whole rows want them: contiguous and in the dtype that they run in, without history; itself,
    /// if nothing changes.
    func prepared(for operation: String) throws -> Tensor {
        let converted = try converted(to: Promotion.computing(dtype), operation)
        return try converted.isContiguous ? converted : converted.copied(operation)
    }

    /// The values in another dtype, without history; itself, if nothing changes.
    func converted(to dtype: DType, _ operation: String) throws -> Tensor {
        if dtype == self.dtype { return self }
        let result = try Tensor.unwritten(dtype, shape, on: device)
        try result.writeValues(of: self, operation)
        return result
    }

    /// Writes the values of a tensor that is broadcast and converted to this one's, whatever is recorded.
    ///
    /// - Throws: ``TensorError/shapeMismatch(operation:shapes:reason:)`` if it can't be broadcast.
    func writeValues(of source: Tensor, _ operation: String) throws {
        guard source.rank <= rank, Broadcasting.fits(source.shape, in: shape) else {
            throw TensorError.shapeMismatch(
                operation: operation, shapes: [shape, source.shape],
                reason: "what is written must have the shape that it is written to, or 1 where that has more")
        }
        try refuseOverlap(operation)
        // Memory that is read while it is written would depend on the order.
        let overlaps = source.storage === storage && source.layout != layout
        let from = try overlaps ? source.copied(operation) : source
        if try Placement.device(ofElementwise: [self, source], operation).isGPU {
            return try GPUElementwise.copy(from, to: self, operation)
        }
        ElementwiseKernels.copy(try from.elements(for: operation), try writableElements(for: operation))
    }

    /// - Throws: ``TensorError/invalidArgument(operation:reason:)`` if two elements are one place in memory.
    func refuseOverlap(_ operation: String) throws {
        // Sorted by stride, each dimension must step over all of those inside it.
        var reach = 0
        for (stride, extent) in zip(strides, shape).sorted(by: { $0.0 < $1.0 }) where extent > 1 {
            guard stride > reach else {
                throw TensorError.invalidArgument(
                    operation: operation,
                    reason: "shape \(shape) with strides \(strides) has several elements at one place, which can't be "
                        + "written to. Write to a clone() of it")
            }
            reach += stride * (extent - 1)
        }
    }
}
