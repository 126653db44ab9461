/// A value as Python writes it in its source, without anything that would have to be calculated.
enum PythonLiteral: Equatable {
    case none
    case boolean(Bool)
    case integer(Int)
    case text(String)
    case tuple([PythonLiteral])
    case list([PythonLiteral])
    case dictionary([Entry])

    struct Entry: Equatable {
        let key: String
        /// Where the key is, in bytes.
        let offset: Int
        let value: PythonLiteral
    }
}

/// Reads a literal: dictionaries with texts as keys, tuples, lists, texts, integers, True, False and None.
struct PythonLiteralReader {
    private let bytes: [UInt8]
    private let isLatin1: Bool
    private let base: Int
    private var position = 0

    struct Failure: Error {
        let offset: Int
        let problem: String
    }

    private static let maximumDepth = 32

    /// - Parameters:
    ///   - base: the offset of the first byte in what messages speak of.
    ///   - isLatin1: whether each byte beyond ASCII is a character; otherwise the text is UTF-8.
    init(_ bytes: [UInt8], base: Int, isLatin1: Bool) {
        self.bytes = bytes
        self.base = base
        self.isLatin1 = isLatin1
    }

    /// The literal that all of the bytes are.
    static func read(_ bytes: [UInt8], base: Int, isLatin1: Bool) throws(Failure) -> PythonLiteral {
        var reader = PythonLiteralReader(bytes, base: base, isLatin1: isLatin1)
        let literal = try reader.value(depth: 0)
        reader.skipSpace()
        guard reader.position == bytes.count else { throw reader.fail("something is behind its end") }
        return literal
    }

    private func fail(_ problem: String) -> Failure { Failure(offset: base + position, problem: problem) }

    private var next: UInt8? { position < bytes.count ? bytes[position] : nil }

    /// Spaces, line ends and comments.
    private mutating func skipSpace() {
        while let byte = next {
            if byte == UInt8(ascii: "#") {
                while let byte = next, byte != 0x0a { position += 1 }
            } else if byte == 0x20 || (0x09...0x0d).contains(byte) {
                position += 1
            } else {
                return
            }
        }
    }

    private mutating func take(_ character: Character) -> Bool {
        skipSpace()
        guard next == character.asciiValue else { return false }
        position += 1
        return true
    }

    private mutating func value(depth: Int) throws(Failure) -> PythonLiteral {
        guard depth < PythonLiteralReader.maximumDepth else { throw fail("it is nested too deep") }
        if take("{") { return .dictionary(try entries(depth)) }
        if take("[") { return .list(try elements(until: "]", depth).elements) }
        if take("(") {
            let (elements, hasComma) = try elements(until: ")", depth)
            // Only a comma makes a tuple.
            return elements.count == 1 && !hasComma ? elements[0] : .tuple(elements)
        }
        switch next ?? 0 {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "+"): return .integer(try integer())
        case UInt8(ascii: "'"), UInt8(ascii: "\""): return .text(try text())
        default: break
        }
        let start = position
        while let byte = next, (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20) { position += 1 }
        let word = String(decoding: bytes[start..<position], as: UTF8.self)
        switch word {
        case "True": return .boolean(true)
        case "False": return .boolean(false)
        case "None": return .none
        case "u", "U", "r", "R": if next == UInt8(ascii: "'") || next == UInt8(ascii: "\"") { return .text(try text()) }
        default: break
        }
        position = start
        throw fail("a value is expected that needs no calculation")
    }

    private mutating func entries(_ depth: Int) throws(Failure) -> [PythonLiteral.Entry] {
        var entries: [PythonLiteral.Entry] = []
        while true {
            if take("}") { return entries }
            skipSpace()
            let offset = base + position
            guard case .text(let key) = try value(depth: depth + 1) else { throw fail("a key is no text") }
            guard take(":") else { throw fail("\":\" is expected") }
            entries.append(PythonLiteral.Entry(key: key, offset: offset, value: try value(depth: depth + 1)))
            if take(",") { continue }
            guard take("}") else { throw fail("\",\" or \"}\" is expected") }
            return entries
        }
    }

    private mutating func elements(
        until end: Character, _ depth: Int
    ) throws(Failure) -> (elements: [PythonLiteral], hasComma: Bool) {
        var elements: [PythonLiteral] = []
        var hasComma = false
        while true {
            if take(end) { return (elements, hasComma) }
            elements.append(try value(depth: depth + 1))
            if take(",") {
                hasComma = true
                continue
            }
            guard take(end) else { throw fail("\",\" or \"\(end)\" is expected") }
            return (elements, hasComma)
        }
    }

    private mutating func integer() throws(Failure) -> Int {
        let start = position
        let isNegative = next == UInt8(ascii: "-")
        if isNegative || next == UInt8(ascii: "+") { position += 1 }
        var value = 0
        let digits = position
        while let byte = next, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) {
            let (product, overflow) = value.multipliedReportingOverflow(by: 10)
            let (sum, overflowOfSum) = product.addingReportingOverflow(Int(byte - UInt8(ascii: "0")))
            guard !overflow, !overflowOfSum else {
                position = start
                throw fail("an integer is larger than 2^63 - 1")
            }
            value = sum
            position += 1
        }
        guard position > digits, !(bytes[digits] == UInt8(ascii: "0") && position > digits + 1) else {
            position = start
            throw fail("a number is no plain integer")
        }
        // Python 2 wrote long ones so.
        if next == UInt8(ascii: "L") { position += 1 }
        if let byte = next, byte == UInt8(ascii: ".") || (byte | 0x20 >= 0x61 && byte | 0x20 <= 0x7a) {
            position = start
            throw fail("a number is no plain integer")
        }
        return isNegative ? -value : value
    }

    private mutating func text() throws(Failure) -> String {
        let start = position
        let quote = bytes[position]
        position += 1
        var content: [UInt8] = []
        while let byte = next, byte != quote {
            position += 1
            guard byte != 0x0a else { break }
            guard byte == UInt8(ascii: "\\") else {
                content.append(byte)
                continue
            }
            guard let escape = next, escape == quote || escape == UInt8(ascii: "\\") else {
                throw fail("a text has an escape in it that no dtype needs")
            }
            content.append(escape)
            position += 1
        }
        guard next == quote else {
            position = start
            throw fail("a text has no end")
        }
        position += 1
        if isLatin1 {
            return PickleValue.latin1(content)
        }
        guard let text = String(validating: content, as: UTF8.self) else {
            position = start
            throw fail("a text is no UTF-8")
        }
        return text
    }
}
