import NNStore

/// An element type as NumPy describes it inside a pickle.
struct NumPyElement: Sendable {
    /// What NumPy calls it (`f4`), for messages.
    let name: String
    let kind: Kind
    var isBigEndian = false

    enum Kind: Sendable, Hashable {
        case number(DType, componentSize: Int)
        /// UCS-4 texts of so many characters.
        case text(length: Int)
        /// Bytes.
        case bytes(length: Int)
    }

    /// Those of the Python module ml_dtypes.
    static let extended: [String: DType] = [
        "bfloat16": .bf16, "float8_e4m3fn": .f8E4M3, "float8_e4m3fnuz": .f8E4M3FNUZ, "float8_e5m2": .f8E5M2,
        "float8_e5m2fnuz": .f8E5M2FNUZ, "float8_e8m0fnu": .f8E8M0,
    ]

    private static let numbers: [String: (DType, Int)] = [
        "b1": (.bool, 1), "i1": (.i8, 1), "i2": (.i16, 2), "i4": (.i32, 4), "i8": (.i64, 8), "u1": (.u8, 1),
        "u2": (.u16, 2), "u4": (.u32, 4), "u8": (.u64, 8), "f2": (.f16, 2), "f4": (.f32, 4), "f8": (.f64, 8),
        "c8": (.c64, 4), "c16": (.c128, 8),
    ]

    /// A description such as `f4`, `U5` or `S3`, with or without a byte order before it.
    init?(describedBy text: String) {
        var rest = text[...]
        if let first = rest.first, "<>=|".contains(first) {
            isBigEndian = first == ">"
            rest = rest.dropFirst()
        }
        name = String(rest)
        if let (dtype, size) = NumPyElement.numbers[name] {
            kind = .number(dtype, componentSize: size)
        } else if let letter = rest.first, let length = Int(rest.dropFirst()), (0...(1 << 24)).contains(length) {
            switch letter {
            case "U": kind = .text(length: length)
            case "S", "a": kind = .bytes(length: length)
            default: return nil
            }
        } else {
            return nil
        }
    }

    /// One of ml_dtypes.
    init?(extended name: String) {
        guard let dtype = NumPyElement.extended[name] else { return nil }
        self.name = name
        kind = .number(dtype, componentSize: dtype.bytesPerBlock)
    }
}
