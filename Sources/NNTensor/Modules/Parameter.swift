import NNStore

/// A tensor that a module learns: a stored property of this type is found by ``Module``, and optimizers change it.
///
/// The same parameter in two places is one: one gradient, one update, one memory.
public final class Parameter: Tensor {
    /// A parameter over the memory of a tensor, which requires gradients unless that is not wanted or it is no float.
    public convenience init(_ data: Tensor, requiresGrad: Bool = true) {
        self.init(data.storage, data.layout)
        wantsGradient = requiresGrad && data.dtype.isFloatingPoint
    }
}

/// A tensor that belongs to a module's state but is not learned, such as a running mean: a stored property of this type is
/// found by ``Module``.
public final class Buffer: Tensor {
    /// Whether it is part of the state dict.
    public private(set) var isPersistent = true

    /// A buffer over the memory of a tensor.
    public convenience init(_ data: Tensor, persistent: Bool = true) {
        self.init(data.storage, data.layout)
        isPersistent = persistent
    }
}
