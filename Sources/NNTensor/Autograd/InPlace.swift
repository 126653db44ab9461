import NNStore

// Changing a tensor's memory while operations are recorded.
//
// The changed tensor takes the history of its new value. If it is a view, what has changed is its base: the base gets a
// node that takes the gradient apart into that of the part that was written and that of the rest, and every view of the base
// takes its gradient from there the next time it is used.

extension Tensor {
    /// Writes the values of `source`, which is broadcast and converted, to this tensor's memory. The gradient goes on to
    /// `source`.
    ///
    /// - Throws: ``TensorError/shapeMismatch(operation:shapes:reason:)`` if it can't be broadcast;
    ///   ``TensorError/gradient(operation:reason:)`` for a leaf that requires a gradient, outside of ``noGrad(_:)``.
    public func copy(from source: Tensor) throws { try assign(source, "copy") }

    /// Fills the tensor's memory with a number.
    ///
    /// - Throws: ``TensorError/gradient(operation:reason:)`` for a leaf that requires a gradient, outside of ``noGrad(_:)``.
    public func fill(_ value: Double) throws { try assign(Tensor(value, dtype: .f64), "fill") }

    /// Makes `new`, whose history is that of an operation on the old value, the value.
    func assign(_ new: Tensor, _ operation: String) throws {
        let isRecorded = Tensor.isRecording([self, new])
        if isRecorded { try refuseInPlace(operation) }
        // From another device too, as in PyTorch; numbers go along as they are.
        let values = try new.rank == 0 && new.storage.deviceBacking == nil ? new : new.copied(to: device)
        try writeValues(of: values, operation)
        guard isRecorded else { return }
        if let base {
            try base.takeHistory(ofPart: self, new)
        } else {
            takeHistory(of: new, operation)
        }
    }

    /// Makes the result of a binary operation with `other` the value.
    func update(_ operation: BinaryOperation, _ other: Tensor) throws {
        let name = operation.name
        let dtype = try operation.resultDType(self, other)
        guard dtype == self.dtype || Promotion.isWithinCategory(dtype, of: self.dtype) else {
            throw TensorError.dtypeMismatch(
                operation: name, dtypes: [self.dtype, other.dtype],
                reason: "the result is \(dtype), which can't be written to \(self.dtype). Convert one of them")
        }
        if Tensor.isRecording([self, other]) {
            try refuseInPlace(name)
            // What a gradient will need of the old value has to be kept, for it is about to go.
            let old = operation.savesLeft(self, other) ? try clone() : self
            return try assign(try operation(old, other), name)
        }
        try refuseOverlap(name)
        let overlaps = other.storage === storage && other.layout != layout
        try operation.write(self, overlaps ? other.copied(name) : other, to: self)
    }

    private func refuseInPlace(_ operation: String) throws {
        if isUnrecordedView {
            throw TensorError.gradient(
                operation: operation,
                reason: "this view was made in noGrad, so a change of it can't be recorded. Make the view outside, "
                    + "or change it in noGrad")
        }
        if wantsGradient || base?.wantsGradient == true {
            throw TensorError.gradient(
                operation: operation,
                reason:
                    "a leaf that requires a gradient\(base == nil ? "" : ", or a view of it,") can't be changed while "
                    + "operations are recorded. Use noGrad { }, or its data")
        }
    }

    private func takeHistory(of new: Tensor, _ operation: String) {
        if let made = new.currentNode, made.shape == shape, made.dtype == dtype {
            node = made
        } else {
            node = Node(operation, shape: shape, dtype: dtype, inputs: [new.gradientInput]) { gradient, _ in [gradient]
            }
        }
        history += 1
    }

    /// This tensor is the base of `part`, which got the value `new`.
    private func takeHistory(ofPart part: Tensor, _ new: Tensor) throws {
        let region = try Region(part.layout, of: layout)
        node = Node("copySlices", shape: shape, dtype: dtype, inputs: [gradientInput, new.gradientInput]) {
            gradient, isNeeded in
            [isNeeded[0] ? try region.zeroed(in: gradient) : nil, isNeeded[1] ? try region.part(of: gradient) : nil]
        }
        history += 1
    }

    /// The operation that made the current value.
    var currentNode: Node? {
        guard let base, !isUnrecordedView, base.history != baseHistory else { return node }
        baseHistory = base.history
        node = nil
        if base.requiresGrad, let region = try? Region(layout, of: base.layout) {
            node = Node("view", shape: shape, dtype: dtype, inputs: [base.gradientInput]) { gradient, _ in
                [try region.embedded(gradient)]
            }
        }
        return node
    }
}

/// Where the elements of a view lie among those of its base.
private struct Region {
    let part: TensorLayout
    let whole: TensorLayout
    private let byteCount: Int

    init(_ view: TensorLayout, of base: TensorLayout) throws {
        let start = base.offset
        whole = try TensorLayout(base.dtype, shape: base.shape, strides: base.strides)
        part = try TensorLayout(
            view.dtype, shape: view.shape, strides: view.strides, offset: view.isEmpty ? 0 : view.offset - start)
        byteCount = whole.byteRange.upperBound
    }

    /// The whole as zeros.
    private func zeros(on device: Device) throws -> Tensor {
        Tensor(try Tensor.zeroed(.u8, [byteCount], on: device).storage, whole)
    }

    /// A copy of `gradient`, which has the whole's shape, with zeros in the part.
    func zeroed(in gradient: Tensor) throws -> Tensor {
        let result = try zeros(on: gradient.device)
        try result.writeValues(of: gradient, "backward")
        try Tensor(result.storage, part).writeValues(of: Tensor(0.0), "backward")
        return result
    }

    /// The part of `gradient`, which has the whole's shape.
    func part(of gradient: Tensor) throws -> Tensor {
        let result = try zeros(on: gradient.device)
        try result.writeValues(of: gradient, "backward")
        return Tensor(result.storage, part)
    }

    /// Zeros with `gradient`, which has the part's shape, in the part. Where the view shows an element several times, the
    /// gradients of all are added.
    func embedded(_ gradient: Tensor) throws -> Tensor {
        let result = try zeros(on: gradient.device)
        let repeated = part.shape.indices.filter { part.strides[$0] == 0 && part.shape[$0] > 1 }
        let sum = try repeated.isEmpty ? gradient : gradient.sum(repeated, keepDimensions: true)
        let shape = part.shape.indices.map { repeated.contains($0) ? 1 : part.shape[$0] }
        let place = try TensorLayout(part.dtype, shape: shape, strides: part.strides, offset: part.offset)
        try Tensor(result.storage, place).writeValues(of: sum, "backward")
        return result
    }
}
