import NNStore

/// The types of tensors that GGUF has. Source: ggml/include/ggml.h, gguf-py/gguf/constants.py.
enum GGUFTensorType {
    /// By ggml's number. Those of one element a block are what they are called; the others are blocks, which are kept as bytes.
    static let byNumber: [UInt32: DType] = [
        0: .f32, 1: .f16, 24: .i8, 25: .i16, 26: .i32, 27: .i64, 28: .f64, 30: .bf16,
        2: .opaque("Q4_0", 32, 18), 3: .opaque("Q4_1", 32, 20), 6: .opaque("Q5_0", 32, 22), 7: .opaque("Q5_1", 32, 24),
        8: .opaque("Q8_0", 32, 34), 9: .opaque("Q8_1", 32, 40), 20: .opaque("IQ4_NL", 32, 18),
        39: .opaque("MXFP4", 32, 17),
        40: .opaque("NVFP4", 64, 36), 42: .opaque("Q2_0", 64, 18), 41: .opaque("Q1_0", 128, 18),
        10: .opaque("Q2_K", 256, 84), 11: .opaque("Q3_K", 256, 110), 12: .opaque("Q4_K", 256, 144),
        13: .opaque("Q5_K", 256, 176), 14: .opaque("Q6_K", 256, 210), 15: .opaque("Q8_K", 256, 292),
        16: .opaque("IQ2_XXS", 256, 66), 17: .opaque("IQ2_XS", 256, 74), 18: .opaque("IQ3_XXS", 256, 98),
        19: .opaque("IQ1_S", 256, 50), 21: .opaque("IQ3_S", 256, 110), 22: .opaque("IQ2_S", 256, 82),
        23: .opaque("IQ4_XS", 256, 136), 29: .opaque("IQ1_M", 256, 56), 34: .opaque("TQ1_0", 256, 54),
        35: .opaque("TQ2_0", 256, 66),
    ]

    private static let numbers = Dictionary(uniqueKeysWithValues: byNumber.map { ($0.value, $0.key) })

    /// ggml's number of a dtype.
    static func number(of dtype: DType) -> UInt32? { numbers[dtype] }
}

/// The types of values that GGUF's metadata have.
enum GGUFValueType: UInt32 {
    case u8 = 0
    case i8 = 1
    case u16 = 2
    case i16 = 3
    case u32 = 4
    case i32 = 5
    case f32 = 6
    case bool = 7
    case string = 8
    case array = 9
    case u64 = 10
    case i64 = 11
    case f64 = 12

    /// What the value is here, if it is a number or a truth value.
    var dtype: DType? {
        switch self {
        case .u8: .u8
        case .i8: .i8
        case .u16: .u16
        case .i16: .i16
        case .u32: .u32
        case .i32: .i32
        case .f32: .f32
        case .bool: .bool
        case .u64: .u64
        case .i64: .i64
        case .f64: .f64
        case .string, .array: nil
        }
    }

    init?(_ dtype: DType) {
        let all: [GGUFValueType] = [.u8, .i8, .u16, .i16, .u32, .i32, .f32, .bool, .u64, .i64, .f64]
        guard let type = all.first(where: { $0.dtype == dtype }) else { return nil }
        self = type
    }
}
