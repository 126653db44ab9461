/// Writes JSON: members in order, nothing escaped that need not be, as the safetensors reference does.
package struct JSONWriter {
    /// What was written so far.
    package private(set) var bytes: [UInt8] = []
    private let isPretty: Bool
    private var level = 0

    /// - Parameter isPretty: whether members and elements stand on lines of their own, indented by two spaces.
    package init(isPretty: Bool = false) { self.isPretty = isPretty }

    /// Appends a value.
    package mutating func append(_ value: JSONValue) {
        switch value {
        case .null: append("null")
        case .bool(let value): append(value ? "true" : "false")
        case .number(let number): append(number.text)
        case .string(let text): append(string: text)
        case .array(let elements):
            // Shapes and the like are easier to read on one line.
            let isFlat = elements.allSatisfy { if case .number = $0 { true } else { false } }
            append(elements, "[", "]", isFlat: isFlat) { $0.append($1) }
        case .object(let members):
            append(members, "{", "}", isFlat: members.isEmpty) { writer, member in
                writer.append(string: member.key)
                writer.append(writer.isPretty ? ": " : ":")
                writer.append(member.value)
            }
        }
    }

    private mutating func append<Item>(
        _ items: [Item], _ opening: String, _ closing: String, isFlat: Bool, _ body: (inout JSONWriter, Item) -> Void
    ) {
        append(opening)
        level += 1
        for (number, item) in items.enumerated() {
            if number > 0 { append(isPretty && isFlat ? ", " : ",") }
            if !isFlat { breakLine() }
            body(&self, item)
        }
        level -= 1
        if !isFlat { breakLine() }
        append(closing)
    }

    private mutating func breakLine() {
        if isPretty { append("\n" + String(repeating: "  ", count: level)) }
    }

    package mutating func append(_ text: String) { bytes.append(contentsOf: text.utf8) }

    /// Appends a string in quotes.
    package mutating func append(string: String) {
        bytes.append(UInt8(ascii: "\""))
        for byte in string.utf8 {
            switch byte {
            case UInt8(ascii: "\""): append("\\\"")
            case UInt8(ascii: "\\"): append("\\\\")
            case 0x08: append("\\b")
            case 0x09: append("\\t")
            case 0x0a: append("\\n")
            case 0x0c: append("\\f")
            case 0x0d: append("\\r")
            case ..<0x20: append("\\u00" + (byte < 0x10 ? "0" : "") + String(byte, radix: 16))
            default: bytes.append(byte)
            }
        }
        bytes.append(UInt8(ascii: "\""))
    }
}

extension JSONValue {
    /// The value's text.
    ///
    /// - Parameter isPretty: whether members and elements stand on lines of their own.
    package func text(isPretty: Bool = false) -> String {
        var writer = JSONWriter(isPretty: isPretty)
        writer.append(self)
        return String(decoding: writer.bytes, as: UTF8.self)
    }
}
