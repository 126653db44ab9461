import NNStore

/// A row of the weight for each index: I64 `[...]` becomes `[..., dimensions]`.
public final class Embedding: Module {
    /// `[count, dimensions]`
    public var weight: Parameter

    /// Standard normal values, as in PyTorch.
    public convenience init(_ count: Int, _ dimensions: Int, dtype: DType = .f32, generator: Generator? = nil) {
        self.init(weight: Parameter(.randn([count, dimensions], dtype: dtype, generator: generator)))
    }

    /// A table with this parameter, which may belong to other modules too.
    public init(weight: Parameter) { self.weight = weight }

    public override func forward(_ x: Tensor) throws -> Tensor { try embedding(x, weight) }

    public override var details: String { weight.shape.map(String.init).joined(separator: ", ") }
}
