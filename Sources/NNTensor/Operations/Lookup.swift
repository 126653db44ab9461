import NNStore

/// A row of `weight` for each index, as the module ``Embedding`` does.
///
/// - Parameters:
///   - indices: I64 of any shape.
///   - weight: `[count, dimensions]`
/// - Returns: `indices.shape + [dimensions]`
/// - Throws: ``TensorError/invalidArgument(operation:reason:)`` for an index that is not there, or indices that are not I64.
public func embedding(_ indices: Tensor, _ weight: Tensor) throws -> Tensor {
    guard weight.rank == 2 else {
        throw TensorError.shapeMismatch(
            operation: "embedding", shapes: [weight.shape], reason: "[count, dimensions] is wanted")
    }
    return try weight.indexSelect(0, indices.reshape([indices.count])).reshape(indices.shape + [weight.shape[1]])
}

/// Zero with a probability, enlarged otherwise so that the mean stays (N. Srivastava et al.: Dropout, 2014).
///
/// - Parameters:
///   - probability: of an element to become zero, from 0 to 1.
///   - generator: what decides; the default one if none is given.
/// - Throws: ``TensorError/invalidArgument(operation:reason:)`` if that is no probability.
public func dropout(_ x: Tensor, _ probability: Double, generator: Generator? = nil) throws -> Tensor {
    guard (0...1).contains(probability) else {
        throw TensorError.invalidArgument(
            operation: "dropout", reason: "a probability is from 0 to 1, not \(probability)")
    }
    if probability == 0 { return x }
    let drawn = try Tensor.rand(x.shape, generator: generator).copied(to: x.device)
    let kept = try BinaryOperation.greaterOrEqual(drawn, Tensor(number: probability)).converted(to: x.dtype, "dropout")
    let factor = probability < 1 ? 1 / (1 - probability) : 0
    return try BinaryOperation.multiply(x, try BinaryOperation.multiply(kept, Tensor(number: factor)))
}
