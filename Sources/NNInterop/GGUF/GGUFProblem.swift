/// What is wrong with a GGUF file. Offsets are in bytes from the start of the file.
public enum GGUFProblem: Sendable, Equatable {
    /// The file ends inside its header.
    case cut(offset: Int)
    /// A version that is not read.
    case version(UInt32)
    /// A count that the file is too short for.
    case count(what: String, offset: Int, found: UInt64)
    /// A text or array that is too long.
    case length(what: String, offset: Int, found: UInt64)
    /// A key or name that can't be.
    case name(what: String, offset: Int, problem: String)
    /// A type of values that does not exist.
    case valueType(key: String, offset: Int, type: UInt32)
    /// A value that its type can't have.
    case value(key: String, offset: Int, problem: String)
    /// A type of tensors that does not exist, or does no longer.
    case tensorType(tensor: String, offset: Int, type: UInt32)
    /// A shape that can't be.
    case shape(tensor: String, offset: Int, problem: String)
    /// A tensor that is not where the ones before it end.
    case offset(tensor: String, offset: Int, expected: Int, found: UInt64)
    /// A tensor whose data reach behind the end of the file.
    case data(tensor: String, end: Int, byteCount: Int)

    /// A short name for the rule that will not change between versions.
    public var code: String {
        switch self {
        case .cut: "cut"
        case .version: "version"
        case .count: "count"
        case .length: "length"
        case .name: "name"
        case .valueType: "value-type"
        case .value: "value"
        case .tensorType: "tensor-type"
        case .shape: "shape"
        case .offset: "offset"
        case .data: "data"
        }
    }
}

extension GGUFProblem: CustomStringConvertible {
    /// The message for a person, without the file's name.
    public var description: String {
        switch self {
        case .cut(let offset): "it ends at byte \(offset), inside its header; it was cut"
        case .version(let version):
            "version \(version); versions 2 and 3 are read"
                + (version == 1 ? ", and files of version 1 have to be converted anew with a present llama.cpp" : "")
        case .count(let what, let offset, let found):
            "\(found) \(what) are announced at byte \(offset), more than fit the file"
        case .length(let what, let offset, let found):
            "\(what) at byte \(offset) is said to have a length of \(found), which is more than there is or may be"
        case .name(let what, let offset, let problem): "\(what) at byte \(offset) \(problem)"
        case .valueType(let key, let offset, let type):
            "\(quoted(key)) has a value of type \(type) at byte \(offset), which is not defined"
        case .value(let key, let offset, let problem): "\(quoted(key)) at byte \(offset) \(problem)"
        case .tensorType(let tensor, let offset, let type):
            "\(quoted(tensor)) has the type \(type) at byte \(offset), which is not known or was removed from the format"
        case .shape(let tensor, let offset, let problem): "\(quoted(tensor)) at byte \(offset) \(problem)"
        case .offset(let tensor, let offset, let expected, let found):
            "\(quoted(tensor)) is said to begin at \(found) (byte \(offset)), but those before it end at \(expected)"
        case .data(let tensor, let end, let byteCount):
            "the data of \(quoted(tensor)) end at byte \(end), the file at byte \(byteCount); it was cut"
        }
    }
}
