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

    /// A parameter without a value, for lazy modules: some of its extents are known only when the first batch, or a state
    /// dict, comes. Until then all that looks at its value or its shape fails with ``TensorError/uninitialized(what:)``.
    ///
    /// - Parameter pattern: the extents, `nil` for those that are not known.
    public convenience init(uninitialized pattern: [Int?], dtype: DType = .f32) {
        self.init(orStop { try Tensor.zeroed(dtype, [0], on: .cpu) })
        self.pattern = pattern
        isUninitialized = true
    }

    /// What is known of the shape before there is a value.
    private(set) var pattern: [Int?] = []

    /// Whether the parameter has a value.
    public var isInitialized: Bool { !isUninitialized }

    /// Gives the parameter memory, all zeros.
    ///
    /// - Throws: ``TensorError/shapeMismatch(operation:shapes:reason:)`` if the shape is not one that it may have;
    ///   ``TensorError/invalidArgument(operation:reason:)`` if it has a value.
    public func materialize(_ shape: [Int], dtype: DType? = nil) throws {
        guard isUninitialized else {
            throw TensorError.invalidArgument(
                operation: "materialize", reason: "the parameter has a value, of shape \(layout.shape)")
        }
        guard admits(shape) else {
            throw TensorError.shapeMismatch(
                operation: "materialize", shapes: [shape], reason: "the parameter's shape is \(shapeDescription)")
        }
        adopt(try Tensor.zeroed(dtype ?? currentLayout.dtype, shape, on: device))
    }

    /// Takes the memory of a tensor of a shape that the parameter may have for its own.
    func adopt(_ fresh: Tensor) {
        (storage, currentLayout, isUninitialized) = (fresh.storage, fresh.layout, false)
    }

    /// Whether the parameter has, or may get, a shape.
    func admits(_ shape: [Int]) -> Bool {
        if isInitialized { return shape == layout.shape }
        return shape.count == pattern.count && zip(shape, pattern).allSatisfy { $1 == nil || $0 == $1 }
    }

    /// The shape, with `?` for what is not known.
    var shapeDescription: String {
        if isInitialized { return "\(layout.shape)" }
        return "[\(pattern.map { $0.map(String.init) ?? "?" }.joined(separator: ", "))]"
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
