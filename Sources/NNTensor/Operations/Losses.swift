import NNStore

/// How the losses of the parts of a batch become one.
public enum LossReduction: Sendable {
    /// Their mean.
    case mean
    /// Their sum.
    case sum
    /// They stay apart.
    case none
}

/// The squared difference, broadcast; its mean if nothing else is asked for.
///
/// - Throws: ``TensorError/shapeMismatch(operation:shapes:reason:)`` if the shapes differ: what would be broadcast is
///   nearly always a mistake here.
public func meanSquaredError(_ prediction: Tensor, _ target: Tensor, reduction: LossReduction = .mean) throws -> Tensor
{
    guard prediction.shape == target.shape else {
        throw TensorError.shapeMismatch(
            operation: "meanSquaredError", shapes: [prediction.shape, target.shape],
            reason: "prediction and target have one shape; reshape one of them")
    }
    let difference = try BinaryOperation.subtract(prediction, target)
    return try BinaryOperation.multiply(difference, difference).reduced(reduction)
}

/// The negative logarithm of the probability that softmax gives to the right class.
///
/// - Parameters:
///   - logits: `[batch, classes]`, or `[batch, classes, ...]` with a class for each place.
///   - target: the right classes, I64 `[batch]` or `[batch, ...]`.
///   - ignoring: a class number that says that a place does not count; the mean is that of the others.
/// - Throws: ``TensorError/shapeMismatch(operation:shapes:reason:)``;
///   ``TensorError/invalidArgument(operation:reason:)`` for a class that is not there.
public func crossEntropy(
    _ logits: Tensor, _ target: Tensor, reduction: LossReduction = .mean, ignoring: Int? = nil
) throws -> Tensor {
    guard logits.rank >= 2, target.shape == [logits.shape[0]] + logits.shape[2...] else {
        throw TensorError.shapeMismatch(
            operation: "crossEntropy", shapes: [logits.shape, target.shape],
            reason: "[batch, classes, ...] and [batch, ...] are wanted")
    }
    let logarithms = try logSoftmax(logits, dimension: 1)
    guard let ignoring else {
        let chosen = try logarithms.gather(1, target.unsqueeze(1)).squeeze(1)
        return try UnaryOperation.negative(chosen).reduced(reduction)
    }
    let counts = try BinaryOperation.notEqual(target, Tensor(number: ignoring))
    let classes = try select(counts, target, Tensor(number: 0))
    let chosen = try UnaryOperation.negative(logarithms.gather(1, classes.unsqueeze(1)).squeeze(1))
    let losses = try select(counts, chosen, Tensor(number: 0.0))
    guard reduction == .mean else { return try losses.reduced(reduction) }
    return try BinaryOperation.divide(losses.sum(), counts.sum().converted(to: losses.dtype, "crossEntropy"))
}

extension Tensor {
    fileprivate func reduced(_ reduction: LossReduction) throws -> Tensor {
        switch reduction {
        case .mean: try mean()
        case .sum: try sum()
        case .none: self
        }
    }
}
