import NNStore

/// Reads JSON (RFC 8259) strictly and in one pass, value by value.
///
/// A reader of a format walks through a text with ``object(_:)`` and ``array(_:)`` and takes what it expects, without
/// a tree of values in between: a header of 100 MB could otherwise take gigabytes. ``JSONValue/parse(_:name:allowsLeadingWhitespace:)``
/// is for small texts.
///
/// Errors give offsets in bytes, `baseOffset` added, so that they can be those of the file.
package struct JSONReader {
    /// What messages call the text.
    package let name: String
    let baseOffset: Int
    let bytes: [UInt8]
    private(set) var position = 0
    private var depth = 0

    /// How deep values may be nested.
    package static let maximumDepth = 64

    /// Begins at the start of `bytes`.
    package init(_ bytes: [UInt8], name: String, baseOffset: Int = 0) {
        self.bytes = bytes
        self.name = name
        self.baseOffset = baseOffset
    }

    /// Where the reader is, in bytes.
    package var offset: Int { baseOffset + position }

    /// The kinds of values that can come next, by their first byte.
    enum Kind: String {
        case null, boolean = "a boolean", number = "a number", string = "a string", array = "an array"
        case object = "an object"
    }

    func failure(_ problem: String, at position: Int? = nil) -> InteropError {
        .invalidJSON(file: name, offset: baseOffset + (position ?? self.position), problem: problem)
    }

    private var byte: UInt8? { position < bytes.count ? bytes[position] : nil }

    private func unexpected(_ expected: String) -> InteropError {
        guard let byte else { return failure("it ends where \(expected) should be") }
        let found = (0x21...0x7e).contains(byte) ? "\"\(Unicode.Scalar(byte))\"" : "byte 0x\(String(byte, radix: 16))"
        return failure("\(found) where \(expected) should be")
    }

    package mutating func skipWhitespace() {
        while let byte, byte == 0x20 || byte == 0x0a || byte == 0x0d || byte == 0x09 { position += 1 }
    }

    /// The kind of the value that comes next, by its first byte. Skips white space before it.
    mutating func kind() throws(InteropError) -> Kind {
        skipWhitespace()
        guard let byte else { throw unexpected("a value") }
        switch byte {
        case UInt8(ascii: "{"): return .object
        case UInt8(ascii: "["): return .array
        case UInt8(ascii: "\""): return .string
        case UInt8(ascii: "n"): return .null
        case UInt8(ascii: "t"), UInt8(ascii: "f"): return .boolean
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return .number
        default: throw unexpected("a value")
        }
    }

    private mutating func skip(_ expected: Character) throws(InteropError) {
        guard byte == expected.asciiValue else { throw unexpected("\"\(expected)\"") }
        position += 1
    }

    private mutating func take(_ next: Character) -> Bool {
        guard byte == next.asciiValue else { return false }
        position += 1
        return true
    }

    private mutating func enter() throws(InteropError) {
        depth += 1
        if depth > JSONReader.maximumDepth {
            throw failure("values are nested deeper than \(JSONReader.maximumDepth) levels")
        }
    }

    /// Reads an object. `body` is called with each key and its offset and has to read the value.
    ///
    /// - Throws: ``InteropError/duplicateKey(file:offset:key:)`` if a key occurs twice.
    mutating func object(
        _ body: (inout JSONReader, _ key: String, _ keyOffset: Int) throws(InteropError) -> Void
    ) throws(InteropError) {
        try enter()
        try skip("{")
        skipWhitespace()
        // By their bytes: Swift's strings are equal where the file's are not (composed and decomposed letters).
        var keys: Set<StateKey> = []
        if !take("}") {
            repeat {
                skipWhitespace()
                let keyOffset = offset
                let key = try string()
                guard keys.insert(.text(key)).inserted else {
                    throw .duplicateKey(file: name, offset: keyOffset, key: key)
                }
                skipWhitespace()
                try skip(":")
                skipWhitespace()
                try body(&self, key, keyOffset)
                skipWhitespace()
            } while take(",")
            guard take("}") else { throw unexpected("\",\" or \"}\"") }
        }
        depth -= 1
    }

    /// Reads an array. `body` is called where each element begins and has to read it.
    mutating func array(_ body: (inout JSONReader) throws(InteropError) -> Void) throws(InteropError) {
        try enter()
        try skip("[")
        skipWhitespace()
        if !take("]") {
            repeat {
                skipWhitespace()
                try body(&self)
                skipWhitespace()
            } while take(",")
            guard take("]") else { throw unexpected("\",\" or \"]\"") }
        }
        depth -= 1
    }

    /// Reads a number.
    mutating func number() throws(InteropError) -> JSONNumber {
        let start = position
        _ = take("-")
        if !take("0") { try digits() }
        if take(".") { try digits() }
        if take("e") || take("E") {
            if !take("+") { _ = take("-") }
            try digits()
        }
        return JSONNumber(checked: String(decoding: bytes[start..<position], as: UTF8.self))
    }

    private mutating func digits() throws(InteropError) {
        let start = position
        while let byte, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) { position += 1 }
        if position == start { throw unexpected("a digit") }
    }

    private mutating func word(_ text: String) throws(InteropError) {
        guard bytes[position...].starts(with: text.utf8) else { throw unexpected("\"\(text)\"") }
        position += text.utf8.count
    }

    /// Reads any value, with everything in it.
    mutating func value() throws(InteropError) -> JSONValue {
        switch try kind() {
        case .null:
            try word("null")
            return .null
        case .boolean:
            let isTrue = byte == UInt8(ascii: "t")
            try word(isTrue ? "true" : "false")
            return .bool(isTrue)
        case .number: return .number(try number())
        case .string: return .string(try string())
        case .array:
            var elements: [JSONValue] = []
            try array { (reader) throws(InteropError) in elements.append(try reader.value()) }
            return .array(elements)
        case .object:
            var members: [JSONMember] = []
            try object { (reader, key, _) throws(InteropError) in members.append(JSONMember(key, try reader.value())) }
            return .object(members)
        }
    }

    /// Checks that nothing but white space follows.
    mutating func end() throws(InteropError) {
        skipWhitespace()
        if position < bytes.count { throw unexpected("the end") }
    }

    /// Reads a string.
    mutating func string() throws(InteropError) -> String {
        guard byte == UInt8(ascii: "\"") else { throw unexpected("a string") }
        let start = position
        position += 1
        var scanner = JSONStringScanner(bytes, at: position)
        do throws(JSONStringScanner.Failure) {
            let text = try scanner.string()
            position = scanner.position
            return text
        } catch {
            throw failure(error.problem, at: error.position ?? start)
        }
    }
}

extension JSONValue {
    /// The value that `bytes` are the text of.
    ///
    /// - Parameters:
    ///   - name: what messages call the text.
    ///   - allowsLeadingWhitespace: whether white space may stand before the value.
    /// - Throws: ``InteropError/invalidJSON(file:offset:problem:)``, ``InteropError/duplicateKey(file:offset:key:)``.
    package static func parse(
        _ bytes: [UInt8], name: String, allowsLeadingWhitespace: Bool = true
    ) throws(InteropError) -> JSONValue {
        var reader = JSONReader(bytes, name: name)
        if !allowsLeadingWhitespace {
            reader.skipWhitespace()
            if reader.position > 0 { throw reader.failure("white space before the value", at: 0) }
        }
        let value = try reader.value()
        try reader.end()
        return value
    }
}
