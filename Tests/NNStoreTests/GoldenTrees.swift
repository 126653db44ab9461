import NNStore

/// The trees that the golden containers under `spec/vectors` were made from.
enum GoldenTrees {
    /// Bytes that are easy to write down and hard to compress.
    static func bytes(_ count: Int, seed: UInt64) -> [UInt8] {
        var generator = SeededGenerator(seed: seed)
        return generator.bytes(count)
    }

    /// Every kind of node, in both trees' reach.
    static func kinds() throws -> StateTree {
        let tensor = try StateTensor([Float(1.5), -2], dtype: .f32, shape: [2], requiresGrad: true)
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
                ("stringWithNull", "a\0b"), ("emptyString", ""), ("longString", .string(String(repeating: "0123456789", count: 60))),
                ("bytes", .bytes([0, 1, 255])), ("noBytes", .bytes([])), ("longBytes", .bytes(bytes(5000, seed: 1))),
                ("scalar", .scalar(try TypedValue(.bf16, bytes: [0x80, 0x3f]))),
                ("array", .array(try TypedValue(.i32, bytes: [1, 0, 0, 0, 255, 255, 255, 255]))),
                ("strings", .strings(["<s>", "", "ü"])), ("noStrings", .strings([])), (7, "integer key"), ("7", "text key"),
                (-1, "negative key"), ("", "empty key"), ("a.b", "key with a dot"), ("e\u{301}", "decomposed"), ("é", "composed"),
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
        entries.append(("Q4_0", .tensor(try StateTensor(storage: Storage(bytes(layout.byteCount, seed: 99)), layout: layout))))
        return .dictionary(entries)
    }

    /// Ties and views of every sort over few storages.
    static func aliases() throws -> StateTree {
        let storage = try Storage(bytes(480, seed: 5))
        func view(_ dtype: DType, _ shape: [Int], _ strides: [Int]? = nil, _ offset: Int = 0) throws -> StateTree {
            .tensor(try StateTensor(storage: storage, layout: TensorLayout(dtype, shape: shape, strides: strides, offset: offset)))
        }
        let lone = try Storage(bytes(1000, seed: 6))
        return [
            "base": try view(.f32, [10, 12]), "tied": try view(.f32, [10, 12]), "transposed": try view(.f32, [12, 10], [1, 12]),
            "row": try view(.f32, [12], nil, 24), "column": try view(.f32, [10], [12], 5),
            "strided": try view(.f32, [5, 4], [24, 3]), "expanded": try view(.f32, [7, 12], [0, 1], 12),
            "overlapping": try view(.f32, [9, 24], [12, 1]), "bytes": try view(.u8, [480]),
            "scalar": try view(.f32, [], nil, 119), "empty": try view(.f32, [0, 3]),
            "sparse": .tensor(try StateTensor(storage: lone, layout: TensorLayout(.i16, shape: [20], strides: [23], offset: 7))),
            "alone": .tensor(try StateTensor([UInt8](), dtype: .u8, shape: [0])),
        ]
    }

    /// Several chunks: compressible, random, mixed, and equal ones.
    static func chunks() throws -> StateTree {
        let block = bytes(1 << 16, seed: 8)
        let repeated = (0..<16).flatMap { _ in block }
        return [
            "text": .tensor(
                try StateTensor(
                    Array(String(repeating: "all work and no play ", count: 60_000).utf8), dtype: .u8, shape: [1_260_000])),
            "random": .tensor(try StateTensor(bytes(70_000, seed: 7), dtype: .u8, shape: [70_000])),
            "repeated": .tensor(try StateTensor(repeated + repeated + [1, 2, 3], dtype: .u8, shape: [(2 << 20) + 3])),
            "zeros": .tensor(try StateTensor([UInt8](repeating: 0, count: 1 << 20), dtype: .u8, shape: [1 << 20])),
        ]
    }
}
