import NNInterop
import NNStore
import Testing

@Suite("The values of a PyTorch file are read as data")
struct PyTorchValuesTests {
    private func open(_ bytes: [UInt8], _ options: OpenOptions = OpenOptions()) throws -> PyTorchFile {
        try PyTorchFile.open(MemorySource(bytes, name: "file.pt"), options: options)
    }

    private func value(_ pickle: [UInt8]...) throws -> StateTree {
        try open(torchFile([0x80, 5] + pickle.flatMap(\.self) + Pickle.stop)).state()
    }

    @Test("plain values of all protocols")
    func plain() throws {
        #expect(try value(Pickle.none).isNull)
        #expect(try value(Pickle.yes).bool == true)
        #expect(try value([0x49], Array("01\n".utf8)).bool == true)
        #expect(try value([0x49], Array("-17\n".utf8)).int == -17)
        #expect(try value([0x4c], Array("12345678901L\n".utf8)).int == 12_345_678_901)
        #expect(try value([0x4b, 200]).int == 200)
        #expect(try value([0x4d, 0x34, 0x12]).int == 0x1234)
        #expect(try value(Pickle.int(-5)).int == -5)
        #expect(try value([0x8a, 0]).int == 0)
        #expect(try value([0x8a, 1, 0xff]).int == -1)
        #expect(try value([0x8b, 2, 0, 0, 0, 0, 0x80]).int == -32768)
        #expect(try value(Pickle.double(0.1)).double == 0.1)
        #expect(try value([0x46], Array("-1.5e-3\n".utf8)).double == -1.5e-3)
        #expect(try value([0x46], Array("-inf\n".utf8)).double == -.infinity)
        #expect(try value(Pickle.text("ü✓")).string == "ü✓")
        #expect(try value([0x8c, 2], Array("ab".utf8)).string == "ab")
        #expect(try value([0x56], Array("a\\u00fc\\U0001f600\n".utf8)).string == "aü😀")
        #expect(try value([0x56], Array("\\ud83d\\ude00\n".utf8)).string == "😀")
        #expect(try value([0x53], Array("'it\\'s\\n\\x41'\n".utf8)).string == "it's\nA")
        let big = try value([0x8a, 17] + [UInt8](repeating: 0, count: 16) + [1])
        guard case .integer(let integer) = big else { return #expect(Bool(false)) }
        #expect(integer.description == "340282366920938463463374607431768211456")
        let digits = try value([0x4c], Array("-340282366920938463463374607431768211456L\n".utf8))
        guard case .integer(let negative) = digits else { return #expect(Bool(false)) }
        #expect(negative.description == "-340282366920938463463374607431768211456")
    }

    @Test("strings of Python 2 are UTF-8 where they can be, otherwise Latin-1")
    func pythonTwo() throws {
        #expect(try value([0x55, 2, 0xc3, 0xbc]).string == "ü")
        #expect(try value([0x55, 1, 0xfc]).string == "ü")
        #expect(try value([0x54, 1, 0, 0, 0, 0xfc]).string == "ü")
        #expect(try value(Pickle.emptyDict, [0x55, 1, 0x61], Pickle.int(1), Pickle.setItem)["a"]?.int == 1)
    }

    @Test("a text with lone surrogates is a record of its bytes")
    func surrogates() throws {
        let tree = try value([0x58, 4, 0, 0, 0, 0x61, 0xed, 0xa0, 0x80])
        guard case .record("builtins.str", let parts) = tree, case .bytes(let bytes)? = parts["utf8"] else {
            return #expect(Bool(false), "\(tree)")
        }
        #expect(bytes == [0x61, 0xed, 0xa0, 0x80])
    }

    @Test("bytes in their three forms")
    func bytes() throws {
        func bytes(_ tree: StateTree) -> [UInt8]? {
            if case .bytes(let bytes) = tree { bytes } else { nil }
        }
        #expect(bytes(try value(Pickle.bytes([1, 2]))) == [1, 2])
        #expect(bytes(try value([0x43, 1, 7])) == [7])
        #expect(
            bytes(try value(Pickle.call("_codecs", "encode", Pickle.text("a\u{ff}"), Pickle.text("latin1")))) == [
                0x61, 0xff,
            ])
        #expect(bytes(try value(Pickle.global("__builtin__", "bytes"), Pickle.emptyTuple, Pickle.reduce)) == [])
        #expect(bytes(try value([0x96, 1, 0, 0, 0, 0, 0, 0, 0, 9])) == [9])
        #expect(throws: InteropError.self) {
            try value(Pickle.call("_codecs", "encode", Pickle.text("a"), Pickle.text("rot13")))
        }
    }

    @Test("dictionaries of special kinds keep what they were as a tag")
    func dictionaries() throws {
        let ordered = try value(Pickle.noHooks, Pickle.text("k"), Pickle.int(1), Pickle.setItem)
        #expect(ordered.dictionaryTag == "collections.OrderedDict" && ordered["k"]?.int == 1)
        let old = try value(
            Pickle.call("collections", "OrderedDict", Pickle.list(Pickle.list(Pickle.text("k"), Pickle.int(1)))))
        #expect(old["k"]?.int == 1)
        let counter = try value(Pickle.call("collections", "Counter", Pickle.dict([("k", Pickle.int(2))])))
        #expect(counter.dictionaryTag == "collections.Counter" && counter["k"]?.int == 2)
        let made = try value(
            Pickle.call("collections", "defaultdict", Pickle.global("__builtin__", "list")), Pickle.text("k"),
            Pickle.int(1),
            Pickle.setItem)
        #expect(made.dictionaryTag == "collections.defaultdict(builtins.list)" && made["k"]?.int == 1)
    }

    @Test("keys that are neither texts nor integers make a record of pairs; a later value replaces an earlier one")
    func keys() throws {
        let numbers = try value(Pickle.emptyDict, Pickle.int(0), Pickle.int(7), Pickle.setItem)
        #expect(numbers[0]?.int == 7)
        let pairs = try value(
            Pickle.emptyDict, Pickle.tuple(Pickle.int(1), Pickle.int(2)), Pickle.text("v"), Pickle.setItem)
        guard case .record("builtins.dict", let parts) = pairs, case .tuple(let pair, nil)? = parts[.integer(0)] else {
            return #expect(Bool(false), "\(pairs)")
        }
        #expect(pair[0][1]?.int == 2 && pair[1].string == "v")
        let twice = try value(Pickle.dict([("a", Pickle.int(1)), ("b", Pickle.int(2)), ("a", Pickle.int(3))]))
        #expect(twice.children.map(\.key) == ["a", "b"] && twice["a"]?.int == 3)
    }

    @Test("sets, sizes, devices, slices, complex numbers and dtypes")
    func others() throws {
        let set = try value(Pickle.call("__builtin__", "set", Pickle.list(Pickle.int(1), Pickle.int(2))))
        #expect(set.recordType == "builtins.set" && set[1]?.int == 2)
        let frozen = try value(Pickle.mark, Pickle.int(4), [0x91])
        #expect(frozen.recordType == "builtins.frozenset" && frozen[0]?.int == 4)
        let size = try value(Pickle.call("torch", "Size", Pickle.tuple(Pickle.int(2), Pickle.int(3))))
        guard case .tuple(let extents, "torch.Size") = size else { return #expect(Bool(false)) }
        #expect(extents.map(\.int) == [2, 3])
        let device = try value(Pickle.call("torch", "device", Pickle.text("cuda"), Pickle.int(1)))
        #expect(device.recordType == "torch.device" && device["type"]?.string == "cuda" && device["index"]?.int == 1)
        #expect(try value(Pickle.global("torch", "half"))["name"]?.string == "float16")
        let slice = try value(Pickle.call("__builtin__", "slice", Pickle.int(1), Pickle.none, Pickle.none))
        #expect(slice.recordType == "builtins.slice" && slice["start"]?.int == 1)
        let complex = try value(Pickle.call("__builtin__", "complex", Pickle.double(1), Pickle.double(-2)))
        #expect(complex.recordType == "builtins.complex" && complex["imag"]?.double == -2)
    }

    @Test("scalars and arrays of NumPy, of both byte orders and both orders of elements")
    func numPy() throws {
        func dtype(_ name: String, _ order: String) -> [UInt8] {
            Pickle.call("numpy", "dtype", Pickle.text(name), Pickle.no, Pickle.yes)
                + Pickle.tuple(Pickle.int(3), Pickle.text(order), Pickle.none) + Pickle.build
        }
        let scalar = try value(
            Pickle.call("numpy.core.multiarray", "scalar", dtype("i4", ">"), Pickle.bytes([0, 0, 1, 2])))
        guard case .scalar(let typed) = scalar else { return #expect(Bool(false)) }
        #expect(typed.dtype == .i32 && typed.bytes == [2, 1, 0, 0])
        func array(_ order: String, fortran: Bool, _ bytes: [UInt8]) -> [UInt8] {
            Pickle.call(
                "numpy._core.multiarray", "_reconstruct", Pickle.global("numpy", "ndarray"),
                Pickle.tuple(Pickle.int(0)), Pickle.bytes([0x62]))
                + Pickle.tuple(
                    Pickle.int(1), Pickle.ints([2, 3]), dtype("i2", order), fortran ? Pickle.yes : Pickle.no,
                    Pickle.bytes(bytes)) + Pickle.build
        }
        let bytes = counting(12)
        let plain = try #require(try value(array("<", fortran: false, bytes)).tensor)
        #expect(plain.dtype == .i16 && plain.shape == [2, 3] && plain.tag == "numpy.ndarray")
        #expect(try elements(plain) == bytes)
        let columns = try #require(try value(array("<", fortran: true, bytes)).tensor)
        #expect(columns.layout.strides == [1, 2])
        let swapped = try #require(try value(array(">", fortran: false, bytes)).tensor)
        #expect(try elements(swapped) == stride(from: 0, to: 12, by: 2).flatMap { [bytes[$0 + 1], bytes[$0]] })
        let text = try value(
            Pickle.call(
                "numpy.core.multiarray", "scalar", dtype("U2", "<"), Pickle.bytes([0x61, 0, 0, 0, 0, 0xf6, 1, 0])))
        #expect(text.string == "a😀")
        #expect(throws: InteropError.self) { try value(array("<", fortran: false, counting(11))) }
        let objects =
            Pickle.call(
                "numpy._core.multiarray", "_reconstruct", Pickle.global("numpy", "ndarray"),
                Pickle.tuple(Pickle.int(0)), Pickle.bytes([0x62]))
            + Pickle.tuple(Pickle.int(1), Pickle.ints([1]), dtype("O8", "|"), Pickle.no, Pickle.list(Pickle.int(1)))
            + Pickle.build
        #expect(throws: InteropError.self) { try value(objects) }
    }

    @Test("values that are shared are the same tensor, and lists that are shared are there twice")
    func shared() throws {
        let storage = Pickle.storage(count: 4)
        let pickle = Pickle.whole(
            Pickle.emptyList, Pickle.mark, Pickle.tensor(storage, shape: [4], strides: [1]), Pickle.put(1),
            Pickle.get(1),
            Pickle.list(Pickle.get(1)), Pickle.put(2), Pickle.get(2), Pickle.appends)
        let tree = try open(torchFile(pickle, [("data/0", counting(16))])).state()
        let tensors = tree.tensors.map(\.tensor)
        #expect(tensors.count == 4 && Set(tensors.map(\.storage)).count == 1)
    }

    @Test("types that are not known are refused by name and place, and kept as records where that is asked for")
    func opaque() throws {
        let instance =
            Pickle.global("my.models", "Net") + Pickle.emptyTuple + Pickle.newObject
            + Pickle.dict([
                ("weight", Pickle.tensor(Pickle.storage(count: 4), shape: [4], strides: [1])),
                ("name", Pickle.text("n")),
            ])
            + Pickle.build
        let file = torchFile(Pickle.whole(Pickle.dict([("model", instance)])), [("data/0", counting(16))])
        do {
            _ = try open(file)
            #expect(Bool(false))
        } catch InteropError.refusedGlobal(let name, let global, let offset) {
            #expect(name == "file.pt, archive/data.pkl" && global == "my.models.Net" && offset == 13)
        }
        let tree = try open(file, OpenOptions(keepsUnknownTypes: true)).state()
        #expect(tree["model"]?.recordType == "my.models.Net")
        #expect(try elements(#require(tree["model"]?["weight"]?.tensor)) == counting(16))
        #expect(tree["model"]?["name"]?.string == "n")
        let call = Pickle.whole(Pickle.call("os", "system", Pickle.text("touch owned")))
        let kept = try open(torchFile(call), OpenOptions(keepsUnknownTypes: true)).state()
        #expect(kept.recordType == "os.system" && kept["arguments"]?[0]?.string == "touch owned")
    }

    @Test("objects that refer back to what they are inside of are kept once, and referred to then")
    func references() throws {
        // As omegaconf has them: a child knows its parent.
        let parent = Pickle.global("omega", "Config") + Pickle.emptyTuple + Pickle.newObject + Pickle.put(0)
        let child =
            Pickle.global("omega", "Node") + Pickle.emptyTuple + Pickle.newObject
            + Pickle.dict([
                ("parent", Pickle.get(0)), ("value", Pickle.tensor(Pickle.storage(count: 4), shape: [4], strides: [1])),
            ])
            + Pickle.build
        let pickle = Pickle.whole(parent, Pickle.dict([("child", child)]), Pickle.build)
        let file = torchFile(pickle, [("data/0", counting(16))])
        let tree = try open(file, OpenOptions(keepsUnknownTypes: true)).state()
        #expect(tree.recordType == "omega.Config" && tree["child"]?["parent"]?.recordType == "reference")
        #expect(tree["child"]?["parent"]?["path"]?.string == "")
        #expect(try elements(#require(tree["child"]?["value"]?.tensor)) == counting(16))
        // What is known to be a dictionary can't.
        let own = torchFile(
            Pickle.whole(Pickle.noHooks, Pickle.put(0), Pickle.text("k"), Pickle.get(0), Pickle.setItem))
        #expect(throws: InteropError.self) { try open(own, OpenOptions(keepsUnknownTypes: true)) }
        // Many that all refer to each other do not multiply: each is written out once.
        let numbers = UInt8(0)..<60
        let made = numbers.flatMap { (number: UInt8) -> [UInt8] in
            Pickle.global("omega", "Node") + Pickle.emptyTuple + Pickle.newObject + Pickle.put(number) + [0x30]
        }
        let everything = numbers.flatMap { (number: UInt8) -> [UInt8] in Pickle.get(number) }
        let built = numbers.flatMap { (number: UInt8) -> [UInt8] in
            Pickle.get(number) + Pickle.list(everything) + Pickle.build + [0x30]
        }
        let web = torchFile(Pickle.whole(made, built, Pickle.get(0)))
        #expect(throws: InteropError.self) { try open(web) }
        var counts: [String: Int] = [:]
        try open(web, OpenOptions(keepsUnknownTypes: true)).state().forEachNode { _, node in
            counts[node.recordType ?? "", default: 0] += 1
        }
        #expect(counts["omega.Node"] == 60 && counts["reference"] == 60 * 60 - 59)
    }

    @Test("versions of modules come with the state dict that has them")
    func versions() throws {
        let metadata = Pickle.dict([
            (
                "_metadata",
                Pickle.noHooks + Pickle.text("") + Pickle.dict([("version", Pickle.int(1))]) + Pickle.setItem
                    + Pickle.text("norm") + Pickle.dict([("version", Pickle.int(2))]) + Pickle.setItem
            )
        ])
        let stateDict =
            Pickle.noHooks + Pickle.text("norm.weight") + Pickle.int(1) + Pickle.setItem + metadata + Pickle.build
        let file = try open(torchFile(Pickle.whole(Pickle.dict([("model", stateDict)]))))
        let modules = ModuleVersions.read(from: file.metadata())
        #expect(modules.map(\.path) == ["model", "model.norm"] && modules.map(\.version) == [1, 2])
        #expect(try file.state()["model"]?["norm.weight"]?.int == 1)
    }
}

extension StateTree {
    var isNull: Bool {
        if case .null = self { true } else { false }
    }

    var dictionaryTag: String? {
        if case .dictionary(let entries) = self { entries.tag } else { nil }
    }

    var recordType: String? {
        if case .record(let type, _) = self { type } else { nil }
    }
}
