import NNInterop
import NNStore

/// Prints one JSON object to standard output.
enum JSONOutput {
    static func print(_ members: KeyValuePairs<String, JSONValue>) { print(.object(members)) }

    static func print(_ value: JSONValue) {
        var writer = JSONWriter(isPretty: true)
        writer.append(value)
        Terminal.print(String(decoding: writer.bytes, as: UTF8.self))
    }

    /// A text or null.
    static func text(_ text: String?) -> JSONValue { text.map { .string($0) } ?? .null }

    /// An integer or null.
    static func integer(_ value: Int?) -> JSONValue { value.map { .integer($0) } ?? .null }

    /// A number; NaN and infinities as texts; null if there is none.
    static func number(_ value: Double?) -> JSONValue { value.map { JSONValue($0) } ?? .null }
}

extension CheckpointFile {
    /// The metadata for a person or another tool: without the library's own entries.
    func visibleMetadata() throws -> StateDictionary {
        guard case .dictionary(let entries) = try metadata() else { return StateDictionary() }
        return entries.withoutLibraryEntries
    }
}
