@testable import NNStore

/// The trees that the golden containers under `spec/vectors` were made from.
enum GoldenTrees {
    /// Bytes that are easy to write down and hard to compress.
    static func bytes(_ count: Int, seed: UInt64) -> [UInt8] {
        var generator = SeededGenerator(seed: seed)
        return generator.bytes(count)
    }

    /// Every kind of node, in both trees' reach.
    static func kinds() throws -> StateTree {
        let tensor = try StateTensor([Float(1.5), -2], shape: [2], requiresGrad: true)
        let nan = Double(bitPattern: 0x7ff8_0000_dead_beef)
        return .dictionary(
            StateDictionary(keyed: [
                ("dictionary", .dictionary([("k", 1)], tag: "collections.OrderedDict")), ("emptyDictionary", [:]),
                ("list", .list([1, 2], tag: nil)), ("tuple", .tuple([3, .tuple([])], tag: "torch.Size")),
                ("record", .record(type: "builtins.set", StateDictionary(keyed: [(0, "a"), (1, "b")]))),
                ("tensor", .tensor(StateTensor(tagged: tensor, "torch.nn.parameter.Parameter"))), ("null", nil),
                ("true", true), ("false", false), ("integer", 42), ("least", .integer(StateInteger(Int64.min))),
                ("unsigned", .integer(StateInteger(UInt64.max))),
                ("larger", .integer(StateInteger(twosComplement: [UInt8](repeating: 0, count: 20) + [0x80, 0]))),
                ("smaller", .integer(StateInteger(Int128(Int64.min) - 1))), ("double", 0.1), ("nan", .double(nan)),
                ("negativeZero", .double(-0.0)), ("infinity", .double(.infinity)), ("string", "naïve ✓"),
                ("stringWithNull", "a\0b"), ("emptyString", ""),
                ("longString", .string(String(repeating: "0123456789", count: 60))),
                ("bytes", .bytes([0, 1, 255])), ("noBytes", .bytes([])), ("longBytes", .bytes(bytes(5000, seed: 1))),
                ("scalar", .scalar(try TypedValue(.bf16, bytes: [0x80, 0x3f]))),
                ("array", .array(try TypedValue(.i32, bytes: [1, 0, 0, 0, 255, 255, 255, 255]))),
                ("strings", .strings(["<s>", "", "ü"])), ("noStrings", .strings([])), (7, "integer key"),
                ("7", "text key"),
                (-1, "negative key"), ("", "empty key"), ("a.b", "key with a dot"), ("e\u{301}", "decomposed"),
                ("é", "composed"),
            ]))
    }

    static func metadata() throws -> StateTree {
        [
            "format": "pt", "epoch": 3, "learningRate": 1e-3, "nested": ["tags": ["a", "b"], "none": nil],
            "nnck.modules": ["": ["type": "Model", "version": 1], "layer": ["type": "Linear", "version": 2]],
        ]
    }

    /// A tensor of every dtype that the format knows, and of an opaque one.
    static func dtypes() throws -> StateTree {
        var entries: [(String, StateTree)] = []
        for (number, dtype) in DType.all.enumerated() {
            let shape = [3, 2 * dtype.elementsPerBlock]
            let layout = try TensorLayout(dtype, shape: shape)
            var content = bytes(layout.byteCount, seed: UInt64(number))
            if dtype == .bool { content = content.map { $0 & 1 } }
            entries.append((dtype.name, .tensor(try StateTensor(storage: Storage(content), layout: layout))))
        }
        let opaque = try DType(name: "Q4_0", elementsPerBlock: 32, bytesPerBlock: 18)
        let layout = try TensorLayout(opaque, shape: [2, 64])
        entries.append(
            ("Q4_0", .tensor(try StateTensor(storage: Storage(bytes(layout.byteCount, seed: 99)), layout: layout))))
        return .dictionary(entries)
    }

    /// Ties and views of every sort over few storages.
    static func aliases() throws -> StateTree {
        let storage = try Storage(bytes(480, seed: 5))
        func view(_ dtype: DType, _ shape: [Int], _ strides: [Int]? = nil, _ offset: Int = 0) throws -> StateTree {
            .tensor(
                try StateTensor(
                    storage: storage, layout: TensorLayout(dtype, shape: shape, strides: strides, offset: offset)))
        }
        let lone = try Storage(bytes(1000, seed: 6))
        return [
            "base": try view(.f32, [10, 12]), "tied": try view(.f32, [10, 12]),
            "transposed": try view(.f32, [12, 10], [1, 12]),
            "row": try view(.f32, [12], nil, 24), "column": try view(.f32, [10], [12], 5),
            "strided": try view(.f32, [5, 4], [24, 3]), "expanded": try view(.f32, [7, 12], [0, 1], 12),
            "overlapping": try view(.f32, [9, 24], [12, 1]), "bytes": try view(.u8, [480]),
            "scalar": try view(.f32, [], nil, 119), "empty": try view(.f32, [0, 3]),
            "sparse": .tensor(
                try StateTensor(storage: lone, layout: TensorLayout(.i16, shape: [20], strides: [23], offset: 7))),
            "alone": .tensor(try StateTensor([UInt8](), shape: [0])),
        ]
    }

    /// Several chunks: compressible, random, mixed, and equal ones.
    static func chunks() throws -> StateTree {
        let block = bytes(1 << 16, seed: 8)
        let repeated = (0..<16).flatMap { _ in block }
        return [
            "text": .tensor(
                try StateTensor(
                    Array(String(repeating: "all work and no play ", count: 60_000).utf8), shape: [1_260_000])),
            "random": .tensor(try StateTensor(bytes(70_000, seed: 7), shape: [70_000])),
            "repeated": .tensor(try StateTensor(repeated + repeated + [1, 2, 3], shape: [(2 << 20) + 3])),
            "zeros": .tensor(try StateTensor([UInt8](repeating: 0, count: 1 << 20), shape: [1 << 20])),
        ]
    }
}

extension GoldenTrees {
    /// Whole numbers around zero whose small values are the frequent ones, the sum of four even ones.
    private static func bells(_ count: Int, seed: UInt64) -> [Int] {
        var generator = SeededGenerator(seed: seed)
        return (0..<count).map { _ in
            let number = generator.next()
            return (0..<4).reduce(-(4 << 15) + 2) { $0 + Int(number >> (16 * UInt64($1)) & 0xffff) }
        }
    }

    private static func tensor<Element: FixedWidthInteger>(
        _ dtype: DType, _ elements: [Element]
    ) throws -> StateTree {
        let bytes = elements.flatMap { element in
            (0..<Element.bitWidth / 8).map { UInt8(truncatingIfNeeded: element >> Element(8 * $0)) }
        }
        let count = bytes.count / dtype.bytesPerBlock
        return .tensor(try StateTensor(storage: Storage(bytes), layout: TensorLayout(dtype, shape: [count])))
    }

    /// What format 2 has planes, parts and shared chunks for.
    static func planes() throws -> StateTree {
        // A power of two times a whole number is exact in every format that is wide enough.
        let floats = bells(30_000, seed: 11).map { Float($0) / Float(1 << 22) }
        let doubles = bells(6000, seed: 12).map { Double($0) / Double(1 << 22) * 1.1 }
        let long = bells(600_000, seed: 13).map { UInt16((Float($0) / Float(1 << 22)).bitPattern >> 16) & 0xffc0 }
        let sparse = floats.enumerated().map { $0.offset % 11 == 0 ? $0.element.bitPattern : 0 }
        let mixed = try Storage(bytes(70_001, seed: 14).map { $0 & 0x73 })
        func view(_ dtype: DType, _ count: Int, offset: Int = 0) throws -> StateTree {
            .tensor(
                try StateTensor(storage: mixed, layout: TensorLayout(dtype, shape: [count], offset: offset)))
        }
        return try [
            "bf16": tensor(.bf16, floats.map { UInt16($0.bitPattern >> 16) }),
            "f16": tensor(.f16, bells(9000, seed: 15).map { UInt16(truncatingIfNeeded: $0 >> 3) & 0x8fff | 0x2000 }),
            "f32": tensor(.f32, floats.map(\.bitPattern)),
            "rounded": tensor(.f32, floats.map { $0.bitPattern & 0xffff_0000 }),
            "sparse": tensor(.f32, sparse), "f64": tensor(.f64, doubles.map(\.bitPattern)),
            "c64": tensor(.c64, floats.prefix(6000).map(\.bitPattern)),
            "c128": tensor(.c128, doubles.prefix(2000).map(\.bitPattern)),
            "i64": tensor(.i64, bells(4000, seed: 16).map { Int64($0 >> 8) }),
            "u32": tensor(.u32, (0..<9000).map { UInt32($0 * 3 + 100_000) }),
            "i16": tensor(.i16, bells(9000, seed: 17).map { Int16($0 >> 7) }),
            "i8": tensor(.i8, bells(9000, seed: 18).map { Int8($0 >> 10) }),
            "bytes": view(.u8, 70_001), "words": view(.i32, 17_500), "halves": view(.f16, 100, offset: 30_000),
            "long": tensor(.bf16, long), "twice": tensor(.bf16, long),
            "zeros": tensor(.f32, [UInt32](repeating: 0, count: 300_000)),
            "sevens": tensor(.u8, [UInt8](repeating: 7, count: 3000)),
            "tiny": tensor(.f32, [Float(1).bitPattern]),
        ]
    }

    /// Two storages with equal bytes, which are one in a container that is to be mapped.
    static func equal() throws -> StateTree {
        let content = bytes(5000, seed: 19)
        return try [
            "one": tensor(.u8, content), "other": tensor(.u8, content), "third": tensor(.u8, bytes(5000, seed: 20)),
        ]
    }

    /// So many tensors that the copy of the index has several groups.
    private static func many() throws -> StateTree {
        .dictionary(
            StateDictionary(
                try (0..<500).map { number in
                    ("layers.\(number).bias", .tensor(try StateTensor([Float(number)], shape: [1])))
                }))
    }

    /// The state and the metadata of a name that the manifests use.
    static func named(_ name: String) throws -> (state: StateTree, metadata: StateTree) {
        switch name {
        case "kinds": (try kinds(), try metadata())
        case "dtypes": (try dtypes(), [:])
        case "aliases": (try aliases(), [:])
        case "chunks": (try chunks(), [:])
        case "tensor": (try aliases()["transposed"]!, [:])
        case "planes": (try planes(), [:])
        case "equal": (try equal(), [:])
        case "many": (try many(), [:])
        default: ([:], [:])
        }
    }

    /// The golden containers of the format that this library writes, by file name.
    static func containers() throws -> [(name: String, bytes: [UInt8])] {
        func saved(_ tree: String, _ compression: Compression, referenced: Bool = false) throws -> [UInt8] {
            let (state, metadata) = try named(tree)
            let options = SaveOptions(compression: compression, isReferencedByOthers: referenced)
            return try containerBytes(state, metadata: metadata, options: options)
        }
        return try [
            ("kinds-fast.nnck", saved("kinds", .fast)), ("dtypes-none.nnck", saved("dtypes", .none)),
            ("aliases-fast.nnck", saved("aliases", .fast)), ("chunks-smallest.nnck", saved("chunks", .smallest)),
            ("many-fast.nnck", saved("many", .fast)),
            ("empty-referenced.nnck", saved("empty", .fast, referenced: true)),
            ("aliases-unknown-required.nnck", unknownRequired(saved("aliases", .fast))),
            ("aliases-unknown-optional-annex.nnck", unknownOptional(saved("aliases", .fast))),
        ]
    }

    /// A file of a later minor version that needs feature 5 and has a table for it.
    private static func unknownRequired(_ container: [UInt8]) throws -> [UInt8] {
        var forger = Forger(container)
        forger.tail[16] = 7
        forger.tail[24] = 1 << 5
        try forger.run(
            "CREATE TABLE sibling(id INTEGER PRIMARY KEY NOT NULL, path TEXT NOT NULL) STRICT; "
                + "INSERT INTO extra VALUES('feature.5', 1); UPDATE history SET to_version = '\(FileLayout.version.major).7'"
        )
        return forger.container()
    }

    /// A file of a later minor version with optional feature 8, which has a row in `extra` and an annex.
    private static func unknownOptional(_ container: [UInt8]) throws -> [UInt8] {
        var forger = Forger(container)
        forger.tail[16] = 7
        forger.tail[33] = 1
        forger.annex = [UInt8](repeating: 0xa5, count: 4096)
        try forger.run(
            "INSERT INTO extra VALUES('parity', 'at the end'); UPDATE history SET to_version = '\(FileLayout.version.major).7'"
        )
        return forger.container()
    }
}
