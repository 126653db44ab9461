import NNStore

/// The sum of the gradients that arrive for one tensor.
struct GradientSum {
    private var sum: Tensor?
    /// Whether nobody else sees the memory, so that it may be written to.
    private var isOwn = false

    init(_ first: Tensor) { sum = first }

    /// The sum so far. Nobody writes to it: it may be the gradient of something else as well.
    var value: Tensor { sum! }

    /// Adds what another user of the tensor gives.
    mutating func add(_ other: Tensor) throws {
        if isOwn {
            try BinaryOperation.add.write(value, other, to: value)
        } else {
            sum = try BinaryOperation.add.values(value, other)
            isOwn = true
        }
    }

    /// The sum as a leaf keeps it: contiguous, and in nobody else's memory. The last call.
    mutating func take() throws -> Tensor {
        var tensor = sum.take()!
        // What an operation made for this leaf alone is taken as it is.
        let isAlone = isKnownUniquelyReferenced(&tensor) && isKnownUniquelyReferenced(&tensor.storage)
        if isAlone && tensor.isContiguous && tensor.layout.byteCount == tensor.storage.byteCount {
            return tensor
        }
        return try tensor.copied("backward")
    }
}
