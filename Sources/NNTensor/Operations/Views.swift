import NNStore

// Tensors over the same storage. They cost nothing, and a change of one is seen in all.

extension Tensor {
    /// A tensor that sees the storage through another layout. `backward` gives this tensor's gradient for the view's.
    func view(
        _ operation: String, shape: [Int], strides: [Int], offset: Int? = nil,
        backward: @escaping (_ gradient: Tensor) throws -> Tensor
    ) throws -> Tensor {
        let view = Tensor(
            storage, try TensorLayout(dtype, shape: shape, strides: strides, offset: offset ?? self.offset))
        let isRecording = GradMode.isRecording
        view.isUnrecordedView = !isRecording && requiresGrad
        view.base = base ?? self
        view.baseHistory = view.base!.history
        if isRecording { view.record(operation, [self]) { gradient, _ in [try backward(gradient)] } }
        return view
    }

    /// The tensor with another shape of as many elements, in row-major order; one extent may be -1, which stands for what
    /// is left. A view where the strides allow it, otherwise a copy.
    ///
    /// - Throws: ``TensorError/shapeMismatch(operation:shapes:reason:)`` if the elements are not as many.
    public func reshape(_ shape: [Int]) throws -> Tensor {
        let shape = try completed(shape)
        let old = self.shape
        if shape == old { return self }
        guard let strides = strides(reshapedTo: shape) else { return try clone().reshape(shape) }
        return try view("reshape", shape: shape, strides: strides) { try $0.reshape(old) }
    }

    /// The tensor with another shape; see ``reshape(_:)-([Int])``: `x.reshape(2, -1)`.
    public func reshape(_ shape: Int...) throws -> Tensor { try reshape(shape) }

    /// The tensor with the dimensions from `start` to `end`, both included, made one.
    ///
    /// - Throws: ``TensorError/invalidArgument(operation:reason:)`` if there are no such dimensions.
    public func flatten(_ start: Int = 0, _ end: Int = -1) throws -> Tensor {
        if rank == 0 { return try reshape([1]) }
        let (first, last) = (try axis(start, "flatten"), try axis(end, "flatten"))
        guard first <= last else {
            throw TensorError.invalidArgument(
                operation: "flatten", reason: "dimension \(start) lies behind dimension \(end)")
        }
        let joined = shape[first...last].reduce(1, *)
        return try reshape(Array(shape[..<first]) + [joined] + shape[(last + 1)...])
    }

    /// A view with two dimensions exchanged.
    ///
    /// - Throws: ``TensorError/invalidArgument(operation:reason:)`` if there are no such dimensions.
    public func transpose(_ first: Int, _ second: Int) throws -> Tensor {
        var order = Array(0..<rank)
        order.swapAt(try axis(first, "transpose"), try axis(second, "transpose"))
        return try permute(order)
    }

    /// A view of a matrix with rows and columns exchanged; of more dimensions, all in reverse order.
    public var T: Tensor { orStop { try permute((0..<rank).reversed()) } }

    /// A view with the dimensions in another order.
    ///
    /// - Throws: ``TensorError/invalidArgument(operation:reason:)`` if `order` does not name each dimension once.
    public func permute(_ order: [Int]) throws -> Tensor {
        guard try axes(order, "permute").count == rank else {
            throw TensorError.invalidArgument(
                operation: "permute", reason: "\(order) does not name all \(rank) dimensions of shape \(shape)")
        }
        let order = try order.map { try axis($0, "permute") }
        var inverse = order
        for (place, axis) in order.enumerated() { inverse[axis] = place }
        let back = inverse
        return try view("permute", shape: order.map { shape[$0] }, strides: order.map { strides[$0] }) {
            try $0.permute(back)
        }
    }

    /// A view with the dimensions in another order: `x.permute(1, 0)`.
    public func permute(_ order: Int...) throws -> Tensor { try permute(order) }

    /// A view in which extents of 1 are repeated, and new dimensions are put in front; -1 keeps an extent. The repeated
    /// elements are one in memory, so the view can't be written to.
    ///
    /// - Throws: ``TensorError/shapeMismatch(operation:shapes:reason:)`` if the tensor can't be broadcast to the shape.
    public func expand(_ shape: [Int]) throws -> Tensor {
        let missing = shape.count - rank
        var target = shape
        for (index, extent) in shape.enumerated() where extent == -1 && index >= missing {
            target[index] = self.shape[index - missing]
        }
        guard missing >= 0, target.allSatisfy({ $0 >= 0 }), Broadcasting.fits(self.shape, in: target) else {
            throw TensorError.shapeMismatch(
                operation: "expand", shapes: [self.shape, shape],
                reason: "only extents of 1 are repeated, and new dimensions stand in front")
        }
        let strides = target.indices.map { index in
            index < missing || self.shape[index - missing] == 1 && target[index] != 1
                ? 0 : self.strides[index - missing]
        }
        // Back to the smaller shape is what every gradient is added up to anyway.
        return try view("expand", shape: target, strides: strides) { $0 }
    }

    /// A view in which extents of 1 are repeated: `x.expand(3, -1)`.
    public func expand(_ shape: Int...) throws -> Tensor { try expand(shape) }

    /// A view without the dimension, whose extent is 1.
    ///
    /// - Throws: ``TensorError/invalidArgument(operation:reason:)`` if there is no such dimension, or its extent is not 1.
    public func squeeze(_ dimension: Int) throws -> Tensor {
        let axis = try axis(dimension, "squeeze")
        guard shape[axis] == 1 else {
            throw TensorError.invalidArgument(
                operation: "squeeze",
                reason: "dimension \(dimension) of shape \(shape) has \(shape[axis]) elements, not 1")
        }
        var (shape, strides) = (shape, strides)
        shape.remove(at: axis)
        strides.remove(at: axis)
        return try view("squeeze", shape: shape, strides: strides) { try $0.unsqueeze(axis) }
    }

    /// A view with a dimension of extent 1 put in before `dimension`; -1 stands for the end.
    ///
    /// - Throws: ``TensorError/invalidArgument(operation:reason:)`` if there is no such place.
    public func unsqueeze(_ dimension: Int) throws -> Tensor {
        let axis = dimension < 0 ? dimension + rank + 1 : dimension
        guard axis >= 0, axis <= rank else {
            throw TensorError.invalidArgument(
                operation: "unsqueeze",
                reason: "place \(dimension) in shape \(shape); \(-rank - 1) to \(rank) are there")
        }
        var (shape, strides) = (shape, strides)
        shape.insert(1, at: axis)
        strides.insert(1, at: axis)
        return try view("unsqueeze", shape: shape, strides: strides) { try $0.squeeze(axis) }
    }

    /// A view of a range of one dimension, or of every `step`-th index of it.
    ///
    /// - Throws: ``TensorError/invalidArgument(operation:reason:)`` if it is not all there, or `step` is not positive.
    public func narrow(_ dimension: Int, _ range: Range<Int>, step: Int = 1) throws -> Tensor {
        let axis = try axis(dimension, "narrow")
        guard step > 0 else { throw TensorError.invalidArgument(operation: "narrow", reason: "a step of \(step)") }
        guard range.lowerBound >= 0, range.upperBound <= shape[axis] else {
            throw TensorError.invalidArgument(
                operation: "narrow",
                reason: "\(range) of dimension \(dimension) of shape \(shape); only 0..<\(shape[axis]) is there")
        }
        let old = shape
        var (part, steps) = (shape, strides)
        part[axis] = (range.count + step - 1) / step
        steps[axis] *= step
        return try view(
            "narrow", shape: part, strides: steps,
            offset: offset + (range.isEmpty ? 0 : range.lowerBound * strides[axis])
        ) { gradient in
            let whole = try Tensor.zeroed(gradient.dtype, old, on: gradient.device)
            try whole.narrow(axis, range, step: step).writeValues(of: gradient, "backward")
            return whole
        }
    }

    /// A view of one index of a dimension, without that dimension; negative ones count from the end.
    ///
    /// - Throws: ``TensorError/invalidArgument(operation:reason:)`` if it is not there.
    public func select(_ dimension: Int, _ index: Int) throws -> Tensor {
        let axis = try axis(dimension, "select")
        let position = index < 0 ? index + shape[axis] : index
        guard position >= 0, position < shape[axis] else {
            throw TensorError.invalidArgument(
                operation: "select",
                reason: "index \(index) of dimension \(dimension) of shape \(shape); "
                    + (shape[axis] == 0 ? "nothing is there" : "\(-shape[axis]) to \(shape[axis] - 1) are there"))
        }
        return try narrow(axis, position..<position + 1).squeeze(axis)
    }

    /// Views of `parts` pieces of a dimension, as equal as possible; the last may be shorter.
    ///
    /// - Throws: ``TensorError/invalidArgument(operation:reason:)`` if there is no such dimension or no part.
    public func chunk(_ parts: Int, dimension: Int = 0) throws -> [Tensor] {
        guard parts > 0 else { throw TensorError.invalidArgument(operation: "chunk", reason: "\(parts) parts") }
        let extent = shape[try axis(dimension, "chunk")]
        return try split(Swift.max(1, (extent + parts - 1) / parts), dimension: dimension)
    }

    /// Views of pieces of a dimension that have `size` elements of it; the last may be shorter.
    ///
    /// - Throws: ``TensorError/invalidArgument(operation:reason:)`` if there is no such dimension or `size` is not positive.
    public func split(_ size: Int, dimension: Int = 0) throws -> [Tensor] {
        guard size > 0 else { throw TensorError.invalidArgument(operation: "split", reason: "pieces of \(size)") }
        let extent = shape[try axis(dimension, "split")]
        return try stride(from: 0, to: extent, by: size).map {
            try narrow(dimension, $0..<Swift.min(extent, $0 + size))
        }
    }

    /// A shape with its -1 replaced.
    private func completed(_ shape: [Int]) throws -> [Int] {
        let known = shape.filter { $0 != -1 }
        func mismatch(_ reason: String) -> TensorError {
            .shapeMismatch(operation: "reshape", shapes: [self.shape, shape], reason: reason)
        }
        guard known.count >= shape.count - 1, known.allSatisfy({ $0 >= 0 }) else {
            throw mismatch("extents are not negative, and only one may be -1")
        }
        let product = try TensorLayout(dtype, shape: known).elementCount
        if known.count == shape.count {
            guard product == count else { throw mismatch("they have \(count) and \(product) elements") }
            return shape
        }
        guard product > 0, count % product == 0 else {
            throw mismatch("\(count) elements are no multiple of \(product), so nothing fits for -1")
        }
        return shape.map { $0 == -1 ? count / product : $0 }
    }

    /// The strides of a view with another shape, if there is one: every old dimension, or run of dimensions that lie
    /// together in memory, must be a run of new ones.
    private func strides(reshapedTo new: [Int]) -> [Int]? {
        if isContiguous || count == 0 { return try? TensorLayout.contiguousStrides(of: new) }
        var result = [Int](repeating: 1, count: new.count)
        var next = new.count - 1
        var old = shape.indices.filter { shape[$0] != 1 }[...]
        while let last = old.popLast() {
            // The run of old dimensions that ends here.
            let inner = strides[last]
            var extent = shape[last]
            while let before = old.last, strides[before] == inner * extent {
                extent *= shape[before]
                old.removeLast()
            }
            // The new dimensions that have just as many elements.
            var product = 1
            while next >= 0, product < extent {
                result[next] = inner * product
                product *= new[next]
                next -= 1
            }
            guard product == extent else { return nil }
        }
        while next >= 0 {
            guard new[next] == 1 else { return nil }
            next -= 1
        }
        return result
    }
}
