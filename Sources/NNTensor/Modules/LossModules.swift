/// ``meanSquaredError(_:_:reduction:)`` as an object: `let loss = MSELoss(); try loss(net(x), y)`.
public struct MSELoss: Sendable {
    /// How the parts become one.
    public let reduction: LossReduction

    /// A loss; its mean if nothing else is asked for.
    public init(reduction: LossReduction = .mean) { self.reduction = reduction }

    /// - Throws: as ``meanSquaredError(_:_:reduction:)``.
    public func callAsFunction(_ prediction: Tensor, _ target: Tensor) throws -> Tensor {
        try meanSquaredError(prediction, target, reduction: reduction)
    }
}

/// ``crossEntropy(_:_:reduction:ignoring:)`` as an object.
public struct CrossEntropyLoss: Sendable {
    /// How the parts become one.
    public let reduction: LossReduction
    /// A class number that says that a place does not count.
    public let ignoring: Int?

    /// A loss; the mean over what counts if nothing else is asked for.
    public init(reduction: LossReduction = .mean, ignoring: Int? = nil) {
        self.reduction = reduction
        self.ignoring = ignoring
    }

    /// - Throws: as ``crossEntropy(_:_:reduction:ignoring:)``.
    public func callAsFunction(_ logits: Tensor, _ target: Tensor) throws -> Tensor {
        try crossEntropy(logits, target, reduction: reduction, ignoring: ignoring)
    }
}
