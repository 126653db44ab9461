/// A JSON value that keeps what the text said: the order of an object's members and the digits of a number.
///
/// Foundation's parser can't serve here: it drops the order of keys, lets the last of two equal keys win in silence,
/// and turns numbers into doubles. The order is the order of tensors, two equal keys are a file that two readers
/// understand differently, and offsets go beyond 2^53.
package indirect enum JSONValue: Sendable, Hashable {
    /// `null`
    case null
    /// `true` or `false`
    case bool(Bool)
    /// A number.
    case number(JSONNumber)
    /// A string.
    case string(String)
    /// An array.
    case array([JSONValue])
    /// An object, its members in order.
    case object([JSONMember])

    /// A number that is an integer.
    package static func integer(_ value: Int) -> JSONValue { .number(JSONNumber(value)) }

    /// An object with these members in order.
    package static func object(_ members: KeyValuePairs<String, JSONValue>) -> JSONValue {
        .object(members.map { JSONMember($0.key, $0.value) })
    }

    /// What messages call it.
    package var kind: String {
        switch self {
        case .null: "null"
        case .bool: "a boolean"
        case .number: "a number"
        case .string: "a string"
        case .array: "an array"
        case .object: "an object"
        }
    }
}

/// A member of a JSON object.
package struct JSONMember: Sendable, Hashable {
    /// The key.
    package let key: String
    /// The value.
    package let value: JSONValue

    /// The member `key: value`.
    package init(_ key: String, _ value: JSONValue) {
        self.key = key
        self.value = value
    }
}

/// A JSON number, kept as the text it was.
package struct JSONNumber: Sendable, Hashable {
    /// The text, valid by JSON's grammar.
    package let text: String

    init(checked text: String) { self.text = text }

    /// An integer.
    package init(_ value: some BinaryInteger) { text = String(value) }

    /// The integer, if the text is one (no fraction, no exponent, not `-0`) and it fits: never rounded.
    package var integer: Int? {
        // Int accepts a plus sign, which the grammar has excluded; it takes no fraction and no exponent.
        text == "-0" ? nil : Int(text)
    }

    /// The nearest double.
    package var double: Double? { Double(text) }
}
