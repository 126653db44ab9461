import NNStore

/// What NNTensor throws, next to ``StoreError`` where a storage's bytes can't be read.
///
/// Every case has a stable ``code`` and a ``description`` that names the operation, what was expected, what was found and,
/// where there is something to do, what to do next.
///
/// Named functions throw it. What can't throw in Swift or would be a burden if it did (operators, subscripts, creating a
/// tensor or a module) stops the program with the same text instead.
public enum TensorError: Error, Sendable, Equatable {
    /// The shapes of an operation's operands do not fit together.
    case shapeMismatch(operation: String, shapes: [[Int]], reason: String)
    /// The operation does not exist for these dtypes, or not for both together.
    case dtypeMismatch(operation: String, dtypes: [DType], reason: String)
    /// An argument makes no sense for a tensor of this shape.
    case invalidArgument(operation: String, reason: String)
    /// A rule about gradients is broken.
    case gradient(operation: String, reason: String)
    /// A value that a gradient needs was overwritten after the operation that needs it.
    case overwritten(operation: String, shape: [Int], dtype: DType, savedVersion: UInt64, version: UInt64)
    /// A parameter or buffer of a lazy module has no value yet.
    case uninitialized(what: String)
    /// A state dict does not fit the model.
    case stateMismatch(StateMismatch)

    /// A short name for the kind of error that will not change between versions.
    public var code: String {
        switch self {
        case .shapeMismatch: "shape-mismatch"
        case .dtypeMismatch: "dtype-mismatch"
        case .invalidArgument: "invalid-argument"
        case .gradient: "gradient"
        case .overwritten: "overwritten"
        case .uninitialized: "uninitialized"
        case .stateMismatch: "state-mismatch"
        }
    }
}

extension TensorError: CustomStringConvertible {
    /// What happened, in a sentence.
    public var description: String {
        switch self {
        case .shapeMismatch(let operation, let shapes, let reason):
            "\(operation): shapes \(shapes.map(\.description).joined(separator: " and ")) do not fit: \(reason)"
        case .dtypeMismatch(let operation, let dtypes, let reason):
            "\(operation): \(dtypes.map(\.name).joined(separator: " and ")): \(reason)"
        case .invalidArgument(let operation, let reason):
            "\(operation): \(reason)"
        case .gradient(let operation, let reason):
            "\(operation): \(reason)"
        case .overwritten(let operation, let shape, let dtype, let saved, let version):
            "backward: the gradient of \(operation) needs the \(dtype) \(shape) that it saw, but that was written to since "
                + "(version \(saved) then, \(version) now). Write to a clone() of it, or after backward()"
        case .uninitialized(let what):
            "\(what) has no value yet: call the model on a batch once, or load a state dict into it"
        case .stateMismatch(let mismatch):
            mismatch.description
        }
    }
}

/// Ends the program with the error's text where an operator or an initialiser can't throw.
func orStop<Result>(_ body: () throws -> Result) -> Result {
    do {
        return try body()
    } catch {
        // Not precondition: its message is gone in an optimised build.
        fatalError("\(error)")
    }
}

/// Ends the program with the text of an invalid argument, where an initialiser or a setter can't throw: its place is mostly a
/// stored property's initial value.
func stop(_ operation: String, _ reason: String) -> Never {
    orStop { throw TensorError.invalidArgument(operation: operation, reason: reason) }
}
