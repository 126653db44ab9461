// Functions as modules, for ``Sequential``.

/// ``NNTensor/relu(_:)`` as a module.
public final class ReLU: Module {
    public override func forward(_ x: Tensor) throws -> Tensor { try relu(x) }
}

/// ``NNTensor/gelu(_:)`` as a module.
public final class GELU: Module {
    public override func forward(_ x: Tensor) throws -> Tensor { try gelu(x) }
    public override var details: String { "approximate='none'" }
}

/// ``NNTensor/sigmoid(_:)`` as a module.
public final class Sigmoid: Module {
    public override func forward(_ x: Tensor) throws -> Tensor { try sigmoid(x) }
}

/// ``NNTensor/tanh(_:)`` as a module.
public final class Tanh: Module {
    public override func forward(_ x: Tensor) throws -> Tensor { try tanh(x) }
}

/// ``NNTensor/softmax(_:dimension:)`` as a module.
public final class Softmax: Module {
    private let dimension: Int

    /// The dimension whose elements add up to 1 afterwards.
    public init(dimension: Int) { self.dimension = dimension }

    public override func forward(_ x: Tensor) throws -> Tensor { try softmax(x, dimension: dimension) }
    public override var details: String { "dim=\(dimension)" }
}

/// The tensor as it is.
public final class Identity: Module {
    public override func forward(_ x: Tensor) throws -> Tensor { x }
}

/// ``Tensor/flatten(_:_:)`` as a module; the first dimension, the batch, stays.
public final class Flatten: Module {
    private let start: Int
    private let end: Int

    /// The first and the last of the dimensions that become one.
    public init(_ start: Int = 1, _ end: Int = -1) { (self.start, self.end) = (start, end) }

    public override func forward(_ x: Tensor) throws -> Tensor { try x.flatten(start, end) }
    public override var details: String { "start_dim=\(start), end_dim=\(end)" }
}

/// Sets elements to zero at random while it trains, and enlarges the others, so that the mean stays (N. Srivastava et al.:
/// Dropout, 2014). In evaluation everything goes through. A generator of its own has to be saved with a training as a part of
/// its own; the default one always is.
public final class Dropout: Module {
    private let probability: Double
    private let generator: Generator?

    /// - Parameters:
    ///   - probability: of an element to become zero, from 0 to 1.
    ///   - generator: what decides; the default one if none is given.
    public init(_ probability: Double = 0.5, generator: Generator? = nil) {
        guard (0...1).contains(probability) else {
            stop("Dropout", "a probability is from 0 to 1, not \(probability)")
        }
        (self.probability, self.generator) = (probability, generator)
    }

    public override func forward(_ x: Tensor) throws -> Tensor {
        isTraining ? try dropout(x, probability, generator: generator) : x
    }
    public override var details: String { "p=\(probability), inplace=False" }
}
