import CVectorMath
import NNStore

/// An operation on each element of a tensor.
struct UnaryOperation: Sendable {
    /// What the gradient is made of.
    enum Gradient: Sendable {
        /// There is none, or it is zero everywhere.
        case none
        /// Of the incoming gradient alone.
        case linear(@Sendable (_ gradient: Tensor) throws -> Tensor)
        /// Of the argument.
        case ofArgument(@Sendable (_ gradient: Tensor, _ argument: Tensor) throws -> Tensor)
        /// Of the result.
        case ofResult(@Sendable (_ gradient: Tensor, _ result: Tensor) throws -> Tensor)
    }

    let name: String
    let kernel: nnstore_unary
    /// Whether integers and booleans become F32.
    let isFloat: Bool
    let gradient: Gradient

    init(_ name: String, _ kernel: nnstore_unary, isFloat: Bool = true, _ gradient: Gradient) {
        self.name = name
        self.kernel = kernel
        self.isFloat = isFloat
        self.gradient = gradient
    }

    /// The result, recorded.
    func callAsFunction(_ argument: Tensor) throws -> Tensor {
        try argument.requireValue(name)
        let isTest = kernel == nnstore_is_nan || kernel == nnstore_is_finite
        let dtype = isFloat ? Promotion.float(argument.dtype) : argument.dtype
        let result = try Tensor.unwritten(isTest ? .bool : dtype, argument.shape, on: argument.device)
        let type = try Promotion.computing(dtype).elementType(for: name)
        let done =
            if argument.device.isGPU {
                try GPUElementwise.unary(kernel, type, argument, to: result, name)
            } else {
                ElementwiseKernels.unary(
                    kernel, type, try argument.elements(for: name), try result.writableElements(for: name))
            }
        guard done else {
            throw TensorError.dtypeMismatch(
                operation: name, dtypes: [argument.dtype],
                reason: "the operation does not exist for this dtype. Convert with to(.f32) or to(.i64)")
        }
        result.isNumber = argument.isNumber
        if Tensor.isRecording([argument]) { record(result, argument) }
        return result
    }

    private func record(_ result: Tensor, _ argument: Tensor) {
        switch gradient {
        case .none: break
        case .linear(let derivative):
            result.record(name, [argument]) { gradient, _ in [try derivative(gradient)] }
        case .ofArgument(let derivative):
            let saved = SavedValue(argument, for: name)
            result.record(name, [argument]) { gradient, _ in [try derivative(gradient, saved.value())] }
        case .ofResult(let derivative):
            let saved = SavedValue(result, for: name)
            result.record(name, [argument]) { gradient, _ in [try derivative(gradient, saved.value())] }
        }
    }
}

extension UnaryOperation {
    private typealias Binary = BinaryOperation

    static let negative: UnaryOperation = .init(
        "negative", nnstore_negative, isFloat: false, .linear { try negative($0) })
    static let absolute: UnaryOperation = .init(
        "abs", nnstore_absolute, isFloat: false, .ofArgument { try Binary.multiply($0, sign($1)) })
    static let sign: UnaryOperation = .init(
        "sign", nnstore_sign, isFloat: false, .linear { Tensor.zeros(like: $0) })
    static let relu: UnaryOperation = .init(
        "relu", nnstore_relu, isFloat: false, .ofResult { try Binary.reluGradient($0, $1) })
    static let exp: UnaryOperation = .init("exp", nnstore_exp, .ofResult { try Binary.multiply($0, $1) })
    static let log: UnaryOperation = .init("log", nnstore_log, .ofArgument { try Binary.divide($0, $1) })
    static let sqrt: UnaryOperation = .init(
        "sqrt", nnstore_sqrt, .ofResult { try Binary.divide($0, Binary.multiply($1, Tensor(number: 2))) })
    static let tanh: UnaryOperation = .init("tanh", nnstore_tanh, .ofResult { try Binary.tanhGradient($0, $1) })
    static let sigmoid: UnaryOperation = .init(
        "sigmoid", nnstore_sigmoid, .ofResult { try Binary.sigmoidGradient($0, $1) })
    static let gelu: UnaryOperation = .init("gelu", nnstore_gelu, .ofArgument { try Binary.geluGradient($0, $1) })
    /// d erf(x) / dx = 2 / sqrt(π) exp(-x²)
    static let erf: UnaryOperation = .init(
        "erf", nnstore_erf,
        .ofArgument {
            let slope = try exp(negative(Binary.multiply($1, $1)))
            return try Binary.multiply($0, Binary.multiply(slope, Tensor(number: 2 / Double.pi.squareRoot())))
        })
    static let sin: UnaryOperation = .init("sin", nnstore_sin, .ofArgument { try Binary.multiply($0, cos($1)) })
    static let cos: UnaryOperation = .init(
        "cos", nnstore_cos, .ofArgument { try negative(Binary.multiply($0, sin($1))) })
    static let floor: UnaryOperation = .init("floor", nnstore_floor, isFloat: false, .linear { Tensor.zeros(like: $0) })
    static let ceil: UnaryOperation = .init("ceil", nnstore_ceil, isFloat: false, .linear { Tensor.zeros(like: $0) })
    static let round: UnaryOperation = .init("round", nnstore_round, isFloat: false, .linear { Tensor.zeros(like: $0) })
    static let isNaN: UnaryOperation = .init("isNaN", nnstore_is_nan, .none)
    static let isFinite: UnaryOperation = .init("isFinite", nnstore_is_finite, .none)
    static let not: UnaryOperation = .init("not", nnstore_not, isFloat: false, .none)
}
