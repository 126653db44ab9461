/// What is wrong with a NumPy array. Offsets are in bytes from its start: that of the file, or of an archive's entry.
public enum NumPyProblem: Sendable, Equatable {
    /// It does not begin as an array does, or ends before its header does.
    case start(found: Int)
    /// A version that does not exist.
    case version(major: UInt8, minor: UInt8)
    /// The header is longer than NumPy reads.
    case headerTooLong(length: Int)
    /// The header is no literal of Python's.
    case literal(offset: Int, problem: String)
    /// The header's dictionary has other keys than `descr`, `fortran_order` and `shape`.
    case keys(offset: Int, key: String)
    /// A value of the header is none that it can be.
    case field(key: String, expected: String)
    /// A dtype that no tensor has.
    case dtype(String)
    /// The shape is too large.
    case shape(String)
    /// There are fewer bytes than the shape takes.
    case cut(expected: Int, found: Int)

    /// A short name for the rule that will not change between versions.
    public var code: String {
        switch self {
        case .start: "start"
        case .version: "version"
        case .headerTooLong: "header-too-long"
        case .literal: "literal"
        case .keys: "keys"
        case .field: "field"
        case .dtype: "dtype"
        case .shape: "shape"
        case .cut: "cut"
        }
    }
}

extension NumPyProblem: CustomStringConvertible {
    /// The message for a person, without the file's name.
    public var description: String {
        switch self {
        case .start(let found):
            "it has \(found) bytes and is cut in its header, or does not begin with \\x93NUMPY"
        case .version(let major, let minor): "version \(major).\(minor); 1.0, 2.0 and 3.0 are those that exist"
        case .headerTooLong(let length):
            "its header is said to have \(length) bytes (byte 8); NumPy reads none of more than \(NumPyHeader.maximumSize)"
        case .literal(let offset, let problem): "its header is no plain dictionary: \(problem) (byte \(offset))"
        case .keys(let offset, let key):
            "its header has the key \(quoted(key)) (byte \(offset)) missing, twice or beside those that are defined: descr, fortran_order and shape"
        case .field(let key, let expected): "\(key) in its header is not \(expected)"
        case .dtype(let name):
            "its elements are \(name), which no tensor can have; save it as numbers, or pass over it (ckpt-tool: --skip-unsupported)"
        case .shape(let reason): reason
        case .cut(let expected, let found):
            "its elements take \(expected) bytes, \(found) are there; the file was cut"
        }
    }
}
