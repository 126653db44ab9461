import NNStore

/// What is wrong with a pickle. Offsets are in bytes from the start of what the error names: an archive's record, or a file.
public enum PickleProblem: Sendable, Equatable {
    /// The bytes end inside an operation, or before the pickle's end.
    case cut(offset: Int)
    /// An operation that is not read: it would reach into what the reading program has registered, or does not exist.
    case operation(offset: Int, name: String)
    /// A protocol that does not exist.
    case protocolVersion(offset: Int, version: Int)
    /// An operation takes more values from the stack than there are, or more than were put there since the last mark.
    case stack(offset: Int, operation: String)
    /// An operation refers to a memo that nothing was put in.
    case memo(offset: Int, index: Int)
    /// A length that is negative, or more than is left.
    case length(offset: Int, operation: String, length: String, available: Int)
    /// An operand in digits that is no number.
    case number(offset: Int, operation: String)
    /// A text that is neither UTF-8 nor anything else that it may be.
    case text(offset: Int, operation: String)
    /// An operation is used on a value that it can't be used on.
    case operand(offset: Int, operation: String, expected: String)
    /// Bytes follow the end of the pickle: a second one, which other readers may or may not see.
    case trailing(offset: Int, count: Int)
    /// Values that are nested deeper than a tree of values may be.
    case depth(offset: Int)
    /// A list or dictionary that contains itself.
    case cycle(offset: Int)
    /// A value of a known type with parts that it can't have.
    case value(offset: Int, type: String, problem: String)

    /// A short name for the rule that will not change between versions.
    public var code: String {
        switch self {
        case .cut: "cut"
        case .operation: "operation"
        case .protocolVersion: "protocol"
        case .stack: "stack"
        case .memo: "memo"
        case .length: "length"
        case .number: "number"
        case .text: "text"
        case .operand: "operand"
        case .trailing: "trailing"
        case .depth: "depth"
        case .cycle: "cycle"
        case .value: "value"
        }
    }
}

extension PickleProblem: CustomStringConvertible {
    /// The message for a person, without the file's name.
    public var description: String {
        switch self {
        case .cut(let offset):
            "the pickle ends at byte \(offset), in the middle of it; the file was cut"
        case .operation(let offset, let name):
            "the operation \(name) at byte \(offset) is not read; no library that saves tensors writes it"
        case .protocolVersion(let offset, let version):
            "protocol \(version) at byte \(offset); 0 to 5 are those that exist"
        case .stack(let offset, let operation):
            "\(operation) at byte \(offset) takes more values than there are; the file is damaged or was made to be"
        case .memo(let offset, let index):
            "byte \(offset) refers to value \(index), which was never stored; the file is damaged or was made to be"
        case .length(let offset, let operation, let length, let available):
            "\(operation) at byte \(offset) is said to have \(length) bytes, \(available) are there at most"
        case .number(let offset, let operation):
            "\(operation) at byte \(offset) is no number that can be read"
        case .text(let offset, let operation):
            "\(operation) at byte \(offset) is no valid text"
        case .operand(let offset, let operation, let expected):
            "\(operation) at byte \(offset) wants \(expected), found something else"
        case .trailing(let offset, let count):
            "\(count) bytes follow the end of the pickle at byte \(offset); nothing says what they are, so the file has to be written anew"
        case .depth(let offset):
            "the value made at byte \(offset) is nested deeper than \(StateTree.maximumDepth) levels, or has more than so many nested in it"
        case .cycle(let offset):
            "the list or dictionary made at byte \(offset) contains itself, which no tree of values can"
        case .value(let offset, let type, let problem):
            "\(type) at byte \(offset): \(problem)"
        }
    }
}
