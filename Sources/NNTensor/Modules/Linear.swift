import NNStore

/// `x weightᵀ + bias` over the last dimension: `[..., in]` becomes `[..., out]`.
open class Linear: Module {
    /// `[out, in]`
    public final var weight: Parameter
    /// `[out]`; `nil` if there is none.
    public final var bias: Parameter?

    /// Values uniform between ± 1 / √in, as in PyTorch.
    public convenience init(
        _ inFeatures: Int, _ outFeatures: Int, bias: Bool = true, dtype: DType = .f32, generator: Generator? = nil
    ) {
        self.init(
            weight: Parameter(.zeros([outFeatures, inFeatures], dtype: dtype)),
            bias: bias ? Parameter(.zeros([outFeatures], dtype: dtype)) : nil)
        orStop { try resetParameters(generator) }
    }

    /// A layer with these parameters, which may belong to other modules too.
    public init(weight: Parameter, bias: Parameter?) {
        self.weight = weight
        self.bias = bias
    }

    /// Gives the parameters fresh values.
    ///
    /// - Throws: ``TensorError/uninitialized(what:)`` if they have no shape yet.
    public final func resetParameters(_ generator: Generator? = nil) throws {
        // Kaiming's uniform with a slope of √5 comes to the same.
        try Initializer.kaimingUniform(weight, negativeSlope: 5.0.squareRoot(), generator: generator)
        if let bias { try Initializer.uniformByFanIn(bias, of: weight, generator) }
    }

    open override func forward(_ x: Tensor) throws -> Tensor { try linear(x, weight, bias) }

    open override var details: String {
        let extents = weight.isInitialized ? (weight.shape[1], weight.shape[0]) : (0, weight.pattern[0] ?? 0)
        return "in_features=\(extents.0), out_features=\(extents.1), bias=\((bias != nil).pythonText)"
    }
}

/// A ``Linear`` that learns from its first batch how many features come in. Afterwards it is one.
public final class LazyLinear: Linear {
    private let generator: Generator?

    /// The parameters get their values with the first batch, or from a state dict.
    public init(_ outFeatures: Int, bias: Bool = true, dtype: DType = .f32, generator: Generator? = nil) {
        self.generator = generator
        super.init(
            weight: Parameter(uninitialized: [outFeatures, nil], dtype: dtype),
            bias: bias ? Parameter(uninitialized: [outFeatures], dtype: dtype) : nil)
    }

    public override var typeName: String { weight.isInitialized ? "Linear" : "LazyLinear" }

    public override func forward(_ x: Tensor) throws -> Tensor {
        if !weight.isInitialized {
            try weight.materialize([weight.pattern[0] ?? 0, x.size(-1)])
            if let bias, !bias.isInitialized { try bias.materialize([weight.shape[0]]) }
            try resetParameters(generator)
        }
        return try super.forward(x)
    }
}
