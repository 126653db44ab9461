import NNStore

/// Reads the elements of the dtypes that the format knows as numbers.
public struct ElementValues: Sendable {
    private let width: Int
    private let decode: @Sendable (UInt64) -> Double
    /// Whether values are the magnitudes of complex numbers.
    public let isComplex: Bool

    /// A reader of a dtype's elements; `nil` for opaque block types, whose elements are not numbers to this library.
    public init?(_ dtype: DType) {
        guard let width = dtype.bitWidth else { return nil }
        self.width = width
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
