import NNStore

/// Normalises over the last dimensions; see ``layerNorm(_:_:weight:bias:epsilon:)``.
public final class LayerNorm: Module {
    /// What the result is multiplied by, all 1 at first; `nil` if nothing is learned.
    public var weight: Parameter?
    /// What is added to the result, all 0 at first.
    public var bias: Parameter?
    private let shape: [Int]
    private let epsilon: Double

    /// - Parameters:
    ///   - shape: the last extents of the tensors, over which means and deviations are taken.
    ///   - epsilon: is added to the variance.
    ///   - affine: whether a weight is learned, and a bias unless that is not wanted.
    public init(_ shape: [Int], epsilon: Double = 1e-5, affine: Bool = true, bias: Bool = true, dtype: DType = .f32) {
        (self.shape, self.epsilon) = (shape, epsilon)
        weight = affine ? Parameter(.ones(shape, dtype: dtype)) : nil
        self.bias = affine && bias ? Parameter(.zeros(shape, dtype: dtype)) : nil
    }

    /// Over the last dimension, which has `extent` elements.
    public convenience init(
        _ extent: Int, epsilon: Double = 1e-5, affine: Bool = true, bias: Bool = true, dtype: DType = .f32
    ) {
        self.init([extent], epsilon: epsilon, affine: affine, bias: bias, dtype: dtype)
    }

    public override func forward(_ x: Tensor) throws -> Tensor {
        try layerNorm(x, shape, weight: weight, bias: bias, epsilon: epsilon)
    }

    public override var details: String {
        "\(shape.tupleText), eps=\(epsilon), elementwise_affine=\((weight != nil).pythonText), bias=\((bias != nil).pythonText)"
    }
}
