import NNStore

/// Reads the elements of the dtypes that the format knows as numbers.
public struct ElementValues: Sendable {
    private let width: Int
    private let decode: @Sendable (UInt64) -> Double
    /// Whether an integer dtype has negative values; `nil` for dtypes that are no integers.
    private let isSigned: Bool?
    /// Whether values are the magnitudes of complex numbers.
    public let isComplex: Bool

    /// A reader of a dtype's elements; `nil` for opaque block types, whose elements are not numbers to this library.
    public init?(_ dtype: DType) {
        guard let width = dtype.bitWidth else { return nil }
        self.width = width
        isSigned =
            switch dtype {
            case .i8, .i16, .i32, .i64: true
            case .u8, .u16, .u32, .u64, .bool: false
            default: nil
            }
        isComplex = dtype == .c64 || dtype == .c128
        switch dtype {
        case .f64: decode = { Double(bitPattern: $0) }
        case .f32: decode = { Double(Float(bitPattern: UInt32(truncatingIfNeeded: $0))) }
        case .f16: decode = { ElementValues.small($0, exponent: 5, mantissa: 10, bias: 15, specials: .ieee) }
        case .bf16: decode = { Double(Float(bitPattern: UInt32(truncatingIfNeeded: $0) << 16)) }
        case .f8E4M3: decode = { ElementValues.small($0, exponent: 4, mantissa: 3, bias: 7, specials: .allOnesIsNaN) }
        case .f8E5M2: decode = { ElementValues.small($0, exponent: 5, mantissa: 2, bias: 15, specials: .ieee) }
        case .f8E4M3FNUZ:
            decode = { ElementValues.small($0, exponent: 4, mantissa: 3, bias: 8, specials: .negativeZeroIsNaN) }
        case .f8E5M2FNUZ:
            decode = { ElementValues.small($0, exponent: 5, mantissa: 2, bias: 16, specials: .negativeZeroIsNaN) }
        case .f8E8M0: decode = { $0 == 255 ? .nan : Double(sign: .plus, exponent: Int($0) - 127, significand: 1) }
        case .f6E2M3: decode = { ElementValues.small($0, exponent: 2, mantissa: 3, bias: 1, specials: .none) }
        case .f6E3M2: decode = { ElementValues.small($0, exponent: 3, mantissa: 2, bias: 3, specials: .none) }
        case .f4: decode = { ElementValues.small($0, exponent: 2, mantissa: 1, bias: 1, specials: .none) }
        case .i64: decode = { Double(Int64(bitPattern: $0)) }
        case .i32: decode = { Double(Int32(truncatingIfNeeded: $0)) }
        case .i16: decode = { Double(Int16(truncatingIfNeeded: $0)) }
        case .i8: decode = { Double(Int8(truncatingIfNeeded: $0)) }
        case .u64, .u32, .u16, .u8, .bool: decode = { Double($0) }
        case .c64:
            decode = { bits in
                let real = Double(Float(bitPattern: UInt32(truncatingIfNeeded: bits)))
                let imaginary = Double(Float(bitPattern: UInt32(truncatingIfNeeded: bits >> 32)))
                return (real * real + imaginary * imaginary).squareRoot()
            }
        default: decode = { Double(bitPattern: $0) }
        }
    }

    /// How a small float format spends its largest exponent (OCP 8-bit and MX specifications, 2023).
    private enum Specials {
        case ieee, allOnesIsNaN, negativeZeroIsNaN, none
    }

    private static func small(_ bits: UInt64, exponent: Int, mantissa: Int, bias: Int, specials: Specials) -> Double {
        let isNegative = bits >> (exponent + mantissa) & 1 == 1
        let exponentBits = Int(bits >> mantissa) & (1 << exponent - 1)
        let fraction = Int(bits) & (1 << mantissa - 1)
        switch specials {
        case .ieee where exponentBits == 1 << exponent - 1:
            return fraction == 0 ? (isNegative ? -.infinity : .infinity) : .nan
        case .allOnesIsNaN where exponentBits == 1 << exponent - 1 && fraction == 1 << mantissa - 1: return .nan
        case .negativeZeroIsNaN where isNegative && exponentBits == 0 && fraction == 0: return .nan
        default: break
        }
        let significand = Double(fraction) / Double(1 << mantissa) + (exponentBits == 0 ? 0 : 1)
        let value = significand * Double(sign: .plus, exponent: max(1, exponentBits) - bias, significand: 1)
        return isNegative ? -value : value
    }

    /// Calls `body` with the value of each element of `bytes`, which hold whole blocks, in order.
    public func forEach(in bytes: RawSpan, _ body: (Double) -> Void) {
        if width >= 8 {
            let size = width / 8
            for start in stride(from: 0, to: bytes.byteCount - size + 1, by: size) {
                if size == 16 {
                    let real = Double(bitPattern: bytes.littleEndian(at: start))
                    let imaginary = Double(bitPattern: bytes.littleEndian(at: start + 8))
                    body((real * real + imaginary * imaginary).squareRoot())
                } else {
                    body(decode(ElementValues.word(bytes, at: start, size: size)))
                }
            }
            return
        }
        // Elements fill the bytes from the low bits up (spec section 6).
        let mask = UInt64(1) << width - 1
        let block = width == 4 ? 1 : 3
        for start in stride(from: 0, to: bytes.byteCount - block + 1, by: block) {
            var word = ElementValues.word(bytes, at: start, size: block)
            for _ in 0..<block * 8 / width {
                body(decode(word & mask))
                word >>= UInt64(width)
            }
        }
    }

    /// Calls `body` with the value of each element of `bytes`, which hold whole blocks, in order.
    package func forEach(in bytes: [UInt8], _ body: (Double) -> Void) { bytes.withRawSpan { forEach(in: $0, body) } }

    /// Calls `body` with the bits of each two elements at one place of `left` and `right` that have not the same bits.
    /// Both hold the same number of whole blocks, of a dtype that is not complex.
    func forEachDifference(_ left: RawSpan, _ right: RawSpan, _ body: (UInt64, UInt64) -> Void) {
        // Elements are little-endian and fill their bytes from the low bits up, so whole words can be compared first
        // and then taken apart. Only those of 6 bits do not fill words.
        let step = width == 6 ? 3 : 8
        let mask = width == 64 ? UInt64.max : UInt64(1) << width - 1
        for start in stride(from: 0, to: left.byteCount, by: step) {
            let size = min(step, left.byteCount - start)
            var first = ElementValues.word(left, at: start, size: size)
            var second = ElementValues.word(right, at: start, size: size)
            while first != second {
                if first & mask != second & mask { body(first & mask, second & mask) }
                if width == 64 { break }
                first >>= UInt64(width)
                second >>= UInt64(width)
            }
        }
    }

    /// The value of the element with these bits, of a dtype that is not complex.
    func value(_ bits: UInt64) -> Double { decode(bits) }

    /// The exact value of the element of an integer dtype or of `BOOL` with these bits, as sign and magnitude; `nil`
    /// for other dtypes.
    func integer(_ bits: UInt64) -> (isNegative: Bool, magnitude: UInt64)? {
        guard let isSigned else { return nil }
        if !isSigned { return (false, bits) }
        let shift = UInt64(64 - width)
        let value = Int64(bitPattern: bits << shift) >> Int64(shift)
        return (value < 0, value.magnitude)
    }

    /// The exact value of one element of an integer dtype or of `BOOL`; `nil` for other dtypes.
    package func integer(_ bytes: [UInt8]) -> Int128? {
        guard let isSigned else { return nil }
        let word = bytes.withRawSpan { ElementValues.word($0, at: 0, size: width / 8) }
        let shift = UInt64(64 - width)
        return isSigned ? Int128(Int64(bitPattern: word << shift) >> Int64(shift)) : Int128(word)
    }

    /// Real and imaginary part of one element of a complex dtype; `nil` for other dtypes.
    package func complex(_ bytes: [UInt8]) -> (real: Double, imaginary: Double)? {
        guard isComplex else { return nil }
        return bytes.withRawSpan { bytes in
            width == 64
                ? (
                    Double(Float(bitPattern: bytes.littleEndian(at: 0, as: UInt32.self))),
                    Double(Float(bitPattern: bytes.littleEndian(at: 4, as: UInt32.self)))
                )
                : (
                    Double(bitPattern: bytes.littleEndian(at: 0, as: UInt64.self)),
                    Double(bitPattern: bytes.littleEndian(at: 8, as: UInt64.self))
                )
        }
    }

    /// The least and the greatest element of an integer dtype; `nil` for other dtypes and without elements.
    package func integerRange(in bytes: RawSpan) -> ClosedRange<Int128>? {
        guard let isSigned, bytes.byteCount > 0 else { return nil }
        let size = width / 8
        let shift = UInt64(64 - width)
        if isSigned {
            var (least, greatest) = (Int64.max, Int64.min)
            for start in stride(from: 0, to: bytes.byteCount - size + 1, by: size) {
                let value = Int64(bitPattern: ElementValues.word(bytes, at: start, size: size) << shift) >> Int64(shift)
                (least, greatest) = (min(least, value), max(greatest, value))
            }
            return Int128(least)...Int128(greatest)
        }
        var (least, greatest) = (UInt64.max, UInt64.min)
        for start in stride(from: 0, to: bytes.byteCount - size + 1, by: size) {
            let value = ElementValues.word(bytes, at: start, size: size)
            (least, greatest) = (min(least, value), max(greatest, value))
        }
        return Int128(least)...Int128(greatest)
    }

    private static func word(_ bytes: RawSpan, at start: Int, size: Int) -> UInt64 {
        switch size {
        case 1: UInt64(bytes.littleEndian(at: start, as: UInt8.self))
        case 2: UInt64(bytes.littleEndian(at: start, as: UInt16.self))
        case 4: UInt64(bytes.littleEndian(at: start, as: UInt32.self))
        case 8: bytes.littleEndian(at: start, as: UInt64.self)
        default:
            (0..<size).reduce(0) { $0 | UInt64(bytes.littleEndian(at: start + $1, as: UInt8.self)) << (8 * UInt64($1)) }
        }
    }
}
