import NNStore

extension TypedValue {
    /// The elements as plain values: booleans, integers and doubles, of complex numbers their two parts; as bytes where a dtype is seldom outside tensors.
    var plainElements: [StateTree] {
        let size = dtype.bytesPerBlock
        return stride(from: 0, to: bytes.count, by: size).map { start in
            let element = bytes[start..<start + size]
            // All that are numbers have at most 8 bytes.
            let bits = element.prefix(8).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
            return switch dtype {
            case .bool: .boolean(bits != 0)
            case .u8, .u16, .u32, .u64: .integer(StateInteger(bits))
            case .i8: .integer(Int(Int8(truncatingIfNeeded: bits)))
            case .i16: .integer(Int(Int16(truncatingIfNeeded: bits)))
            case .i32: .integer(Int(Int32(truncatingIfNeeded: bits)))
            case .i64: .integer(StateInteger(Int64(bitPattern: bits)))
            case .f64: .double(Double(bitPattern: bits))
            case .f32: .double(Double(Float(bitPattern: UInt32(bits))))
            case .bf16: .double(Double(Float(bitPattern: UInt32(bits) << 16)))
            case .f16: .double(Double(half(UInt16(bits))))
            case .c64, .c128: .list(complexParts(Array(element)))
            default: .bytes(Array(element))
            }
        }
    }

    /// Real and imaginary part of a complex number.
    private func complexParts(_ bytes: [UInt8]) -> [StateTree] {
        let half = bytes.count / 2
        return [bytes[..<half], bytes[half...]].map { part in
            let bits = part.reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
            return .double(half == 8 ? Double(bitPattern: bits) : Double(Float(bitPattern: UInt32(bits))))
        }
    }
}
