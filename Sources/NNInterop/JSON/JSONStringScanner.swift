/// Reads the inside of a JSON string: escapes undone, UTF-8 checked.
struct JSONStringScanner {
    struct Failure: Error {
        let problem: String
        /// Where, or where the string begins if `nil`.
        let position: Int?
    }

    private let bytes: [UInt8]
    private(set) var position: Int

    /// Begins behind the opening quote.
    init(_ bytes: [UInt8], at position: Int) {
        self.bytes = bytes
        self.position = position
    }

    /// Reads up to the closing quote and steps behind it.
    mutating func string() throws(Failure) -> String {
        var plain = position
        var text = ""
        while position < bytes.count {
            switch bytes[position] {
            case UInt8(ascii: "\""):
                try append(plain..<position, to: &text)
                position += 1
                return text
            case UInt8(ascii: "\\"):
                try append(plain..<position, to: &text)
                text.unicodeScalars.append(try escape())
                plain = position
            case ..<0x20:
                throw Failure(
                    problem: "byte 0x\(String(bytes[position], radix: 16)) in a string, which has to be escaped",
                    position: position)
            default: position += 1
            }
        }
        throw Failure(problem: "a string without an end begins here", position: nil)
    }

    private func append(_ range: Range<Int>, to text: inout String) throws(Failure) {
        if range.isEmpty { return }
        let part: UTF8Span
        do throws(UTF8.ValidationError) {
            part = try UTF8Span(validating: bytes.span.extracting(range))
        } catch {
            throw Failure(problem: "invalid UTF-8", position: range.lowerBound + error.byteOffsets.lowerBound)
        }
        text += String(copying: part)
    }

    private mutating func escape() throws(Failure) -> Unicode.Scalar {
        let start = position
        position += 1
        let letter = position < bytes.count ? bytes[position] : 0
        position += 1
        switch letter {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return Unicode.Scalar(letter)
        case UInt8(ascii: "b"): return "\u{8}"
        case UInt8(ascii: "f"): return "\u{c}"
        case UInt8(ascii: "n"): return "\n"
        case UInt8(ascii: "r"): return "\r"
        case UInt8(ascii: "t"): return "\t"
        case UInt8(ascii: "u"): return try unicodeEscape(from: start)
        default: throw Failure(problem: "an escape that JSON does not have", position: start)
        }
    }

    private mutating func unicodeEscape(from start: Int) throws(Failure) -> Unicode.Scalar {
        let unit = try hexadecimal(from: start)
        if let scalar = Unicode.Scalar(unit) { return scalar }
        let low: UInt32? =
            if (0xd800..<0xdc00).contains(unit),
                bytes[position...].starts(with: [UInt8(ascii: "\\"), UInt8(ascii: "u")])
            {
                try { () throws(Failure) in
                    position += 2
                    return try hexadecimal(from: start)
                }()
            } else { nil }
        guard let low, (0xdc00..<0xe000).contains(low),
            let scalar = Unicode.Scalar(0x10000 + (unit - 0xd800) << 10 + (low - 0xdc00))
        else { throw Failure(problem: "an escape that is half of a surrogate pair", position: start) }
        return scalar
    }

    private mutating func hexadecimal(from start: Int) throws(Failure) -> UInt32 {
        guard position + 4 <= bytes.count else {
            throw Failure(problem: "an escape without four hexadecimal digits", position: start)
        }
        var value: UInt32 = 0
        for byte in bytes[position..<position + 4] {
            guard let digit = Character(Unicode.Scalar(byte)).hexDigitValue else {
                throw Failure(problem: "an escape without four hexadecimal digits", position: start)
            }
            value = value << 4 | UInt32(digit)
        }
        position += 4
        return value
    }
}
