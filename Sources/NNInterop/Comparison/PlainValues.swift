import NNStore

/// Compares leaves that are no tensors, and shows where they differ.
enum PlainValues {
    /// How much of a value is shown.
    private static let shown = 60
    /// How much of that stands before the place where two values differ.
    private static let lead = 20

    /// Short texts of two values in which the difference can be seen; `nil` if they are equal, bit for bit.
    static func difference(_ first: StateTree, _ second: StateTree) -> (String, String)? {
        switch (first, second) {
        case (.string(let first), .string(let second)): return strings(first, second)
        case (.bytes(let first), .bytes(let second)): return bytes(first, second)
        case (.array(let first), .array(let second)) where first.dtype == second.dtype: return arrays(first, second)
        case (.strings(let first), .strings(let second)):
            let place = zip(first, second).enumerated().first { strings($1.0, $1.1) != nil }?.offset
            guard let place = place ?? (first.count == second.count ? nil : min(first.count, second.count)) else {
                return nil
            }
            func item(_ strings: [String]) -> String? { strings.indices.contains(place) ? strings[place] : nil }
            let texts =
                if let one = item(first), let other = item(second) {
                    self.strings(one, other) ?? (short(.string(one)), short(.string(other)))
                } else {
                    (
                        item(first).map { short(.string($0)) } ?? "none",
                        item(second).map { short(.string($0)) } ?? "none"
                    )
                }
            return ("[\(place)] \(texts.0) of \(first.count)", "[\(place)] \(texts.1) of \(second.count)")
        case (.double(let first), .double(let second)):
            if first.bitPattern == second.bitPattern { return nil }
            func text(_ value: Double) -> String {
                // There are many NaN, which differ in their bits.
                value.isNaN ? "NaN (\(String(value.bitPattern, radix: 16)))" : value.description
            }
            return (text(first), text(second))
        case (.null, .null): return nil
        case (.boolean(let one), .boolean(let other)) where one == other: return nil
        case (.integer(let one), .integer(let other)) where one == other: return nil
        case (.scalar(let one), .scalar(let other)) where one == other: return nil
        default: return (short(first), short(second))
        }
    }

    /// A value in a few words.
    private static func short(_ value: StateTree) -> String {
        switch value {
        case .string(let text): excerpt(Array(text.unicodeScalars), around: 0)
        case .bytes(let bytes): excerpt(bytes, around: 0)
        case .scalar(let value): element(value, 0) + " (\(value.dtype))"
        case .array(let values): "array of \(values.count) \(values.dtype)"
        case .strings(let strings): "\(strings.count) strings"
        case .integer(let value): cut(value.description)
        case .double(let value): value.isNaN ? "NaN" : value.description
        default: (try? JSONValue(value)).map { $0.text() } ?? value.kindName
        }
    }

    private static func cut(_ text: String) -> String {
        text.utf8.count <= shown ? text : text.prefix(shown - 3) + "..."
    }

    private static func strings(_ first: String, _ second: String) -> (String, String)? {
        if first.utf8.elementsEqual(second.utf8) { return nil }
        let (one, other) = (Array(first.unicodeScalars), Array(second.unicodeScalars))
        let place = firstDifference(one, other)
        return (excerpt(one, around: place), excerpt(other, around: place))
    }

    private static func bytes(_ first: [UInt8], _ second: [UInt8]) -> (String, String)? {
        if first == second { return nil }
        let place = firstDifference(first, second)
        return (excerpt(first, around: place), excerpt(second, around: place))
    }

    private static func arrays(_ first: TypedValue, _ second: TypedValue) -> (String, String)? {
        if first.bytes == second.bytes { return nil }
        let place = firstDifference(first.bytes, second.bytes) / first.dtype.bytesPerBlock
        func text(_ values: TypedValue) -> String {
            "[\(place)] \(place < values.count ? element(values, place) : "none") of \(values.count)"
        }
        return (text(first), text(second))
    }

    private static func firstDifference<Item: Equatable>(_ first: [Item], _ second: [Item]) -> Int {
        zip(first, second).enumerated().first { $1.0 != $1.1 }?.offset ?? min(first.count, second.count)
    }

    private static func element(_ values: TypedValue, _ place: Int) -> String {
        let size = values.dtype.bytesPerBlock
        let bytes = Array(values.bytes.dropFirst(place * size).prefix(size))
        guard let value = try? TypedValue(values.dtype, bytes: bytes), let json = try? JSONValue(.scalar(value)) else {
            return hexadecimal(bytes)
        }
        return json.text()
    }

    /// A text in quotes; of a long one the stretch around `place`.
    private static func excerpt(_ text: [Unicode.Scalar], around place: Int) -> String {
        let range = stretch(text.count, around: place, shown)
        var view = String.UnicodeScalarView()
        view.append(contentsOf: text[range])
        return (range.lowerBound > 0 ? "..." : "") + "\"\(String(view))\""
            + (range.upperBound < text.count ? "..." : "")
    }

    /// The number of bytes, and those around `place`.
    private static func excerpt(_ bytes: [UInt8], around place: Int) -> String {
        let range = stretch(bytes.count, around: place, shown / 2)
        let digits =
            (range.lowerBound > 0 ? "..." : "") + hexadecimal(Array(bytes[range]))
            + (range.upperBound < bytes.count ? "..." : "")
        return "\(bytes.count) bytes\(bytes.isEmpty ? "" : " \(digits)")"
    }

    private static func stretch(_ count: Int, around place: Int, _ shown: Int) -> Range<Int> {
        if count <= shown { return 0..<count }
        let start = min(max(0, place - lead), count - 1)
        return start..<min(count, start + shown)
    }
}
