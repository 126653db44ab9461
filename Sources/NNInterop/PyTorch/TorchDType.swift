import NNStore

/// A dtype as PyTorch names it. Sources: torch/csrc/utils/tensor_dtypes.cpp, torch/storage.py.
struct TorchDType: Sendable, Hashable {
    /// `float32`
    let name: String
    /// What its elements are here.
    let dtype: DType
    /// `FloatStorage`, if there is a class of storages for it.
    let storageClass: String?
    /// How many bytes are turned round in a file of the other byte order: those of a number, or of each of a complex one's two.
    let componentSize: Int

    /// How many elements a byte has; more than one in the quantised types that are packed.
    let elementsPerByte: Int

    private init(
        _ name: String, _ dtype: DType, _ storageClass: String? = nil, component: Int? = nil, elementsPerByte: Int = 1
    ) {
        self.name = name
        self.dtype = dtype
        self.storageClass = storageClass
        self.elementsPerByte = elementsPerByte
        componentSize = component ?? dtype.bytesPerBlock
    }

    /// A dtype whose elements no format but PyTorch's gives a meaning: kept as the bytes that they are.
    private init(_ name: String, opaque ours: StaticString, _ size: Int = 1, component: Int? = nil) {
        self.init(name, .opaque(ours, 1, size), component: component)
    }

    /// Those whose name is the first for their dtype come first: they are written.
    static let all: [TorchDType] =
        [
            TorchDType("float64", .f64, "DoubleStorage"), TorchDType("float32", .f32, "FloatStorage"),
            TorchDType("float16", .f16, "HalfStorage"), TorchDType("bfloat16", .bf16, "BFloat16Storage"),
            TorchDType("int64", .i64, "LongStorage"), TorchDType("int32", .i32, "IntStorage"),
            TorchDType("int16", .i16, "ShortStorage"), TorchDType("int8", .i8, "CharStorage"),
            TorchDType("uint8", .u8, "ByteStorage"), TorchDType("bool", .bool, "BoolStorage"),
            TorchDType("complex128", .c128, "ComplexDoubleStorage", component: 8),
            TorchDType("complex64", .c64, "ComplexFloatStorage", component: 4),
            TorchDType("uint16", .u16), TorchDType("uint32", .u32), TorchDType("uint64", .u64),
            TorchDType("float8_e5m2", .f8E5M2), TorchDType("float8_e4m3fn", .f8E4M3),
            TorchDType("float8_e5m2fnuz", .f8E5M2FNUZ), TorchDType("float8_e4m3fnuz", .f8E4M3FNUZ),
            TorchDType("float8_e8m0fnu", .f8E8M0), TorchDType("float4_e2m1fn_x2", .f4, component: 1),
            TorchDType("qint8", .i8, "QInt8Storage"), TorchDType("quint8", .u8, "QUInt8Storage"),
            TorchDType("qint32", .i32, "QInt32Storage"),
            TorchDType("quint4x2", .u8, "QUInt4x2Storage", elementsPerByte: 2),
            TorchDType("quint2x4", .u8, "QUInt2x4Storage", elementsPerByte: 4),
            TorchDType("complex32", opaque: "C32", 4, component: 2),
            TorchDType("bits8", opaque: "BITS8"), TorchDType("bits16", opaque: "BITS16", 2),
            TorchDType("bits1x8", opaque: "BITS1X8"), TorchDType("bits2x4", opaque: "BITS2X4"),
            TorchDType("bits4x2", opaque: "BITS4X2"),
            TorchDType("int1", opaque: "INT1"), TorchDType("uint1", opaque: "UINT1"),
            TorchDType("int2", opaque: "INT2"), TorchDType("uint2", opaque: "UINT2"),
            TorchDType("int3", opaque: "INT3"), TorchDType("uint3", opaque: "UINT3"),
            TorchDType("int4", opaque: "INT4"), TorchDType("uint4", opaque: "UINT4"),
            TorchDType("int5", opaque: "INT5"), TorchDType("uint5", opaque: "UINT5"),
            TorchDType("int6", opaque: "INT6"), TorchDType("uint6", opaque: "UINT6"),
            TorchDType("int7", opaque: "INT7"), TorchDType("uint7", opaque: "UINT7"),
        ]

    /// PyTorch's second names.
    private static let synonyms = [
        "double": "float64", "float": "float32", "half": "float16", "long": "int64", "int": "int32", "short": "int16",
        "cdouble": "complex128", "cfloat": "complex64", "chalf": "complex32",
    ]

    private static let byName = Dictionary(uniqueKeysWithValues: all.map { ($0.name, $0) })
    private static let byStorageClass = Dictionary(
        uniqueKeysWithValues: all.compactMap { dtype in dtype.storageClass.map { ($0, dtype) } })
    private static let byDType = Dictionary(all.map { ($0.dtype, $0) }, uniquingKeysWith: { first, _ in first })

    /// The dtype `torch.NAME`.
    init?(named name: String) {
        guard let dtype = TorchDType.byName[TorchDType.synonyms[name] ?? name] else { return nil }
        self = dtype
    }

    /// The dtype of the elements of a class of storages.
    init?(storageClass name: String) {
        guard let dtype = TorchDType.byStorageClass[name] else { return nil }
        self = dtype
    }

    /// The one in which PyTorch has elements of ours.
    init?(_ dtype: DType) {
        guard let found = TorchDType.byDType[dtype] else { return nil }
        self = found
    }

    /// How many bytes PyTorch counts as an element: two of the 4-bit floats make one.
    var elementSize: Int { dtype.bytesPerBlock }

    /// Whether the elements are real or complex numbers: they have a sign, and gradients.
    var isFloatingPoint: Bool { ["float", "complex", "bfloat"].contains { name.hasPrefix($0) } }
}
