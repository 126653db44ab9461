import NNStore

/// Tensors one after another along a dimension; all other extents are equal. The dtype is what all are promoted to.
///
/// - Throws: ``TensorError/invalidArgument(operation:reason:)`` if there is no tensor, or no such dimension;
///   ``TensorError/shapeMismatch(operation:shapes:reason:)`` if other extents differ.
public func concatenate(_ tensors: [Tensor], dimension: Int = 0) throws -> Tensor {
    guard let first = tensors.first else {
        throw TensorError.invalidArgument(operation: "concatenate", reason: "there is no tensor")
    }
    let axis = try first.axis(dimension, "concatenate")
    var shape = first.shape
    var dtype = first.dtype
    shape[axis] = 0
    for tensor in tensors {
        guard tensor.rank == shape.count, shape.indices.allSatisfy({ $0 == axis || tensor.shape[$0] == shape[$0] })
        else {
            throw TensorError.shapeMismatch(
                operation: "concatenate", shapes: [first.shape, tensor.shape],
                reason: "all extents but that of dimension \(dimension) must be equal")
        }
        shape[axis] += tensor.shape[axis]
        dtype = try Promotion.dtype(dtype, tensor.dtype, "concatenate")
    }
    let result = try Tensor.unwritten(dtype, shape, on: try Placement.device(of: tensors, "concatenate"))
    var ranges: [Range<Int>] = []
    for tensor in tensors {
        let start = ranges.last?.upperBound ?? 0
        ranges.append(start..<start + tensor.shape[axis])
        try noGrad { try result.narrow(axis, ranges.last!).writeValues(of: tensor, "concatenate") }
    }
    let places = ranges
    result.record("concatenate", tensors) { gradient, isNeeded in
        try zip(places, isNeeded).map { $1 ? try gradient.narrow(axis, $0) : nil }
    }
    return result
}

/// Tensors of one shape side by side along a new dimension.
///
/// - Throws: as ``concatenate(_:dimension:)``.
public func stack(_ tensors: [Tensor], dimension: Int = 0) throws -> Tensor {
    if let other = tensors.first(where: { $0.shape != tensors[0].shape }) {
        throw TensorError.shapeMismatch(
            operation: "stack", shapes: [tensors[0].shape, other.shape], reason: "all must have one shape")
    }
    return try concatenate(tensors.map { try $0.unsqueeze(dimension) }, dimension: dimension)
}
