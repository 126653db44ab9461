import NNStore

/// Keeps losses and other numbers where they were calculated, and hands over many of them at once: reading each one would make
/// a device wait each time.
///
/// ```swift
/// let losses = MetricAccumulator()
/// for batch in batches { ...; try losses.add(loss) }
/// print(try losses.take())
/// ```
public final class MetricAccumulator {
    private var values: Tensor

    /// The number of values that are kept.
    public private(set) var count = 0

    /// Room for as many values at first; it grows as needed.
    public init(capacity: Int = 256) { values = .zeros([Swift.max(1, capacity)], dtype: .f64) }

    /// Keeps the value that a tensor of one element has now.
    ///
    /// - Throws: ``TensorError/invalidArgument(operation:reason:)`` if it has more elements, or none.
    public func add(_ value: Tensor) throws {
        guard value.count == 1 else {
            throw TensorError.invalidArgument(
                operation: "MetricAccumulator.add",
                reason: "shape \(value.shape) has \(value.count) elements, one is wanted")
        }
        try noGrad {
            if count == 0 && values.device != value.device { values = try values.copied(to: value.device) }
            if count == values.count {
                let larger = try Tensor.zeroed(.f64, [2 * count], on: values.device)
                try larger.narrow(0, 0..<count).copy(from: values)
                values = larger
            }
            try values.narrow(0, count..<count + 1).copy(from: value.detach().reshape([1]))
        }
        count += 1
    }

    /// All values in order, without giving them up.
    ///
    /// - Throws: what reading the storage throws.
    public func read() throws -> [Double] { try noGrad { try values.narrow(0, 0..<count).elements() } }

    /// All values in order; none are kept afterwards.
    ///
    /// - Throws: what reading the storage throws.
    public func take() throws -> [Double] {
        let taken = try read()
        count = 0
        return taken
    }

    /// Keeps other values than those so far.
    func restore(_ saved: Tensor) throws {
        values = .zeros([Swift.max(values.count, saved.count)], dtype: .f64)
        count = saved.count
        try noGrad { try values.narrow(0, 0..<count).copy(from: saved) }
    }

    /// The mean of the values, calculated where they are: a tensor without dimensions; NaN if there are none.
    ///
    /// - Throws: what reading the storage throws.
    public func mean() throws -> Tensor { try noGrad { try values.narrow(0, 0..<count).mean() } }
}
