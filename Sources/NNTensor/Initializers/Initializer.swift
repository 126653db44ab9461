import NNStore

/// Fresh values for parameters, written in place whatever is recorded: `try Initializer.xavierUniform(layer.weight)`.
///
/// All of them throw ``TensorError/uninitialized(what:)`` for a parameter of a lazy module that has no shape yet, and
/// ``TensorError/dtypeMismatch(operation:dtypes:reason:)`` where random numbers are wanted in a dtype that is no float.
/// Random ones draw from the default generator if none is given. A rule of your own is a function that is given to
/// ``Module/apply(_:)``.
public enum Initializer {
    /// Which of its sides a weight's variance is to be kept for.
    public enum Fan: Sendable {
        /// Forward: the number of inputs of an output.
        case `in`
        /// Backward: the number of outputs of an input.
        case out
    }

    /// What follows a layer.
    public enum Nonlinearity: Sendable {
        /// Nothing, or a sigmoid.
        case linear
        /// tanh.
        case tanh
        /// relu.
        case relu
        /// relu with a slope for negative numbers.
        case leakyReLU(slope: Double)

        /// What a standard deviation is multiplied by to make up for it (`torch.nn.init.calculate_gain`).
        public var gain: Double {
            switch self {
            case .linear: 1
            case .tanh: 5.0 / 3
            case .relu: 2.0.squareRoot()
            case .leakyReLU(let slope): (2 / (1 + slope * slope)).squareRoot()
            }
        }
    }

    /// One number everywhere.
    public static func constant(_ tensor: Tensor, _ value: Double) throws {
        try write(Tensor(value, dtype: .f64), to: tensor, "constant")
    }

    /// 0 everywhere.
    public static func zeros(_ tensor: Tensor) throws { try constant(tensor, 0) }

    /// 1 everywhere.
    public static func ones(_ tensor: Tensor) throws { try constant(tensor, 1) }

    /// Numbers between two bounds, all equally likely.
    public static func uniform(
        _ tensor: Tensor, from lower: Double = 0, to upper: Double = 1, generator: Generator? = nil
    ) throws {
        try fill(tensor, .uniform, scale: upper - lower, shift: lower, "uniform", generator)
    }

    /// Normally distributed numbers.
    public static func normal(
        _ tensor: Tensor, mean: Double = 0, standardDeviation: Double = 1, generator: Generator? = nil
    ) throws {
        try fill(tensor, .normal, scale: standardDeviation, shift: mean, "normal", generator)
    }

    /// Uniform numbers whose variance keeps that of the values in both directions as well as one number can
    /// (X. Glorot, Y. Bengio: Understanding the difficulty of training deep feedforward neural networks, 2010).
    ///
    /// - Parameter tensor: `[out, in]`, or `[out, in, kernel height, kernel width]`.
    /// - Throws: ``TensorError/invalidArgument(operation:reason:)`` for fewer than two dimensions.
    public static func xavierUniform(_ tensor: Tensor, gain: Double = 1, generator: Generator? = nil) throws {
        let bound = try 3.0.squareRoot() * xavierDeviation(tensor, gain, "xavierUniform")
        try uniform(tensor, from: -bound, to: bound, generator: generator)
    }

    /// As ``xavierUniform(_:gain:generator:)``, normally distributed.
    public static func xavierNormal(_ tensor: Tensor, gain: Double = 1, generator: Generator? = nil) throws {
        let deviation = try xavierDeviation(tensor, gain, "xavierNormal")
        try normal(tensor, standardDeviation: deviation, generator: generator)
    }

    /// Uniform numbers whose variance keeps that of the values through a layer and the nonlinearity behind it
    /// (K. He et al.: Delving Deep into Rectifiers, 2015).
    ///
    /// - Parameters:
    ///   - tensor: `[out, in]`, or `[out, in, kernel height, kernel width]`.
    ///   - negativeSlope: of the leaky relu that follows.
    ///   - fan: whether the variance is kept forward or backward.
    /// - Throws: ``TensorError/invalidArgument(operation:reason:)`` for fewer than two dimensions.
    public static func kaimingUniform(
        _ tensor: Tensor, negativeSlope: Double = 0, fan: Fan = .in, generator: Generator? = nil
    ) throws {
        let bound =
            try 3.0.squareRoot() * kaimingDeviation(tensor, .leakyReLU(slope: negativeSlope), fan, "kaimingUniform")
        try uniform(tensor, from: -bound, to: bound, generator: generator)
    }

    /// As ``kaimingUniform(_:negativeSlope:fan:generator:)``, normally distributed.
    public static func kaimingNormal(
        _ tensor: Tensor, negativeSlope: Double = 0, fan: Fan = .in, generator: Generator? = nil
    ) throws {
        let deviation = try kaimingDeviation(tensor, .leakyReLU(slope: negativeSlope), fan, "kaimingNormal")
        try normal(tensor, standardDeviation: deviation, generator: generator)
    }

    /// Uniform between ± 1 / √(inputs of an output): the biases of PyTorch's layers.
    static func uniformByFanIn(_ bias: Tensor, of weight: Tensor, _ generator: Generator?) throws {
        let inputs = try fans(weight, "uniform").in
        let bound = inputs > 0 ? 1 / Double(inputs).squareRoot() : 0
        try uniform(bias, from: -bound, to: bound, generator: generator)
    }

    // MARK: What they are made of

    private static func xavierDeviation(_ tensor: Tensor, _ gain: Double, _ operation: String) throws -> Double {
        let fans = try fans(tensor, operation)
        return gain * (2 / Double(fans.in + fans.out)).squareRoot()
    }

    private static func kaimingDeviation(
        _ tensor: Tensor, _ nonlinearity: Nonlinearity, _ fan: Fan, _ operation: String
    ) throws -> Double {
        let fans = try fans(tensor, operation)
        let count = fan == .in ? fans.in : fans.out
        return count > 0 ? nonlinearity.gain / Double(count).squareRoot() : 0
    }

    private static func fans(_ tensor: Tensor, _ operation: String) throws -> (in: Int, out: Int) {
        try tensor.requireValue(operation)
        guard tensor.rank >= 2 else {
            throw TensorError.invalidArgument(
                operation: operation,
                reason: "a weight has at least two dimensions, [out, in, ...]; this has shape \(tensor.shape)")
        }
        let window = tensor.shape[2...].reduce(1, *)
        return (tensor.shape[1] * window, tensor.shape[0] * window)
    }

    /// Draws in the dtype that operations run in, so that halves are rounded once.
    private static func fill(
        _ tensor: Tensor, _ distribution: Tensor.Distribution, scale: Double, shift: Double, _ operation: String,
        _ generator: Generator?
    ) throws {
        try tensor.requireValue(operation)
        let drawn = try Tensor.zeroed(Promotion.computing(tensor.dtype), tensor.shape, on: .cpu)
        try drawn.fillRandomly(distribution, generator)
        if scale != 1 { try drawn.update(.multiply, Tensor(number: scale)) }
        if shift != 0 { try drawn.update(.add, Tensor(number: shift)) }
        try write(drawn, to: tensor, operation)
    }

    static func requireFloat(_ tensor: Tensor, _ operation: String) throws {
        guard tensor.dtype.isFloatingPoint else {
            throw TensorError.dtypeMismatch(
                operation: operation, dtypes: [tensor.dtype], reason: "the parameter must be a float")
        }
    }

    static func write(_ values: Tensor, to tensor: Tensor, _ operation: String) throws {
        try tensor.requireValue(operation)
        try noGrad { try tensor.writeValues(of: values.copied(to: tensor.device), operation) }
    }
}
