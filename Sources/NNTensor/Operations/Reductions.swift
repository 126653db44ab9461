import CVectorMath
import NNStore

extension Tensor {
    /// The sum over some dimensions, or all of them. Floats keep their dtype and are added in F64; integers and booleans
    /// give I64.
    ///
    /// - Parameters:
    ///   - dimensions: those that are added up, in any order; negative ones count from the last.
    ///   - keepDimensions: whether they stay, with extent 1.
    /// - Throws: ``TensorError/invalidArgument(operation:reason:)`` if there is no such dimension.
    public func sum(_ dimensions: [Int]? = nil, keepDimensions: Bool = false) throws -> Tensor {
        try sum(dimensions, keepDimensions, "sum", isMean: false)
    }

    /// The sum over one dimension; see ``sum(_:keepDimensions:)-([Int]?,_)``.
    public func sum(_ dimension: Int, keepDimensions: Bool = false) throws -> Tensor {
        try sum([dimension], keepDimensions: keepDimensions)
    }

    /// The mean over some dimensions, or all of them, of floats; NaN where there is nothing.
    ///
    /// - Throws: ``TensorError/dtypeMismatch(operation:dtypes:reason:)`` if the elements are no floats;
    ///   ``TensorError/invalidArgument(operation:reason:)`` if there is no such dimension.
    public func mean(_ dimensions: [Int]? = nil, keepDimensions: Bool = false) throws -> Tensor {
        guard dtype.isFloatingPoint else {
            throw TensorError.dtypeMismatch(
                operation: "mean", dtypes: [dtype], reason: "only floats have a mean. Convert with to(.f32)")
        }
        return try sum(dimensions, keepDimensions, "mean", isMean: true)
    }

    /// The mean over one dimension; see ``mean(_:keepDimensions:)-([Int]?,_)``.
    public func mean(_ dimension: Int, keepDimensions: Bool = false) throws -> Tensor {
        try mean([dimension], keepDimensions: keepDimensions)
    }

    /// The variance over some dimensions, or all of them: the mean squared distance from the mean, the sum divided by the
    /// number of elements less `correction` (1 makes the estimate unbiased, as in PyTorch; 0 is the variance of the elements
    /// themselves).
    ///
    /// - Throws: as ``mean(_:keepDimensions:)-([Int]?,_)``.
    public func variance(_ dimensions: [Int]? = nil, correction: Int = 1, keepDimensions: Bool = false) throws -> Tensor
    {
        let axes = try axes(dimensions, "variance")
        let count = axes.reduce(1) { $0 * shape[$1] }
        let distance = try BinaryOperation.subtract(self, try mean(axes, keepDimensions: true))
        let sum = try BinaryOperation.multiply(distance, distance).sum(axes, keepDimensions: keepDimensions)
        return try BinaryOperation.divide(sum, Tensor(number: Double(Swift.max(0, count - correction))))
    }

    /// The square root of ``variance(_:correction:keepDimensions:)``.
    public func standardDeviation(
        _ dimensions: [Int]? = nil, correction: Int = 1, keepDimensions: Bool = false
    ) throws -> Tensor {
        try UnaryOperation.sqrt(variance(dimensions, correction: correction, keepDimensions: keepDimensions))
    }

    /// The square root of the sum of squares over some dimensions, or all of them.
    public func norm(_ dimensions: [Int]? = nil, keepDimensions: Bool = false) throws -> Tensor {
        try UnaryOperation.sqrt(
            BinaryOperation.multiply(self, self).sum(dimensions, keepDimensions: keepDimensions))
    }

    /// The largest element; NaN if one is NaN. The gradient goes to the first one of equals.
    ///
    /// - Throws: ``TensorError/invalidArgument(operation:reason:)`` if there are no elements.
    public func max() throws -> Tensor { try extreme(.largest, nil, false, "max").values }

    /// The smallest element; NaN if one is NaN. The gradient goes to the first one of equals.
    ///
    /// - Throws: ``TensorError/invalidArgument(operation:reason:)`` if there are no elements.
    public func min() throws -> Tensor { try extreme(.smallest, nil, false, "min").values }

    /// The largest elements over a dimension, and where they stand in it, I64: the first one of equals, which gets the
    /// gradient.
    ///
    /// - Throws: ``TensorError/invalidArgument(operation:reason:)`` if there is no such dimension, or it has extent 0.
    public func max(_ dimension: Int, keepDimensions: Bool = false) throws -> (values: Tensor, indices: Tensor) {
        try extreme(.largest, [dimension], keepDimensions, "max")
    }

    /// The smallest elements over a dimension, and where they stand in it; see ``max(_:keepDimensions:)``.
    public func min(_ dimension: Int, keepDimensions: Bool = false) throws -> (values: Tensor, indices: Tensor) {
        try extreme(.smallest, [dimension], keepDimensions, "min")
    }

    /// Where the largest element stands, I64: in a dimension, or in row-major order among all.
    ///
    /// - Throws: as ``max(_:keepDimensions:)``.
    public func argmax(_ dimension: Int? = nil, keepDimensions: Bool = false) throws -> Tensor {
        try extreme(.largest, dimension.map { [$0] }, keepDimensions, "argmax").indices
    }

    /// Where the smallest element stands, I64: in a dimension, or in row-major order among all.
    ///
    /// - Throws: as ``max(_:keepDimensions:)``.
    public func argmin(_ dimension: Int? = nil, keepDimensions: Bool = false) throws -> Tensor {
        try extreme(.smallest, dimension.map { [$0] }, keepDimensions, "argmin").indices
    }

    /// Whether all elements are other than 0, BOOL.
    public func all() throws -> Tensor {
        if count == 0 { return try Tensor([true], shape: []).copied(to: device) }
        return try converted(to: .bool, "all").extreme(.smallest, nil, false, "all").values
    }

    /// Whether any element is other than 0, BOOL.
    public func any() throws -> Tensor {
        if count == 0 { return try Tensor([false], shape: []).copied(to: device) }
        return try converted(to: .bool, "any").extreme(.largest, nil, false, "any").values
    }

    /// The gradient's sum over what was broadcast from `shape`.
    func summed(to shape: [Int]) throws -> Tensor {
        if shape == self.shape { return self }
        let missing = rank - shape.count
        let repeated = self.shape.indices.filter { $0 < missing || shape[$0 - missing] == 1 && self.shape[$0] != 1 }
        let sum = try sum(Array(repeated), keepDimensions: true)
        return sum.shape == shape ? sum : try sum.reshape(shape)
    }

    private func sum(_ dimensions: [Int]?, _ keepDimensions: Bool, _ operation: String, isMean: Bool) throws -> Tensor {
        let axes = try axes(dimensions, operation)
        let shape = reducedShape(axes, keepDimensions: true)
        let type = dtype.isFloatingPoint ? dtype : .i64
        let result = try Tensor.zeroed(type, reducedShape(axes, keepDimensions: keepDimensions), on: device)
        let count = axes.reduce(1) { $0 * self.shape[$1] }
        let factor = isMean ? 1 / Double(count) : 1
        // Halves are added in F32 pieces of F64 sums; there are no loops for them.
        let source = dtype.isHalf ? try converted(to: .f32, operation) : self
        try source.requireReductions(operation)
        if isMean && count == 0 {
            try result.writeValues(of: Tensor(Double.nan, dtype: .f64), operation)
        } else if device.isGPU {
            try GPUReductions.sum(source, axes, to: result, factor: factor, operation)
        } else {
            ReductionKernels.sum(
                try source.elements(for: operation), axes, try result.writableElements(for: operation), factor: factor)
        }
        let whole = self.shape
        result.record(operation, [self]) { gradient, _ in
            let spread = try gradient.reshape(shape).expand(whole)
            return [isMean ? try BinaryOperation.multiply(spread, Tensor(number: factor)) : spread]
        }
        return result
    }

    private func requireReductions(_ operation: String) throws {
        guard ReductionKernels.exist(for: try dtype.elementType(for: operation)) else {
            throw TensorError.dtypeMismatch(
                operation: operation, dtypes: [dtype],
                reason: "the operation does not exist for this dtype. Convert with to(.f32) or to(.i64)")
        }
    }

    private func reducedShape(_ axes: [Int], keepDimensions: Bool) -> [Int] {
        keepDimensions
            ? shape.indices.map { axes.contains($0) ? 1 : shape[$0] }
            : shape.indices.filter { !axes.contains($0) }.map { shape[$0] }
    }

    private func extreme(
        _ extreme: ReductionKernels.Extreme, _ dimensions: [Int]?, _ keepDimensions: Bool, _ operation: String
    ) throws -> (values: Tensor, indices: Tensor) {
        let axes = try axes(dimensions, operation)
        guard axes.allSatisfy({ shape[$0] > 0 }) else {
            throw TensorError.invalidArgument(operation: operation, reason: "shape \(shape) has nothing to choose from")
        }
        let kept = reducedShape(axes, keepDimensions: keepDimensions)
        let source = dtype.isHalf ? try converted(to: .f32, operation) : self
        let found = try Tensor.zeroed(source.dtype, kept, on: device)
        let indices = try Tensor.zeroed(.i64, kept, on: device)
        try source.requireReductions(operation)
        if device.isGPU {
            try GPUReductions.extreme(extreme, source, axes, values: found, positions: indices, operation)
        } else {
            ReductionKernels.extreme(
                extreme, try source.elements(for: operation), axes, values: try found.writableElements(for: operation),
                positions: try indices.writableElements(for: operation))
        }
        let values = try found.converted(to: dtype, operation)
        let (whole, saved) = (shape, SavedValue(indices, for: operation))
        values.record(operation, [self]) { gradient, _ in
            let flat = try Tensor.zeroed(Promotion.computing(gradient.dtype), whole, on: gradient.device)
            let places = try saved.value()
            if axes.count == whole.count {
                let row = try flat.reshape([flat.count])
                try row.add(gradient.reshape([1]), at: places.reshape([1]), 0, "backward")
            } else {
                let kept = whole.indices.map { axes.contains($0) ? 1 : whole[$0] }
                try flat.scatterAdd(axes[0], places.reshape(kept), gradient.reshape(kept), "backward")
            }
            return [flat]
        }
        return (values, indices)
    }
}
