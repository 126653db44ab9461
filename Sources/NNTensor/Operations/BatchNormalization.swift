import NNStore

/// The elements less their channel's mean, divided by the channel's standard deviation (S. Ioffe, C. Szegedy: Batch
/// Normalization, 2015).
///
/// - Parameters:
///   - x: `[batch, channels, ...]`
///   - mean, variance: what is used instead of the batch's, `[channels]` each; with neither, the batch's own.
///   - weight, bias: what the result is multiplied by, and what is added to it, `[channels]`.
///   - epsilon: is added to the variance.
/// - Throws: ``TensorError/shapeMismatch(operation:shapes:reason:)``;
///   ``TensorError/dtypeMismatch(operation:dtypes:reason:)`` if the elements are no floats.
public func batchNorm(
    _ x: Tensor, mean: Tensor? = nil, variance: Tensor? = nil, weight: Tensor? = nil, bias: Tensor? = nil,
    epsilon: Double = 1e-5
) throws -> Tensor {
    var batch = try BatchNormalization(x)
    return try batch.normalized(mean, variance, weight, bias, epsilon)
}

/// A batch to be normalised by channel.
struct BatchNormalization {
    let x: Tensor
    /// The batch's own mean and biased variance by channel, `[1, channels, 1, ...]`, once they are asked for.
    private(set) var statistics: (mean: Tensor, variance: Tensor)?

    init(_ x: Tensor) throws {
        guard x.rank >= 2 else {
            throw TensorError.shapeMismatch(
                operation: "batchNorm", shapes: [x.shape], reason: "[batch, channels, ...] is wanted")
        }
        self.x = x
    }

    /// The number of elements of a channel.
    var countPerChannel: Int { x.count / max(1, x.shape[1]) }

    mutating func normalized(
        _ mean: Tensor?, _ variance: Tensor?, _ weight: Tensor?, _ bias: Tensor?, _ epsilon: Double
    ) throws -> Tensor {
        let channels = x.shape[1]
        let shape = [1, channels] + [Int](repeating: 1, count: x.rank - 2)
        func spread(_ tensor: Tensor?) throws -> Tensor? {
            guard let tensor else { return nil }
            guard tensor.shape == [channels] else {
                throw TensorError.shapeMismatch(
                    operation: "batchNorm", shapes: [x.shape, tensor.shape],
                    reason: "there must be one number for each of \(channels) channels")
            }
            return try tensor.reshape(shape)
        }
        if mean == nil || variance == nil {
            statistics = try x.meanAndVariance((0..<x.rank).filter { $0 != 1 })
        }
        return try x.normalized(
            spread(mean) ?? statistics!.mean, spread(variance) ?? statistics!.variance, spread(weight), spread(bias),
            epsilon)
    }
}

extension Tensor {
    /// Mean and biased variance over some dimensions, which stay with extent 1.
    fileprivate func meanAndVariance(_ axes: [Int]) throws -> (mean: Tensor, variance: Tensor) {
        (try mean(axes, keepDimensions: true), try variance(axes, correction: 0, keepDimensions: true))
    }

    fileprivate func normalized(
        _ mean: Tensor, _ variance: Tensor, _ weight: Tensor?, _ bias: Tensor?, _ epsilon: Double
    ) throws -> Tensor {
        // One factor for each channel, so that all elements are gone through three times and not four.
        let deviation = try UnaryOperation.sqrt(BinaryOperation.add(variance, Tensor(number: epsilon)))
        let scale = try BinaryOperation.divide(weight ?? Tensor(number: 1), deviation)
        let result = try BinaryOperation.multiply(BinaryOperation.subtract(self, mean), scale)
        return try bias.map { try BinaryOperation.add(result, $0) } ?? result
    }
}
