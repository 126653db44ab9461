import NNStore

/// An element type as NumPy describes it: in the header of an array, or inside a pickle.
struct NumPyElement: Sendable, Hashable {
    /// What NumPy calls it (`f4`), for messages.
    let name: String
    let kind: Kind
    var isBigEndian = false

    enum Kind: Sendable, Hashable {
        case number(DType, componentSize: Int)
        /// UCS-4 texts of so many characters.
        case text(length: Int)
        /// Bytes that are texts.
        case bytes(length: Int)
        /// Bytes of which nothing is said: those of types that NumPy does not have, bfloat16 among them.
        case void(length: Int)
    }

    /// Those of the Python module ml_dtypes.
    static let extended: [String: DType] = [
        "bfloat16": .bf16, "float8_e4m3fn": .f8E4M3, "float8_e4m3fnuz": .f8E4M3FNUZ, "float8_e5m2": .f8E5M2,
        "float8_e5m2fnuz": .f8E5M2FNUZ, "float8_e8m0fnu": .f8E8M0,
    ]

    /// By NumPy's short name, the long one, the dtype and the size of what is turned round in the other byte order.
    private static let numbers: [(short: String, long: String, dtype: DType, componentSize: Int)] = [
        ("b1", "bool", .bool, 1), ("i1", "int8", .i8, 1), ("i2", "int16", .i16, 2), ("i4", "int32", .i32, 4),
        ("i8", "int64", .i64, 8), ("u1", "uint8", .u8, 1), ("u2", "uint16", .u16, 2), ("u4", "uint32", .u32, 4),
        ("u8", "uint64", .u64, 8), ("f2", "float16", .f16, 2), ("f4", "float32", .f32, 4), ("f8", "float64", .f64, 8),
        ("c8", "complex64", .c64, 4), ("c16", "complex128", .c128, 8),
    ]

    private static let byShortName = Dictionary(
        uniqueKeysWithValues: numbers.map { ($0.short, ($0.dtype, $0.componentSize)) })
    private static let byLongName = Dictionary(
        uniqueKeysWithValues: numbers.map { ($0.long, ($0.dtype, $0.componentSize)) })
    /// The letters and Python's names that NumPy takes as well.
    private static let synonyms = [
        "?": "b1", "float": "f8", "int": "i8", "complex": "c16", "half": "f2", "single": "f4", "double": "f8",
        "b": "i1",
        "B": "u1", "h": "i2", "H": "u2", "i": "i4", "I": "u4", "q": "i8", "Q": "u8", "e": "f2", "f": "f4", "d": "f8",
        "F": "c8", "D": "c16",
    ]

    /// A description such as `<f4`, `float32`, `U5` or `V2`; `nil` if it is none that is known.
    init?(describedBy text: String) {
        var rest = text[...]
        if let first = rest.utf8.first, "<>=|".utf8.contains(first) {
            isBigEndian = rest.first == ">"
            rest = rest.dropFirst()
        }
        name = String(rest)
        // A byte order stands before short names only.
        let long = rest.startIndex == text.startIndex ? NumPyElement.byLongName[name] : nil
        if let (dtype, size) = NumPyElement.byShortName[NumPyElement.synonyms[name] ?? name] ?? long {
            kind = .number(dtype, componentSize: size)
            return
        }
        guard let letter = rest.first, let length = Int(rest.dropFirst()), (0...(1 << 20)).contains(length) else {
            return nil
        }
        switch letter {
        case "U": kind = .text(length: length)
        case "S", "a": kind = .bytes(length: length)
        // Larger ones are no float that anybody saves so.
        case "V" where (1...2).contains(length): kind = .void(length: length)
        default: return nil
        }
    }

    /// One of ml_dtypes.
    init?(extended name: String) {
        guard let dtype = NumPyElement.extended[name] else { return nil }
        self.name = name
        kind = .number(dtype, componentSize: dtype.bytesPerBlock)
    }

    /// How NumPy describes a dtype in the header of an array that is written here; nothing if it has no such type.
    static func description(of dtype: DType) -> String? {
        if let number = numbers.first(where: { $0.dtype == dtype }) {
            return (dtype.bytesPerBlock == 1 ? "|" : "<") + number.short
        }
        // Types that NumPy has not are their bytes to it. bfloat16 as ml_dtypes writes it.
        if dtype == .bf16 { return "<V2" }
        if dtype.elementsPerBlock == 1, dtype.isKnown || dtype.name == "V\(dtype.bytesPerBlock)" {
            return "|V\(dtype.bytesPerBlock)"
        }
        return nil
    }

    /// The text of UCS-4 units, without zeros at its end.
    static func text(_ bytes: [UInt8]) -> String? {
        var text = String.UnicodeScalarView()
        for start in stride(from: 0, to: bytes.count - 3, by: 4) {
            let code = bytes[start..<start + 4].reversed().reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
            guard let scalar = Unicode.Scalar(code) else { return nil }
            text.append(scalar)
        }
        while text.last?.value == 0 { text.removeLast() }
        return String(text)
    }
}
