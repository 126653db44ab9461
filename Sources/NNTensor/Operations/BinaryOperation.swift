import CVectorMath
import NNStore

/// An operation on the elements of two tensors, which are broadcast to one shape.
struct BinaryOperation: Sendable {
    /// What the result's dtype is made of.
    enum Kind: Sendable {
        /// That which both are promoted to.
        case promoted
        /// The same, F32 if it is no float.
        case float
        /// BOOL.
        case comparison
    }

    /// One or both of the operands.
    struct Operands: OptionSet, Sendable {
        let rawValue: Int
        static let left = Operands(rawValue: 1)
        static let right = Operands(rawValue: 2)
        static let both: Operands = [.left, .right]

        init(rawValue: Int) { self.rawValue = rawValue }

        init(wantingGradients left: Tensor, _ right: Tensor) {
            self = []
            if left.requiresGrad { insert(.left) }
            if right.requiresGrad { insert(.right) }
        }
    }

    /// The gradients of both operands, from that of the result, the operands and the result.
    typealias Gradient =
        @Sendable (_ gradient: Tensor, _ left: Tensor, _ right: Tensor, _ isNeeded: [Bool]) throws -> [Tensor?]

    let name: String
    let kernel: nnstore_binary
    let kind: Kind
    /// Whose gradients need the left operand's value, and whose the right one's.
    let leftIsNeededBy: Operands
    let rightIsNeededBy: Operands
    let gradient: Gradient?

    init(
        _ name: String, _ kernel: nnstore_binary, _ kind: Kind, leftIsNeededBy: Operands = .both,
        rightIsNeededBy: Operands = .both,
        gradient: Gradient? = nil
    ) {
        self.name = name
        self.kernel = kernel
        self.kind = kind
        self.leftIsNeededBy = leftIsNeededBy
        self.rightIsNeededBy = rightIsNeededBy
        self.gradient = gradient
    }

    /// The dtype of the result.
    func resultDType(_ left: Tensor, _ right: Tensor) throws -> DType {
        let dtype = try Promotion.dtype(left, right, name)
        return switch kind {
        case .promoted: dtype
        case .float: Promotion.float(dtype)
        case .comparison: .bool
        }
    }

    /// The result, recorded.
    func callAsFunction(_ left: Tensor, _ right: Tensor) throws -> Tensor {
        for operand in [left, right] { try operand.requireValue(name) }
        let result = try values(left, right)
        if let gradient, Tensor.isRecording([left, right]) {
            let savedLeft = savesLeft(left, right) ? SavedValue(left, for: name) : nil
            let wanted = Operands(wantingGradients: left, right)
            let savedRight = rightIsNeededBy.isDisjoint(with: wanted) ? nil : SavedValue(right, for: name)
            result.record(name, [left, right]) { incoming, isNeeded in
                // In the place of a value that no gradient looks at stands any tensor.
                try gradient(incoming, savedLeft?.value() ?? incoming, savedRight?.value() ?? incoming, isNeeded)
            }
        }
        return result
    }

    /// Whether the gradients of a recorded operation will need the left operand as it is now.
    func savesLeft(_ left: Tensor, _ right: Tensor) -> Bool {
        gradient != nil && !leftIsNeededBy.isDisjoint(with: Operands(wantingGradients: left, right))
    }

    /// The result, not recorded.
    func values(_ left: Tensor, _ right: Tensor) throws -> Tensor {
        let result = try Tensor.unwritten(
            try resultDType(left, right), try Broadcasting.shape(left.shape, right.shape, name),
            on: try Placement.device(ofElementwise: [left, right], name))
        try write(left, right, to: result)
        result.isNumber = left.isNumber && right.isNumber
        return result
    }

    /// Writes the result to a tensor that has its shape, not recorded.
    func write(_ left: Tensor, _ right: Tensor, to result: Tensor) throws {
        guard Broadcasting.fits(left.shape, in: result.shape), Broadcasting.fits(right.shape, in: result.shape) else {
            throw TensorError.shapeMismatch(
                operation: name, shapes: [left.shape, right.shape],
                reason: "the result would not have shape \(result.shape)")
        }
        var dtype = try Promotion.dtype(left, right, name)
        if kind == .float { dtype = Promotion.float(dtype) }
        let type = try Promotion.computing(dtype).elementType(for: name)
        let done =
            if try Placement.device(ofElementwise: [result, left, right], name).isGPU {
                try GPUElementwise.binary(kernel, type, left, right, to: result, name)
            } else {
                ElementwiseKernels.binary(
                    kernel, type, try left.elements(for: name, in: type), try right.elements(for: name, in: type),
                    try result.writableElements(for: name))
            }
        guard done else {
            throw TensorError.dtypeMismatch(
                operation: name, dtypes: [left.dtype, right.dtype],
                reason: "the operation does not exist for \(dtype). Convert with to(.f32) or to(.i64)")
        }
    }
}

extension BinaryOperation {
    static let add: BinaryOperation = .init("add", nnstore_add, .promoted, leftIsNeededBy: [], rightIsNeededBy: []) {
        gradient, _, _, _ in [gradient, gradient]
    }
    static let subtract: BinaryOperation = .init(
        "subtract", nnstore_subtract, .promoted, leftIsNeededBy: [], rightIsNeededBy: []
    ) { gradient, _, _, isNeeded in
        [gradient, isNeeded[1] ? try UnaryOperation.negative(gradient) : nil]
    }
    static let multiply: BinaryOperation = .init(
        "multiply", nnstore_multiply, .promoted, leftIsNeededBy: .right, rightIsNeededBy: .left
    ) { gradient, left, right, isNeeded in
        [isNeeded[0] ? try multiply(gradient, right) : nil, isNeeded[1] ? try multiply(gradient, left) : nil]
    }
    static let divide: BinaryOperation = .init("divide", nnstore_divide, .float, leftIsNeededBy: .right) {
        gradient, left, right, isNeeded in
        let quotient = try divide(gradient, right)
        return [quotient, isNeeded[1] ? try UnaryOperation.negative(multiply(quotient, divide(left, right))) : nil]
    }
    static let maximum: BinaryOperation = .init("maximum", nnstore_maximum, .promoted) {
        gradient, left, right, isNeeded in
        try extremeGradients(gradient, left, right, isNeeded, greater)
    }
    static let minimum: BinaryOperation = .init("minimum", nnstore_minimum, .promoted) {
        gradient, left, right, isNeeded in
        try extremeGradients(gradient, left, right, isNeeded, less)
    }
    static let power: BinaryOperation = .init("pow", nnstore_power, .float) { gradient, base, exponent, isNeeded in
        var gradients: [Tensor?] = [nil, nil]
        if isNeeded[0] {
            // x^0 is 1 everywhere, also where x^-1 is infinite.
            let slope = try multiply(exponent, power(base, subtract(exponent, Tensor(number: 1))))
            gradients[0] = try multiply(gradient, select(equal(exponent, Tensor(number: 0)), Tensor(number: 0), slope))
        }
        if isNeeded[1] {
            // The limit of 0^y ln 0 is 0 for y > 0.
            let slope = try multiply(power(base, exponent), UnaryOperation.log(base))
            gradients[1] = try multiply(gradient, select(equal(base, Tensor(number: 0)), Tensor(number: 0), slope))
        }
        return gradients
    }
    static let equal: BinaryOperation = .init("equal", nnstore_equal, .comparison)
    static let notEqual: BinaryOperation = .init("not equal", nnstore_not_equal, .comparison)
    static let less: BinaryOperation = .init("less", nnstore_less, .comparison)
    static let lessOrEqual: BinaryOperation = .init("less or equal", nnstore_less_equal, .comparison)
    static let greater: BinaryOperation = .init("greater", nnstore_greater, .comparison)
    static let greaterOrEqual: BinaryOperation = .init("greater or equal", nnstore_greater_equal, .comparison)
    static let exclusiveOr: BinaryOperation = .init("exclusive or", nnstore_exclusive_or, .promoted)

    /// The first operand is a gradient, the second one the value that its derivative is made of.
    static let reluGradient: BinaryOperation = .init("relu", nnstore_relu_gradient, .promoted)
    static let tanhGradient: BinaryOperation = .init("tanh", nnstore_tanh_gradient, .promoted)
    static let sigmoidGradient: BinaryOperation = .init("sigmoid", nnstore_sigmoid_gradient, .promoted)
    static let geluGradient: BinaryOperation = .init("gelu", nnstore_gelu_gradient, .promoted)

    /// The gradient goes to the operand that was taken, half to each where they are equal.
    private static func extremeGradients(
        _ gradient: Tensor, _ left: Tensor, _ right: Tensor, _ isNeeded: [Bool], _ isBetter: BinaryOperation
    ) throws -> [Tensor?] {
        let half = try multiply(multiply(gradient, equal(left, right)), Tensor(number: 0.5))
        func share(_ taken: Tensor) throws -> Tensor { try add(multiply(gradient, taken), half) }
        return [
            isNeeded[0] ? try share(isBetter(left, right)) : nil, isNeeded[1] ? try share(isBetter(right, left)) : nil,
        ]
    }
}
