import NNStore

/// Numbers and texts as the first protocols have them: in letters.
enum PickleNumbers {
    /// Python refuses longer ones too, since reading them takes the square of their length (CVE-2020-10735).
    static let maximumDigits = 4300

    /// A decimal integer, perhaps with white space around it, a sign before and an `L` behind; `nil` if it is none.
    static func integer(_ line: [UInt8]) -> StateInteger? {
        var digits = line[...]
        while let last = digits.last, last == 0x20 || last == 0x0d || last == 0x09 { digits.removeLast() }
        if digits.last == UInt8(ascii: "L") { digits.removeLast() }
        while let first = digits.first, first == 0x20 || first == 0x09 { digits.removeFirst() }
        let isNegative = digits.first == UInt8(ascii: "-")
        if isNegative || digits.first == UInt8(ascii: "+") { digits.removeFirst() }
        guard !digits.isEmpty, digits.count <= maximumDigits else { return nil }
        // The magnitude in 32-bit words, least significant first.
        var words: [UInt32] = [0]
        for digit in digits {
            guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(digit) else { return nil }
            var carry = UInt64(digit - UInt8(ascii: "0"))
            for index in words.indices {
                carry += UInt64(words[index]) * 10
                words[index] = UInt32(truncatingIfNeeded: carry)
                carry >>= 32
            }
            if carry > 0 { words.append(UInt32(carry)) }
        }
        words.append(0)
        var bytes = words.flatMap { word in (0..<4).map { UInt8(truncatingIfNeeded: word >> (8 * $0)) } }
        if isNegative {
            var carry = true
            for index in bytes.indices {
                let (sum, overflow) = (~bytes[index]).addingReportingOverflow(carry ? 1 : 0)
                bytes[index] = sum
                carry = overflow
            }
        }
        return StateInteger(twosComplement: bytes)
    }

    /// A number as Python writes it (`1.5e-3`, `nan`, `-inf`).
    static func double(_ line: [UInt8]) -> Double? {
        guard line.count <= 400, line.allSatisfy({ $0 > 0x20 && $0 < 0x7f }) else { return nil }
        let text = String(decoding: line, as: UTF8.self).lowercased()
        // Swift reads hexadecimal ones too, which Python writes never.
        return text.contains("x") ? nil : Double(text)
    }

    /// A string literal of Python 2: in quotes, with escapes.
    static func quotedString(_ line: [UInt8]) -> [UInt8]? {
        guard let quote = line.first, quote == UInt8(ascii: "'") || quote == UInt8(ascii: "\""), line.count >= 2,
            line.last == quote
        else { return nil }
        let inside = line[1..<line.count - 1]
        var bytes: [UInt8] = []
        var position = inside.startIndex
        while position < inside.endIndex {
            let byte = inside[position]
            position += 1
            guard byte == UInt8(ascii: "\\") else {
                if byte == quote { return nil }
                bytes.append(byte)
                continue
            }
            guard position < inside.endIndex else { return nil }
            let escape = inside[position]
            position += 1
            switch escape {
            case UInt8(ascii: "n"): bytes.append(0x0a)
            case UInt8(ascii: "r"): bytes.append(0x0d)
            case UInt8(ascii: "t"): bytes.append(0x09)
            case UInt8(ascii: "\\"), UInt8(ascii: "'"), UInt8(ascii: "\""): bytes.append(escape)
            case UInt8(ascii: "x"):
                guard let code = hexadecimal(inside, &position, digits: 2) else { return nil }
                bytes.append(UInt8(code))
            default: return nil
            }
        }
        return bytes
    }

    /// A text in which characters beyond Latin-1 are escaped by `\u` with four hexadecimal digits, or `\U` with eight.
    static func rawUnicode(_ line: [UInt8]) -> String? {
        var text = String.UnicodeScalarView()
        var units: [UInt16] = []
        var position = 0
        func flush() -> Bool {
            // Pairs of surrogates stand for one character; lone ones for none.
            if units.isEmpty { return true }
            guard let decoded = String(validating: units, as: UTF16.self) else { return false }
            text.append(contentsOf: decoded.unicodeScalars)
            units = []
            return true
        }
        while position < line.count {
            let byte = line[position]
            position += 1
            let letter = position < line.count ? line[position] : 0
            guard byte == UInt8(ascii: "\\"), letter == UInt8(ascii: "u") || letter == UInt8(ascii: "U") else {
                guard flush() else { return nil }
                text.append(Unicode.Scalar(byte))
                continue
            }
            position += 1
            guard let code = hexadecimal(line[...], &position, digits: letter == UInt8(ascii: "u") ? 4 : 8) else {
                return nil
            }
            if let unit = UInt16(exactly: code) {
                units.append(unit)
            } else {
                guard flush(), let scalar = Unicode.Scalar(code) else { return nil }
                text.append(scalar)
            }
        }
        return flush() ? String(text) : nil
    }

    private static func hexadecimal(_ bytes: ArraySlice<UInt8>, _ position: inout Int, digits: Int) -> UInt32? {
        guard bytes.endIndex - position >= digits else { return nil }
        defer { position += digits }
        var code: UInt32 = 0
        for byte in bytes[position..<position + digits] {
            guard let digit = Character(Unicode.Scalar(byte)).hexDigitValue, byte < 0x80 else { return nil }
            code = code << 4 | UInt32(digit)
        }
        return code
    }
}
