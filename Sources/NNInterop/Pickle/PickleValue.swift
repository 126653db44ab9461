import NNStore

/// A value of a pickle. Whatever has parts is a node of a ``PickleGraph``, named by its number: so a pickle can nest as deep as
/// it likes, share and go round in circles without anything that follows it by recursion.
enum PickleValue: Sendable {
    case none
    case boolean(Bool)
    case integer(StateInteger)
    case double(Double)
    case text(String)
    /// A text with lone surrogates, which Python has and Unicode's encodings have not; in Python's "surrogatepass" UTF-8.
    case brokenText([UInt8])
    /// A string of Python 2, which may be a text or bytes.
    case byteString([UInt8])
    case bytes([UInt8])
    /// The name of a class or function, by its number.
    case global(Int)
    case node(Int)
}

extension PickleValue {
    /// The number of its node, if it has parts.
    var node: Int? {
        if case .node(let number) = self { number } else { nil }
    }

    /// Whether it has parts; a leaf needs no path of its own.
    var isNode: Bool { node != nil }

    func global(in graph: PickleGraph) -> PickleGlobal? {
        if case .global(let index) = self { graph.globals[index] } else { nil }
    }

    /// The text, if it is one; a string of Python 2 is UTF-8 if it can be, otherwise Latin-1.
    var text: String? {
        switch self {
        case .text(let text): text
        case .byteString(let bytes): PickleValue.text(bytes)
        default: nil
        }
    }

    static func text(_ bytes: [UInt8]) -> String { String(validating: bytes, as: UTF8.self) ?? latin1(bytes) }

    /// The text whose characters are the bytes.
    static func latin1(_ bytes: [UInt8]) -> String {
        var text = String.UnicodeScalarView()
        for byte in bytes { text.append(Unicode.Scalar(byte)) }
        return String(text)
    }
}

/// The name of a class or function that a pickle asks for. It is never looked up.
struct PickleGlobal: Sendable {
    let module: String
    let name: String
    /// Where it is asked for.
    let offset: Int

    /// `torch._utils._rebuild_tensor_v2`
    var qualifiedName: String { "\(module).\(name)" }
}

/// What a pickle says: values and how they are put together, as data. Nothing in it was called.
struct PickleGraph: Sendable {
    /// Something with parts. The parts stand beside the kind, not in it, so that adding to them changes them where they are.
    struct Node: Sendable {
        var kind: Kind
        /// Where it was made.
        let offset: Int
        /// Of a list, tuple or set, and what an object was given by APPEND and ADDITEMS.
        var elements: [PickleValue] = []
        /// Of a dictionary, and what an object was given by SETITEM.
        var pairs: [Pair] = []
        /// Of an object: what it would have been called with.
        var arguments: [PickleValue] = []
        /// Of an object: what BUILD gave it, in order.
        var states: [PickleValue] = []
        /// Whether a call has taken it, as it was then.
        var isTaken = false
    }

    enum Kind: Sendable {
        case list
        case tuple
        case dictionary
        case set
        case frozenSet
        /// Something outside the pickle, by what the pickle calls it.
        case persistent(PickleValue)
        /// What a call would have made.
        case object(callee: PickleValue, keywords: PickleValue?)
    }

    struct Pair: Sendable {
        let key: PickleValue
        let value: PickleValue
    }

    var globals: [PickleGlobal] = []
    var nodes: [Node] = []
    var root = PickleValue.none
}
