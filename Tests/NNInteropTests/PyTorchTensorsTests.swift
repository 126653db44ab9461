import NNInterop
import NNStore
import Testing

@Suite("The tensors of a PyTorch file")
struct PyTorchTensorsTests {
    private func open(_ bytes: [UInt8], _ options: OpenOptions = OpenOptions()) throws -> PyTorchFile {
        try PyTorchFile.open(MemorySource(bytes, name: "file.pt"), options: options)
    }

    private func tree(_ value: [UInt8], _ records: [(String, [UInt8])] = []) throws -> StateTree {
        try open(torchFile(Pickle.whole(value), records)).state()
    }

    private func floats(_ values: [Float]) -> [UInt8] { values.flatMap { le(Int($0.bitPattern), 4) } }

    @Test("views of one storage keep strides, offsets and that they share it")
    func views() throws {
        let storage = Pickle.storage(count: 12)
        let pickle = Pickle.dict([
            ("base", Pickle.tensor(storage, shape: [3, 4], strides: [4, 1], requiresGrad: true)),
            ("transposed", Pickle.tensor(storage, shape: [4, 3], strides: [1, 4])),
            ("part", Pickle.tensor(storage, shape: [2], strides: [4], offset: 5)),
            ("expanded", Pickle.tensor(storage, shape: [5, 4], strides: [0, 1])),
        ])
        let state = try tree(pickle, [("data/0", counting(48))])
        let tensors = state.tensors.map(\.tensor)
        #expect(Set(tensors.map(\.storage)).count == 1)
        #expect(tensors.map(\.layout.strides) == [[4, 1], [1, 4], [4], [0, 1]])
        #expect(tensors[2].layout.offset == 5 && tensors[0].requiresGrad && !tensors[1].requiresGrad)
        #expect(try elements(tensors[2]) == Array(counting(48)[20..<24] + counting(48)[36..<40]))
    }

    @Test("two dtypes over one storage")
    func twoDTypes() throws {
        let storage = Pickle.storage("UntypedStorage", count: 8)
        let pickle = Pickle.dict([
            ("floats", Pickle.tensorV3(storage, "float32", shape: [2], strides: [1])),
            ("bytes", Pickle.tensorV3(storage, "uint8", shape: [8], strides: [1])),
            ("wide", Pickle.tensorV3(storage, "uint64", shape: [1], strides: [1])),
        ])
        let state = try tree(pickle, [("data/0", counting(8))])
        #expect(Set(state.tensors.map(\.tensor.storage)).count == 1)
        #expect(state.tensors.map(\.tensor.dtype) == [.f32, .u8, .u64])
    }

    @Test("conjugated and negated tensors have the values that they stand for")
    func signs() throws {
        func metadata(_ names: String...) -> [UInt8] { Pickle.dict(names.map { ($0, Pickle.yes) }) }
        let storage = Pickle.storage("ComplexFloatStorage", count: 2)
        func complex(_ metadata: [UInt8]) -> [UInt8] {
            Pickle.tensor(storage, shape: [2], strides: [1], metadata: metadata)
        }
        let pickle = Pickle.dict([
            ("plain", Pickle.tensor(storage, shape: [2], strides: [1])), ("conj", complex(metadata("conj"))),
            ("neg", complex(metadata("neg"))), ("both", complex(metadata("conj", "neg"))),
            (
                "float",
                Pickle.tensor(
                    Pickle.storage("FloatStorage", "1", count: 2), shape: [2], strides: [1], metadata: metadata("neg"))
            ),
        ])
        let state = try tree(pickle, [("data/0", floats([1, 2, 3, -4])), ("data/1", floats([5, -6]))])
        func values(_ name: String) throws -> [UInt8] { try elements(#require(state[name]?.tensor)) }
        #expect(try values("plain") == floats([1, 2, 3, -4]))
        #expect(try values("conj") == floats([1, -2, 3, 4]))
        #expect(try values("neg") == floats([-1, -2, -3, 4]))
        #expect(try values("both") == floats([-1, 2, -3, -4]))
        #expect(try values("float") == floats([-5, 6]))
        // Any bytes of them, too.
        let storageOfConj = try #require(state["conj"]?.tensor).storage
        var bytes = [UInt8](repeating: 0, count: 5)
        try bytes.withMutableRawSpan { try storageOfConj.read(3..<8, into: &$0) }
        #expect(bytes == Array(floats([1, -2])[3..<8]))
        let integers = Pickle.tensor(
            Pickle.storage("LongStorage", count: 1), shape: [1], strides: [1], metadata: metadata("neg"))
        #expect(throws: InteropError.self) { try tree(integers, [("data/0", counting(8))]) }
    }

    @Test("files of the other byte order are turned round, complex numbers by component")
    func bigEndian() throws {
        let pickle = Pickle.dict([
            ("f", Pickle.tensor(Pickle.storage("FloatStorage", "0", count: 2), shape: [2], strides: [1])),
            ("c", Pickle.tensor(Pickle.storage("ComplexDoubleStorage", "1", count: 1), shape: [1], strides: [1])),
            ("b", Pickle.tensor(Pickle.storage("ByteStorage", "2", count: 3), shape: [3], strides: [1])),
        ])
        let file = torchFile(
            Pickle.whole(pickle),
            [
                ("byteorder", Array("big".utf8)), ("data/0", counting(8)), ("data/1", counting(16)),
                ("data/2", counting(3)),
            ])
        let state = try open(file).state()
        func turned(_ bytes: [UInt8], _ size: Int) -> [UInt8] {
            stride(from: 0, to: bytes.count, by: size).flatMap { bytes[$0..<$0 + size].reversed() }
        }
        #expect(try elements(#require(state["f"]?.tensor)) == turned(counting(8), 4))
        #expect(try elements(#require(state["c"]?.tensor)) == turned(counting(16), 8))
        #expect(try elements(#require(state["b"]?.tensor)) == counting(3))
        let strange = torchFile(Pickle.whole(pickle), [("byteorder", Array("middle".utf8))])
        #expect(throws: InteropError.self) { try open(strange) }
    }

    @Test("legacy files: storages, views of storages, and old tensors")
    func legacy() throws {
        let whole = Pickle.storage("FloatStorage", "root", count: 6)
        let view = Pickle.storage(
            "FloatStorage", "root", count: 6, view: Pickle.tuple(Pickle.text("v"), Pickle.int(2), Pickle.int(3)))
        let old =
            Pickle.global("torch", "FloatTensor") + Pickle.emptyTuple + Pickle.reduce
            + Pickle.tuple(whole, Pickle.int(1), Pickle.ints([2]), Pickle.ints([1])) + Pickle.build
        let pickle = Pickle.whole(
            Pickle.dict([
                ("whole", Pickle.tensor(whole, shape: [6], strides: [1])),
                ("view", Pickle.tensor(view, shape: [2], strides: [1], offset: 1)), ("old", old),
            ]))
        let file = try open(legacyTorchFile(pickle, [("root", 6, counting(24))]))
        #expect(file.formatDescription == "PyTorch (legacy)")
        let state = try file.state()
        let tensors = state.tensors.map(\.tensor)
        #expect(Set(tensors.map(\.storage)).count == 1 && tensors.map(\.layout.offset) == [0, 3, 1])
        #expect(try elements(tensors[1]) == Array(counting(24)[12..<20]))
        #expect(
            try CheckpointFiles.open(MemorySource(legacyTorchFile(pickle, [("root", 6, counting(24))]))).formatName
                == "pytorch")
    }

    @Test("legacy files whose storages do not fit are refused")
    func legacyStorages() throws {
        let pickle = Pickle.whole(Pickle.tensor(Pickle.storage(count: 2), shape: [2], strides: [1]))
        let good = legacyTorchFile(pickle, [("0", 2, counting(8))])
        #expect(try elements(#require(open(good).state().tensor)) == counting(8))
        #expect(throws: InteropError.self) { try open(good.dropLast()) }
        #expect(throws: InteropError.self) { try open(good + [0]) }
        #expect(throws: InteropError.self) { try open(legacyTorchFile(pickle, [])) }
        #expect(throws: InteropError.self) { try open(legacyTorchFile(pickle, [("0", 3, counting(12))])) }
        #expect(throws: InteropError.self) {
            try open(legacyTorchFile(pickle, [("0", 2, counting(8)), ("1", 2, counting(8))]))
        }
        #expect(throws: InteropError.self) { try open(legacyTorchFile(pickle, [("0", -1, [])])) }
        #expect(throws: InteropError.self) { try open(legacyTorchFile(pickle, [("0", .max, [])])) }
    }

    @Test("parameters, buffers and tensors with attributes")
    func parameters() throws {
        let data = Pickle.tensor(Pickle.storage(count: 2), shape: [2], strides: [1])
        let records = [("data/0", counting(8))]
        let parameter = try tree(
            Pickle.call("torch._utils", "_rebuild_parameter", data, Pickle.yes, Pickle.noHooks), records)
        #expect(parameter.tensor?.requiresGrad == true && parameter.tensor?.tag == "torch.nn.parameter.Parameter")
        let buffer = try tree(
            Pickle.call(
                "torch._tensor", "_rebuild_from_type_v2", Pickle.global("torch._utils", "_rebuild_tensor_v2"),
                Pickle.global("torch.nn.parameter", "Buffer"),
                Pickle.tuple(
                    Pickle.storage(count: 2), Pickle.int(0), Pickle.ints([2]), Pickle.ints([1]), Pickle.no,
                    Pickle.noHooks),
                Pickle.emptyDict), records)
        #expect(buffer.tensor?.tag == "torch.nn.parameter.Buffer")
        let named = try tree(
            Pickle.call(
                "torch._utils", "_rebuild_parameter_with_state", data, Pickle.no, Pickle.noHooks,
                Pickle.dict([("note", Pickle.text("n"))])), records)
        #expect(named.recordType == "torch.nn.parameter.Parameter" && named["data"]?.tensor != nil)
        #expect(named["state"]?["note"]?.string == "n")
        let hooked = Pickle.call(
            "torch._utils", "_rebuild_parameter", data, Pickle.yes, Pickle.dict([("0", Pickle.int(1))]))
        #expect(throws: InteropError.self) { try tree(hooked, records) }
    }

    @Test("quantised tensors are records with their scales")
    func quantised() throws {
        let storage = Pickle.storage("QInt8Storage", count: 6)
        func tensor(_ quantizer: [UInt8]) -> [UInt8] {
            Pickle.call(
                "torch._utils", "_rebuild_qtensor", storage, Pickle.int(0), Pickle.ints([2, 3]), Pickle.ints([3, 1]),
                quantizer,
                Pickle.no, Pickle.noHooks)
        }
        let plain = try tree(
            tensor(Pickle.tuple(Pickle.global("torch", "per_tensor_affine"), Pickle.double(0.5), Pickle.int(3))),
            [("data/0", counting(6))])
        #expect(plain["data"]?.tensor?.dtype == .i8 && plain["dtype"]?.string == "qint8")
        #expect(plain["scale"]?.double == 0.5 && plain["zero_point"]?.int == 3)
        func channels(_ count: Int, axis: Int) -> [UInt8] {
            tensor(
                Pickle.tuple(
                    Pickle.global("torch", "per_channel_affine"),
                    Pickle.tensor(Pickle.storage("DoubleStorage", "1", count: count), shape: [count], strides: [1]),
                    Pickle.tensor(Pickle.storage("LongStorage", "2", count: count), shape: [count], strides: [1]),
                    Pickle.int(axis)))
        }
        func records(_ count: Int) -> [(String, [UInt8])] {
            [("data/0", counting(6)), ("data/1", counting(8 * count)), ("data/2", counting(8 * count))]
        }
        #expect(try tree(channels(2, axis: 0), records(2))["scales"]?.tensor?.shape == [2])
        #expect(throws: InteropError.self) { try tree(channels(2, axis: 1), records(2)) }
        #expect(throws: InteropError.self) { try tree(channels(3, axis: 2), records(3)) }
        #expect(throws: InteropError.self) { try tree(channels(2, axis: -1), records(2)) }
        // As PyTorch before 1.5 had them.
        let lists = tensor(
            Pickle.tuple(
                Pickle.global("torch", "per_channel_affine"), Pickle.list(Pickle.double(0.1), Pickle.double(0.2)),
                Pickle.list(Pickle.int(0), Pickle.int(1)), Pickle.int(0)))
        #expect(try tree(lists, [("data/0", counting(6))])["scales"]?[1]?.double == 0.2)
        let short = tensor(
            Pickle.tuple(
                Pickle.global("torch", "per_channel_affine"), Pickle.list(Pickle.double(0.1)),
                Pickle.list(Pickle.int(0)),
                Pickle.int(0)))
        #expect(throws: InteropError.self) { try tree(short, [("data/0", counting(6))]) }
    }

    @Test("packed quantised tensors are their bytes with their shape")
    func packed() throws {
        func tensor(_ count: Int, shape: [Int], strides: [Int], offset: Int = 0, _ kind: String = "QUInt4x2Storage")
            -> [UInt8]
        {
            Pickle.call(
                "torch._utils", "_rebuild_qtensor", Pickle.storage(kind, count: count), Pickle.int(offset),
                Pickle.ints(shape),
                Pickle.ints(strides),
                Pickle.tuple(Pickle.global("torch", "per_tensor_affine"), Pickle.double(0.5), Pickle.int(3)), Pickle.no,
                Pickle.noHooks)
        }
        let odd = try tree(tensor(8, shape: [3, 5], strides: [5, 1]), [("data/0", counting(8))])
        #expect(odd["dtype"]?.string == "quint4x2" && odd["data"]?.tensor?.shape == [8] && odd["shape"]?[1]?.int == 5)
        #expect(try elements(#require(odd["data"]?.tensor)) == counting(8))
        let quarter = try tree(tensor(4, shape: [15], strides: [1], "QUInt2x4Storage"), [("data/0", counting(4))])
        #expect(quarter["dtype"]?.string == "quint2x4")
        for wrong in [
            tensor(7, shape: [3, 5], strides: [5, 1]), tensor(9, shape: [3, 5], strides: [5, 1]),
            tensor(8, shape: [3, 5], strides: [1, 3]), tensor(8, shape: [3, 5], strides: [5, 1], offset: 1),
        ] {
            #expect(throws: InteropError.self) { try tree(wrong, [("data/0", counting(9))]) }
        }
    }

    @Test("parameters of the first versions have what their state says")
    func oldParameters() throws {
        let data = Pickle.tensor(Pickle.storage(count: 2), shape: [2], strides: [1])
        let other = Pickle.tensor(Pickle.storage(count: 2), shape: [1], strides: [1], offset: 1)
        let class_ = Pickle.global("torch.nn.parameter", "Parameter")
        let three = try tree(
            class_ + Pickle.tuple(data) + Pickle.reduce + Pickle.tuple(Pickle.no, Pickle.no, Pickle.noHooks)
                + Pickle.build,
            [("data/0", counting(8))])
        #expect(three.tensor?.requiresGrad == false && three.tensor?.tag == "torch.nn.parameter.Parameter")
        let five = try tree(
            class_ + Pickle.tuple(data) + Pickle.reduce
                + Pickle.tuple(other, Pickle.none, Pickle.noHooks, Pickle.yes, Pickle.no) + Pickle.build,
            [("data/0", counting(8))])
        #expect(five.tensor?.requiresGrad == true && five.tensor?.shape == [1])
    }

    @Test("what is wrong with a tensor is told with its name")
    func names() throws {
        let pickle = Pickle.dict([
            ("model", Pickle.dict([("w", Pickle.tensor(Pickle.storage(count: 4), shape: [5], strides: [1]))]))
        ])
        do {
            _ = try tree(pickle, [("data/0", counting(16))])
            Issue.record("a tensor outside its storage was read")
        } catch let error as InteropError {
            #expect(error.description.contains("\"model.w\""), "\(error)")
        }
    }

    @Test("sparse tensors are records, and indices that lead outside are refused")
    func sparse() throws {
        func longs(_ values: [Int]) -> [UInt8] { values.flatMap { le($0, 8) } }
        func long(_ key: String, _ shape: [Int], _ strides: [Int]) -> [UInt8] {
            Pickle.tensor(Pickle.storage("LongStorage", key, count: shape.reduce(1, *)), shape: shape, strides: strides)
        }
        func layout(_ name: String) -> [UInt8] { Pickle.call("torch.serialization", "_get_layout", Pickle.text(name)) }
        func coordinates(_ indices: [Int]) throws -> StateTree {
            let values = Pickle.tensor(Pickle.storage("FloatStorage", "1", count: 2), shape: [2], strides: [1])
            return try tree(
                Pickle.call(
                    "torch._utils", "_rebuild_sparse_tensor", layout("torch.sparse_coo"),
                    Pickle.tuple(
                        long("0", [2, 2], [2, 1]), values, Pickle.call("torch", "Size", Pickle.ints([3, 4])), Pickle.yes
                    )),
                [("data/0", longs(indices)), ("data/1", counting(8))])
        }
        let good = try coordinates([0, 2, 1, 3])
        #expect(good.recordType == "torch.sparse_coo" && good["values"]?.tensor?.shape == [2])
        #expect(throws: InteropError.self) { try coordinates([0, 3, 1, 3]) }
        #expect(throws: InteropError.self) { try coordinates([0, 2, 1, 4]) }
        #expect(throws: InteropError.self) { try coordinates([0, -1, 1, 3]) }

        func rows(_ compressed: [Int], _ plain: [Int]) throws -> StateTree {
            let values = Pickle.tensor(Pickle.storage("FloatStorage", "2", count: 2), shape: [2], strides: [1])
            return try tree(
                Pickle.call(
                    "torch._utils", "_rebuild_sparse_tensor", layout("torch.sparse_csr"),
                    Pickle.tuple(long("0", [4], [1]), long("1", [2], [1]), values, Pickle.ints([3, 4]))),
                [("data/0", longs(compressed)), ("data/1", longs(plain)), ("data/2", counting(8))])
        }
        #expect(try rows([0, 1, 1, 2], [3, 0]).recordType == "torch.sparse_csr")
        #expect(throws: InteropError.self) { try rows([0, 1, 1, 2], [4, 0]) }
        #expect(throws: InteropError.self) { try rows([0, 2, 1, 2], [3, 0]) }
        #expect(throws: InteropError.self) { try rows([0, 1, 1, 1], [3, 0]) }
        #expect(throws: InteropError.self) { try rows([1, 1, 1, 2], [3, 0]) }
        let huge = Pickle.call(
            "torch._utils", "_rebuild_sparse_tensor", layout("torch.sparse_csr"),
            Pickle.tuple(
                long("0", [4], [1]), long("1", [2], [1]),
                Pickle.tensor(Pickle.storage("FloatStorage", "2", count: 2), shape: [2], strides: [1]),
                Pickle.ints([.max, 4])))
        #expect(throws: InteropError.self) {
            try tree(huge, [("data/0", counting(32)), ("data/1", counting(16)), ("data/2", counting(8))])
        }
    }

    @Test("4-bit floats are counted one by one")
    func pairs() throws {
        let storage = Pickle.storage("UntypedStorage", count: 12)
        let state = try tree(
            Pickle.tensorV3(storage, "float4_e2m1fn_x2", shape: [2, 3], strides: [6, 1], offset: 3),
            [("data/0", counting(12))])
        let tensor = try #require(state.tensor)
        #expect(
            tensor.dtype == .f4 && tensor.shape == [2, 6] && tensor.layout.strides == [12, 1]
                && tensor.layout.offset == 6)
        #expect(try elements(tensor) == Array(counting(12)[3..<6] + counting(12)[9..<12]))
    }

    @Test("a storage may be a file inside the pickle")
    func nested() throws {
        let inner = legacyTorchFile(Pickle.whole(Pickle.storage(count: 2)), [("0", 2, counting(8))])
        let load = Pickle.call("torch.storage", "_load_from_bytes", Pickle.bytes(inner))
        let state = try tree(Pickle.tensor(load, shape: [2], strides: [1]))
        #expect(try elements(#require(state.tensor)) == counting(8))
        let evil = legacyTorchFile(Pickle.whole(Pickle.call("os", "system", Pickle.text("true"))))
        #expect(throws: InteropError.self) {
            try tree(
                Pickle.tensor(
                    Pickle.call("torch.storage", "_load_from_bytes", Pickle.bytes(evil)), shape: [2], strides: [1]))
        }
    }

    @Test("layouts that leave their storage are refused with the place of the tensor")
    func outside() throws {
        let records = [("data/0", counting(48))]
        let storage = Pickle.storage(count: 12)
        for (shape, strides, offset) in [
            ([13], [1], 0), ([12], [1], 1), ([4, 4], [4, 1], 0), ([2], [12], 0), ([2], [Int.max], 0),
            ([Int.max, 2], [1, 1], 0),
            ([1 << 40, 1 << 40], [1, 1], 0), ([1], [1], Int.max), ([12], [1, 1], 0), ([-1], [1], 0), ([2], [-1], 0),
        ] {
            do {
                _ = try tree(Pickle.tensor(storage, shape: shape, strides: strides, offset: offset), records)
                Issue.record("\(shape) \(strides) \(offset) was accepted")
            } catch let error as InteropError {
                #expect(error.description.contains("byte"), "\(error)")
            }
        }
    }

    @Test("records that are not of their storage's size, or not there, are refused")
    func records() throws {
        let pickle = Pickle.tensor(Pickle.storage(count: 4), shape: [4], strides: [1])
        for records in [[], [("data/0", counting(15))], [("data/0", counting(17))], [("data/1", counting(16))]] {
            #expect(throws: InteropError.self) { try tree(pickle, records) }
        }
    }

    @Test("of a TorchScript program the attributes are read, of whatever classes it has, and nothing else than they")
    func script() throws {
        func program(_ module: String) -> [UInt8] {
            let inner =
                Pickle.global("__torch__.my", "Linear") + Pickle.emptyTuple + Pickle.newObject
                + Pickle.dict([
                    ("weight", Pickle.tensor(Pickle.storage(count: 4), shape: [2, 2], strides: [2, 1])),
                    ("training", Pickle.no),
                ]) + Pickle.build
            let outer =
                Pickle.global(module, "Net") + Pickle.emptyTuple + Pickle.newObject
                + Pickle.dict([
                    ("layer", inner),
                    ("sizes", Pickle.call("torch.jit._pickle", "build_intlist", Pickle.list(Pickle.int(3)))),
                ]) + Pickle.build
            return torchFile(
                Pickle.whole(outer), [("constants.pkl", Pickle.whole(Pickle.emptyTuple)), ("data/0", counting(16))])
        }
        let file = try open(program("__torch__"))
        #expect(file.formatDescription == "PyTorch (TorchScript)")
        let state = try file.state()
        #expect(state.recordType == "__torch__.Net" && state["layer"]?.recordType == "__torch__.my.Linear")
        #expect(try elements(#require(state["layer"]?["weight"]?.tensor)) == counting(16))
        #expect(state["sizes"]?[0]?.int == 3)
        #expect(throws: InteropError.self) { try open(program("my.own")) }
        let noScript = torchFile(Pickle.whole(Pickle.global("__torch__", "Net"), Pickle.emptyTuple, Pickle.newObject))
        #expect(throws: InteropError.self) { try open(noScript) }
    }

    @Test("storages whose keys only look the same are two")
    func keysByBytes() throws {
        let (composed, decomposed) = ("\u{e9}", "e\u{301}")
        func tensor(_ key: String) -> [UInt8] {
            Pickle.tensor(Pickle.storage("ByteStorage", key, count: 2), shape: [2], strides: [1])
        }
        let pickle = Pickle.whole(Pickle.dict([("x", tensor(composed)), ("y", tensor(decomposed))]))
        let zip = torchFile(pickle, [("data/" + composed, [1, 2]), ("data/" + decomposed, [3, 4])])
        let legacy = legacyTorchFile(pickle, [(composed, 2, [1, 2]), (decomposed, 2, [3, 4])])
        for file in [zip, legacy] {
            let state = try open(file).state()
            #expect(try elements(#require(state["x"]?.tensor)) == [1, 2])
            #expect(try elements(#require(state["y"]?.tensor)) == [3, 4])
        }
    }
}
