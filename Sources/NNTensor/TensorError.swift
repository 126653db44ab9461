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
    /// The operands of an operation are on different devices, or on one on which the operation does not exist.
    case wrongDevice(operation: String, devices: [String], reason: String)
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
    /// A module's entries have a version that the program's type of module does not know.
    case unknownModuleVersion(module: String, type: String, version: Int, newestKnown: Int)
    /// Loading stopped on its way: the tensors of these names may have new values, all others are as they were.
    case partlyLoaded(file: String, changed: [String], reason: String)
    /// A file holds something else than what was asked for.
    case unexpectedContents(file: String, expected: String, found: String)
    /// The checkpoints of a folder are all damaged.
    case noWholeCheckpoint(folder: String, damaged: [String])
    /// An earlier save, which nobody waited for, failed.
    case earlierSaveFailed(path: String, reason: String)

    /// A short name for the kind of error that will not change between versions.
    public var code: String {
        switch self {
        case .shapeMismatch: "shape-mismatch"
        case .dtypeMismatch: "dtype-mismatch"
        case .wrongDevice: "wrong-device"
        case .invalidArgument: "invalid-argument"
        case .gradient: "gradient"
        case .overwritten: "overwritten"
        case .uninitialized: "uninitialized"
        case .stateMismatch: "state-mismatch"
        case .unknownModuleVersion: "unknown-module-version"
        case .partlyLoaded: "partly-loaded"
        case .unexpectedContents: "unexpected-contents"
        case .noWholeCheckpoint: "no-whole-checkpoint"
        case .earlierSaveFailed: "earlier-save-failed"
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
        case .wrongDevice(let operation, let devices, let reason):
            "\(operation): \(devices.joined(separator: " and ")): \(reason)"
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
            mismatch.description + (mismatch.advice.isEmpty ? "" : ". What can be done: \(mismatch.advice)")
        case .unknownModuleVersion(let module, let type, let version, let known):
            "the entries of \(module.isEmpty ? "the model" : "\"\(module)\""), \(type), have version \(version); "
                + "this program knows \(known) and older ones. Load them with the program that saved them, or a newer one"
        case .partlyLoaded(let file, let changed, let reason):
            "\(file): loading stopped: \(reason). These may have new values already, all others are as they were: "
                + changed.prefix(20).map { "\"\($0)\"" }.joined(separator: ", ")
                + (changed.count > 20 ? " and \(changed.count - 20) more" : "")
                + ". Load a sound file before you go on; with verifiesFirst nothing is changed by a damaged one"
        case .unexpectedContents(let file, let expected, let found):
            "\(file): holds \(found), not \(expected)"
        case .noWholeCheckpoint(let folder, let damaged):
            "\(folder): all its checkpoints are damaged: \(damaged.joined(separator: "; ")). "
                + "Move them away to begin anew"
        case .earlierSaveFailed(let path, let reason):
            "\(path): an earlier save of this did not succeed: \(reason). The new save was not begun; call it again "
                + "when the reason is gone"
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
