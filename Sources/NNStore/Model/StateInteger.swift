/// An integer of any size, as Python has them.
public struct StateInteger: Sendable, Hashable {
    /// How the integer is held; each integer has just one form.
    enum Form: Sendable, Hashable {
        case signed(Int64)
        /// At least 2^63.
        case unsigned(UInt64)
        /// Two's complement, little-endian, as short as possible; neither of the other forms can hold it.
        case large([UInt8])
    }

    let form: Form

    private init(_ form: Form) { self.form = form }

    /// The integer `value`.
    public init(_ value: some FixedWidthInteger) {
        if let signed = Int64(exactly: value) {
            self.init(Form.signed(signed))
        } else if let unsigned = UInt64(exactly: value) {
            self.init(Form.unsigned(unsigned))
        } else {
            var bytes: [UInt8] = []
            var rest = value
            for _ in 0..<value.bitWidth / 8 {
                bytes.append(UInt8(truncatingIfNeeded: rest))
                rest >>= 8
            }
            // An unsigned type's highest bit is no sign.
            if value > 0 { bytes.append(0) }
            self.init(twosComplement: bytes)
        }
    }

    /// The integer whose two's complement form is `bytes`, little-endian; none is 0.
    public init(twosComplement bytes: [UInt8]) {
        var bytes = bytes
        while bytes.count > 1 {
            let sign: UInt8 = bytes[bytes.count - 2] & 0x80 == 0 ? 0 : 0xff
            guard bytes.last == sign else { break }
            bytes.removeLast()
        }
        let isNegative = (bytes.last ?? 0) & 0x80 != 0
        if bytes.count <= 8 {
            self.init(Form.signed(Int64(bitPattern: StateInteger.word(bytes, isNegative: isNegative))))
        } else if bytes.count == 9 && bytes[8] == 0 {
            self.init(Form.unsigned(StateInteger.word(bytes.dropLast(), isNegative: false)))
        } else {
            self.init(Form.large(bytes))
        }
    }

    private static func word(_ bytes: some BidirectionalCollection<UInt8>, isNegative: Bool) -> UInt64 {
        bytes.reversed().reduce(isNegative ? .max : 0) { $0 << 8 | UInt64($1) }
    }

    /// The integer, if it fits.
    public var int: Int? {
        if case .signed(let value) = form { Int(value) } else { nil }
    }

    /// The integer, if it fits 64 bits without a sign.
    public var unsigned: UInt64? {
        switch form {
        case .signed(let value): UInt64(exactly: value)
        case .unsigned(let value): value
        case .large: nil
        }
    }

    /// The two's complement form, little-endian, as short as possible.
    public var twosComplement: [UInt8] {
        var bytes: [UInt8] = []
        switch form {
        case .signed(let value): bytes.append(littleEndian: value)
        case .unsigned(let value):
            bytes.append(littleEndian: value)
            bytes.append(0)
        case .large(let value): bytes = value
        }
        while bytes.count > 1, bytes.last == (bytes[bytes.count - 2] & 0x80 == 0 ? 0 : 0xff) { bytes.removeLast() }
        return bytes
    }
}

extension StateInteger: CustomStringConvertible {
    /// Decimal digits; hexadecimal ones for integers of more than 1,000 bytes, where decimal ones would take long.
    public var description: String {
        switch form {
        case .signed(let value): return String(value)
        case .unsigned(let value): return String(value)
        case .large(let bytes):
            let isNegative = bytes.last! & 0x80 != 0
            let magnitude = isNegative ? StateInteger.negated(bytes) : bytes
            let digits = bytes.count > 1000 ? StateInteger.hexadecimal(magnitude) : StateInteger.decimal(magnitude)
            return (isNegative ? "-" : "") + digits
        }
    }

    private static func negated(_ bytes: [UInt8]) -> [UInt8] {
        var carry = true
        return bytes.map { byte in
            let inverted = ~byte
            defer { carry = carry && inverted == 0xff }
            return carry ? inverted &+ 1 : inverted
        }
    }

    private static func hexadecimal(_ magnitude: [UInt8]) -> String {
        "0x" + magnitude.reversed().map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }

    private static func decimal(_ magnitude: [UInt8]) -> String {
        // Base 10^9 digits, least significant first.
        var digits: [UInt64] = [0]
        for byte in magnitude.reversed() {
            var carry = UInt64(byte)
            for index in digits.indices {
                let value = digits[index] << 8 + carry
                digits[index] = value % 1_000_000_000
                carry = value / 1_000_000_000
            }
            if carry > 0 { digits.append(carry) }
        }
        return digits.dropLast().reversed().reduce(String(digits.last!)) { text, digit in
            let part = String(digit)
            return text + String(repeating: "0", count: 9 - part.count) + part
        }
    }
}

extension StateInteger {
    /// How many bytes the two's complement form has, about.
    package var byteCount: Int {
        switch form {
        case .signed, .unsigned: 9
        case .large(let bytes): bytes.count
        }
    }
}
