import NNStore

/// Normalises each channel by the batch's mean and deviation while it trains, and by what it has gathered of them in
/// evaluation; see ``batchNorm(_:mean:variance:weight:bias:epsilon:)``.
public class BatchNorm: Module {
    /// What the result is multiplied by, all 1 at first, `[channels]`; `nil` if nothing is learned.
    public final var weight: Parameter?
    /// What is added to the result, all 0 at first, `[channels]`.
    public final var bias: Parameter?
    /// The mean of the means of all batches, later ones counting more, `[channels]`; `nil` if none is kept.
    public final let runningMean: Buffer?
    /// The mean of the unbiased variances of all batches, later ones counting more, `[channels]`.
    public final let runningVariance: Buffer?
    /// The number of batches, I64.
    public final let batchCount: Buffer?
    private let channels: Int
    private let epsilon: Double
    private let momentum: Double?

    fileprivate var ranks: ClosedRange<Int> { 2...Int.max }

    /// - Parameters:
    ///   - channels: the extent of dimension 1.
    ///   - epsilon: is added to the variance.
    ///   - momentum: how much a batch counts in the running mean and variance; `nil`: all batches as much.
    ///   - affine: whether weight and bias are learned.
    ///   - trackRunningStats: whether running mean and variance are kept; if not, evaluation uses the batch's as well.
    public init(
        _ channels: Int, epsilon: Double = 1e-5, momentum: Double? = 0.1, affine: Bool = true,
        trackRunningStats: Bool = true, dtype: DType = .f32
    ) {
        (self.channels, self.epsilon, self.momentum) = (channels, epsilon, momentum)
        weight = affine ? Parameter(.ones([channels], dtype: dtype)) : nil
        bias = affine ? Parameter(.zeros([channels], dtype: dtype)) : nil
        runningMean = trackRunningStats ? Buffer(.zeros([channels], dtype: dtype)) : nil
        runningVariance = trackRunningStats ? Buffer(.ones([channels], dtype: dtype)) : nil
        batchCount = trackRunningStats ? Buffer(.zeros([], dtype: .i64)) : nil
    }

    /// As PyTorch's: version 1 did not count batches.
    public final override class var stateVersion: Int { 2 }

    public final override class var stateMigrations: [StateMigration] {
        [
            StateMigration(from: 1) { state in
                if state["running_mean"] == nil || state["num_batches_tracked"] != nil { return }
                try state.set("num_batches_tracked", to: .zeros([], dtype: .i64))
            }
        ]
    }

    /// Buffers have PyTorch's names in state dicts.
    public final override var members: [(name: String, member: ModuleMember)] {
        var members: [(name: String, member: ModuleMember)] = []
        if let weight { members.append(("weight", .parameter(weight))) }
        if let bias { members.append(("bias", .parameter(bias))) }
        if let runningMean { members.append(("running_mean", .buffer(runningMean))) }
        if let runningVariance { members.append(("running_var", .buffer(runningVariance))) }
        if let batchCount { members.append(("num_batches_tracked", .buffer(batchCount))) }
        return members
    }

    public final override func forward(_ x: Tensor) throws -> Tensor {
        guard ranks.contains(x.rank) else {
            throw TensorError.shapeMismatch(
                operation: typeName, shapes: [x.shape],
                reason:
                    "it takes \(ranks.lowerBound == ranks.upperBound ? "" : "\(ranks.lowerBound) or ")\(ranks.upperBound) dimensions, "
                    + "[batch, channels, ...]")
        }
        guard x.shape[1] == channels else {
            throw TensorError.shapeMismatch(
                operation: typeName, shapes: [x.shape], reason: "there must be \(channels) channels")
        }
        var batch = try BatchNormalization(x)
        if isTraining && batch.countPerChannel < 2 {
            throw TensorError.shapeMismatch(
                operation: typeName, shapes: [x.shape],
                reason: "training needs more than one element in each channel, to have a deviation")
        }
        let usesBatch = isTraining || runningMean == nil
        let result = try batch.normalized(
            usesBatch ? nil : runningMean, usesBatch ? nil : runningVariance, weight, bias, epsilon)
        if isTraining, let statistics = batch.statistics {
            try noGrad { try remember(statistics.mean, statistics.variance, count: batch.countPerChannel) }
        }
        return result
    }

    private func remember(_ mean: Tensor, _ variance: Tensor, count: Int) throws {
        guard let runningMean, let runningVariance, let batchCount else { return }
        try batchCount.update(.add, Tensor(number: 1))
        let share = try momentum ?? 1 / batchCount.item()
        let unbiased = Double(count) / Double(count - 1)
        for (running, new) in [
            (runningMean, mean), (runningVariance, try BinaryOperation.multiply(variance, Tensor(number: unbiased))),
        ] {
            try running.update(.multiply, Tensor(number: 1 - share))
            try running.update(.add, BinaryOperation.multiply(new.detach().reshape([channels]), Tensor(number: share)))
        }
    }

    public final override var details: String {
        "\(channels), eps=\(epsilon), momentum=\(momentum.map { "\($0)" } ?? "None"), affine=\((weight != nil).pythonText), "
            + "bias=\((bias != nil).pythonText), track_running_stats=\((runningMean != nil).pythonText)"
    }
}

/// ``BatchNorm`` of `[batch, channels]` or `[batch, channels, length]`.
public final class BatchNorm1d: BatchNorm {
    fileprivate override var ranks: ClosedRange<Int> { 2...3 }
}

/// ``BatchNorm`` of images, `[batch, channels, height, width]`.
public final class BatchNorm2d: BatchNorm {
    fileprivate override var ranks: ClosedRange<Int> { 4...4 }
}
