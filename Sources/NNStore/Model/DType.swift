/// The type of a tensor's elements: a name, and how many elements take how many bytes (spec section 6).
///
/// The names are those of safetensors. Any other name is an *opaque block type*, such as GGUF's `Q4_K`
/// (256 elements in 144 bytes): its blocks are stored and moved, never interpreted.
public struct DType: Sendable, Hashable {
    /// The name, as the format and safetensors have it.
    public let name: String
    /// How many elements a block has; 1 for all types whose elements are whole bytes.
    public let elementsPerBlock: Int
    /// How many bytes a block has.
    public let bytesPerBlock: Int

    private init(known name: String, _ elements: Int, _ bytes: Int) {
        self.name = name
        elementsPerBlock = elements
        bytesPerBlock = bytes
    }

    /// A dtype by its name and figures, known or opaque.
    ///
    /// - Throws: ``StoreError/invalidArgument(reason:)`` if the name is one that the format knows with other figures,
    ///   or if name or figures are outside the format's limits.
    public init(name: String, elementsPerBlock: Int, bytesPerBlock: Int) throws(StoreError) {
        if let known = DType.known[name] {
            guard known.elementsPerBlock == elementsPerBlock, known.bytesPerBlock == bytesPerBlock else {
                throw .invalidArgument(
                    reason: "dtype \(name) has \(known.elementsPerBlock) elements in \(known.bytesPerBlock) bytes, "
                        + "not \(elementsPerBlock) in \(bytesPerBlock)")
            }
            self = known
            return
        }
        guard (1...64).contains(name.utf8.count), name.utf8.allSatisfy(DType.isNameByte) else {
            throw .invalidArgument(
                reason: "\"\(name)\" is no name for a dtype: 1 to 64 letters, digits, \"_\", \".\" or \"-\" are")
        }
        guard (1...65_536).contains(elementsPerBlock), (1...1_048_576).contains(bytesPerBlock) else {
            throw .invalidArgument(
                reason: "dtype \(name) with \(elementsPerBlock) elements in \(bytesPerBlock) bytes is outside the "
                    + "limits of 65,536 elements and 1,048,576 bytes a block")
        }
        self.init(known: name, elementsPerBlock, bytesPerBlock)
    }

    /// An opaque block type of another format's, whose name and figures are known to be within the limits and no dtype's of the format.
    package static func opaque(_ name: StaticString, _ elementsPerBlock: Int, _ bytesPerBlock: Int) -> DType {
        DType(known: name.description, elementsPerBlock, bytesPerBlock)
    }

    /// The dtype that the format knows under this name, if there is one.
    public init?(named name: String) {
        guard let known = DType.known[name] else { return nil }
        self = known
    }

    private static func isNameByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "."), UInt8(ascii: "-"):
            true
        default: false
        }
    }
}

extension DType {
    /// IEEE 754 binary64.
    public static let f64 = DType(known: "F64", 1, 8)
    /// IEEE 754 binary32.
    public static let f32 = DType(known: "F32", 1, 4)
    /// IEEE 754 binary16.
    public static let f16 = DType(known: "F16", 1, 2)
    /// The upper half of a binary32.
    public static let bf16 = DType(known: "BF16", 1, 2)
    /// 8-bit float, OCP E4M3.
    public static let f8E4M3 = DType(known: "F8_E4M3", 1, 1)
    /// 8-bit float, OCP E5M2.
    public static let f8E5M2 = DType(known: "F8_E5M2", 1, 1)
    /// 8-bit float E4M3 with one zero and one NaN.
    public static let f8E4M3FNUZ = DType(known: "F8_E4M3FNUZ", 1, 1)
    /// 8-bit float E5M2 with one zero and one NaN.
    public static let f8E5M2FNUZ = DType(known: "F8_E5M2FNUZ", 1, 1)
    /// 8-bit power of two, OCP MX.
    public static let f8E8M0 = DType(known: "F8_E8M0", 1, 1)
    /// 6-bit float, OCP MX, four in three bytes.
    public static let f6E2M3 = DType(known: "F6_E2M3", 4, 3)
    /// 6-bit float, OCP MX, four in three bytes.
    public static let f6E3M2 = DType(known: "F6_E3M2", 4, 3)
    /// 4-bit float, OCP MX E2M1, two in a byte.
    public static let f4 = DType(known: "F4", 2, 1)
    /// Signed 8-bit integer.
    public static let i8 = DType(known: "I8", 1, 1)
    /// Signed 16-bit integer.
    public static let i16 = DType(known: "I16", 1, 2)
    /// Signed 32-bit integer.
    public static let i32 = DType(known: "I32", 1, 4)
    /// Signed 64-bit integer.
    public static let i64 = DType(known: "I64", 1, 8)
    /// Unsigned 8-bit integer.
    public static let u8 = DType(known: "U8", 1, 1)
    /// Unsigned 16-bit integer.
    public static let u16 = DType(known: "U16", 1, 2)
    /// Unsigned 32-bit integer.
    public static let u32 = DType(known: "U32", 1, 4)
    /// Unsigned 64-bit integer.
    public static let u64 = DType(known: "U64", 1, 8)
    /// A byte that is 0 or 1.
    public static let bool = DType(known: "BOOL", 1, 1)
    /// Real and imaginary part, each binary32.
    public static let c64 = DType(known: "C64", 1, 8)
    /// Real and imaginary part, each binary64.
    public static let c128 = DType(known: "C128", 1, 16)

    /// All dtypes that the format knows by name.
    public static let all: [DType] = [
        f64, f32, f16, bf16, f8E4M3, f8E5M2, f8E4M3FNUZ, f8E5M2FNUZ, f8E8M0, f6E2M3, f6E3M2, f4,
        i8, i16, i32, i64, u8, u16, u32, u64, bool, c64, c128,
    ]

    private static let known = Dictionary(uniqueKeysWithValues: all.map { ($0.name, $0) })

    /// Whether the format gives the dtype's elements a meaning, so that they can be read as numbers.
    public var isKnown: Bool { DType.known[name] != nil }

    /// The size of one element in bits, for the dtypes that the format knows; `nil` for opaque block types.
    public var bitWidth: Int? {
        isKnown ? bytesPerBlock * 8 / elementsPerBlock : nil
    }
}

extension DType: CustomStringConvertible {
    /// The name.
    public var description: String { name }
}
