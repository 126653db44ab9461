import NNInterop
import NNStore
import Testing

@Suite("Writing PyTorch files")
struct PyTorchExportTests {
    private func saved(_ state: StateTree, metadata: StateTree = [:]) throws -> (
        file: PyTorchFile, report: ExportReport
    ) {
        let sink = MemorySink()
        let report = try PyTorch.save(state, metadata: metadata, to: sink)
        return (try PyTorchFile.open(MemorySource(sink.bytes, name: "out.pt")), report)
    }

    private func tensor(
        _ storage: Storage, _ dtype: DType, _ shape: [Int], _ strides: [Int]? = nil, offset: Int = 0
    ) throws -> StateTree {
        .tensor(
            try StateTensor(
                storage: storage, layout: TensorLayout(dtype, shape: shape, strides: strides, offset: offset)))
    }

    @Test("every dtype, views and two dtypes over one storage come back")
    func tensors() throws {
        let storage = try Storage(counting(64))
        let own = DType.all.filter { $0.elementsPerBlock == 1 }
        var state = StateDictionary()
        for dtype in own {
            state[dtype.name] = try tensor(Storage(counting(4 * dtype.bytesPerBlock)), dtype, [2, 2])
        }
        state["f4"] = try tensor(Storage(counting(6)), .f4, [3, 4])
        state["base"] = try tensor(storage, .f32, [4, 4])
        state["t"] = try tensor(storage, .f32, [4, 4], [1, 4])
        state["raw"] = try tensor(storage, .u8, [3], offset: 5)
        state["e"] = try tensor(Storage(counting(4)), .f32, [3, 1], [0, 1])
        state["empty"] = try tensor(Storage(byteCount: 0), .f32, [0, 3])
        let (file, report) = try saved(.dictionary(state))
        #expect(report.isEmpty, "\(report.lines)")
        let back = try file.state()
        for (key, value) in state {
            let (before, after) = (try #require(value.tensor), try #require(back[key]?.tensor))
            #expect(before.dtype == after.dtype && before.shape == after.shape, "\(key)")
            #expect(before.layout.strides == after.layout.strides, "\(key)")
            #expect(try elements(before) == elements(after), "\(key)")
        }
        #expect(CheckpointListing(back).aliasGroups.count == 1)
    }

    @Test("random trees come back")
    func trees() throws {
        var random = SystemRandomNumberGenerator()
        func tree(_ depth: Int) throws -> StateTree {
            switch Int.random(in: 0..<(depth > 3 ? 9 : 13), using: &random) {
            case 0: return .null
            case 1: return .boolean(.random(using: &random))
            case 2: return .integer(StateInteger(Int64.random(in: .min ... .max, using: &random)))
            case 3:
                return .integer(
                    StateInteger(twosComplement: (0..<20).map { _ in .random(in: 0...255, using: &random) }))
            case 4: return .double(.random(in: -1e300...1e300, using: &random))
            case 5: return .string(["", "a.b", "ü✓\u{0}", "😀"].randomElement(using: &random)!)
            case 6: return .bytes((0...Int.random(in: 0...5, using: &random)).map { UInt8($0 * 51) })
            case 7:
                return .record(
                    type: "torch.device",
                    StateDictionary([("type", "cuda"), ("index", .integer(Int.random(in: 0...7, using: &random)))]))
            case 8: return try tensor(Storage(counting(16)), .i16, [2, 4])
            case 9, 10:
                var entries = StateDictionary(tag: Bool.random(using: &random) ? nil : "collections.OrderedDict")
                for number in 0..<Int.random(in: 0...4, using: &random) {
                    entries[Bool.random(using: &random) ? .integer(number) : .text("k\(number)")] = try tree(depth + 1)
                }
                return .dictionary(entries)
            case 11: return .list(try (0..<Int.random(in: 0...4, using: &random)).map { _ in try tree(depth + 1) })
            default:
                let isSize = Bool.random(using: &random)
                return .tuple(
                    try (0..<Int.random(in: 0...4, using: &random)).map { _ in
                        isSize ? .integer(Int.random(in: 0...9, using: &random)) : try tree(depth + 1)
                    },
                    tag: isSize ? "torch.Size" : nil)
            }
        }
        for _ in 0..<200 {
            let state = try tree(0)
            let (file, report) = try saved(state)
            #expect(report.isEmpty, "\(report.lines)")
            let (before, after) = (MemorySink(), MemorySink())
            try Checkpoint.save(state, to: before)
            try Checkpoint.save(file.state(), to: after)
            #expect(before.bytes == after.bytes)
        }
    }

    @Test("parameters, gradients wanted, and versions of modules come back where they were")
    func models() throws {
        var weight = try StateTensor(storage: Storage(counting(8)), layout: TensorLayout(.f32, shape: [2]))
        weight.requiresGrad = true
        weight.tag = "torch.nn.parameter.Parameter"
        let modules: StateTree = [
            "nnck.modules": [
                "model": ["type": "", "version": 1], "model.bn": ["type": "", "version": 2],
                "other": ["type": "", "version": 3],
            ]
        ]
        let state: StateTree = ["model": ["bn.weight": .tensor(weight)], "step": 3]
        let (file, report) = try saved(state, metadata: modules)
        #expect(report.dropped.count == 1 && report.dropped[0].contains("other"))
        let back = try #require(try file.state()["model"]?["bn.weight"]?.tensor)
        #expect(back.requiresGrad && back.tag == weight.tag)
        #expect(ModuleVersions.read(from: file.metadata()).map(\.path) == ["model", "model.bn"])
        #expect(try file.state()["model"]?.dictionaryTag == "collections.OrderedDict")
    }

    @Test(
        "attributes of dictionaries that are more than versions come back, and state dicts inside of state dicts keep theirs"
    )
    func attributes() throws {
        func stateDict(_ key: String, _ inner: [UInt8], metadata: [UInt8]) -> [UInt8] {
            Pickle.noHooks + Pickle.text(key) + inner + Pickle.setItem + metadata + Pickle.build
        }
        func versions(_ entries: [(String, Int)]) -> [UInt8] {
            Pickle.dict([
                (
                    "_metadata",
                    Pickle.noHooks
                        + entries.flatMap {
                            Pickle.text($0.0) + Pickle.dict([("version", Pickle.int($0.1))]) + Pickle.setItem
                        }
                )
            ])
        }
        let inner = stateDict("w", Pickle.int(1), metadata: versions([("", 2)]))
        let more = stateDict("v", Pickle.int(2), metadata: Pickle.dict([("extra", Pickle.text("kept"))]))
        let outer = stateDict("0", inner, metadata: versions([("", 1), ("0", 1)]))
        let original = try PyTorchFile.open(
            MemorySource(torchFile(Pickle.whole(Pickle.dict([("outer", outer), ("more", more)])))))
        let (file, report) = try saved(original.state(), metadata: original.metadata())
        #expect(report.isEmpty, "\(report.lines)")
        for one in [original, file] {
            #expect(ModuleVersions.read(from: one.metadata()).map(\.path) == ["outer", "outer.0"])
            let noted = one.metadata()["pytorch.attributes"]
            #expect(noted?.children.count == 2)
            #expect(noted?["[\"outer\"][\"0\"]"]?["_metadata"]?[""]?["version"]?.int == 2)
            #expect(noted?["[\"more\"]"]?["extra"]?.string == "kept")
        }
        #expect(throws: InteropError.self) {
            try PyTorch.save(
                [:], metadata: original.metadata(), to: MemorySink(), options: ExportOptions(isStrict: true))
        }
    }

    @Test("what PyTorch's safe loader does not read becomes its nearest plain value, or is refused")
    func conversions() throws {
        let state: StateTree = [
            "scalar": .scalar(try TypedValue(.i32, bytes: [7, 0, 0, 0])), "empty": .bytes([]),
            "array": .array(try TypedValue(.f32, bytes: [0, 0, 0x80, 0x3f, 0, 0, 0, 0x40])),
            "made": .dictionary(StateDictionary([("k", 1)], tag: "collections.defaultdict(builtins.list)")),
            "record": .record(type: "my.Type", StateDictionary([("a", 1)])), "texts": .strings(["a", "b"]),
            "blocks": try tensor(
                Storage(counting(36)), DType(name: "Q4_0", elementsPerBlock: 32, bytesPerBlock: 18), [2, 32]),
        ]
        var array = try StateTensor(storage: Storage(counting(4)), layout: TensorLayout(.f32, shape: [1]))
        array.tag = "numpy.ndarray"
        #expect(try saved(.tensor(array)).report.converted.count == 1)
        // Python wants keys that never change: a set can't hold a frozenset that became a dictionary.
        let frozen = StateTree.record(type: "builtins.frozenset", StateDictionary(keyed: [(0, 1)]))
        #expect(
            try saved(.record(type: "builtins.set", StateDictionary(keyed: [(0, frozen)]))).report.converted.count == 2)
        let (file, report) = try saved(state, metadata: ["note": "lost"])
        #expect(report.converted.count == 5 && report.dropped.count == 1, "\(report.lines)")
        let back = try file.state()
        #expect(back["scalar"]?.int == 7 && back["empty"]?.isEmptyBytes == true && back["array"]?[1]?.double == 2)
        #expect(back["made"]?["k"]?.int == 1 && back["record"]?["a"]?.int == 1 && back["texts"]?[1]?.string == "b")
        #expect(back["blocks"]?.tensor?.shape == [2, 18] && back["blocks"]?.tensor?.dtype == .u8)
        #expect(throws: InteropError.self) {
            try PyTorch.save(state, to: MemorySink(), options: ExportOptions(isStrict: true))
        }
        let odd = try tensor(Storage(counting(6)), .f6E2M3, [2, 4], [4, 1])
        #expect(try saved(odd).report.converted.count == 1)
    }

    @Test("records of which importing makes tensors that are more than one come back")
    func specialTensors() throws {
        func longs(_ values: [Int], _ shape: [Int]) throws -> StateTree {
            try tensor(Storage(values.flatMap { le($0, 8) }), .i64, shape)
        }
        func size(_ extents: Int...) -> StateTree { .tuple(extents.map { .integer($0) }, tag: "torch.Size") }
        let values = try tensor(Storage(counting(8)), .f32, [2])
        var parameter = try StateTensor(storage: Storage(counting(8)), layout: TensorLayout(.f32, shape: [2]))
        parameter.tag = "torch.nn.parameter.Parameter"
        var buffer = try StateTensor(storage: Storage(counting(8)), layout: TensorLayout(.f32, shape: [2]))
        buffer.tag = "torch.nn.parameter.Buffer"
        let state: StateTree = [
            "coo": .record(
                type: "torch.sparse_coo",
                StateDictionary([
                    ("indices", try longs([0, 2, 1, 3], [2, 2])), ("values", values), ("shape", size(3, 4)),
                    ("is_coalesced", true),
                ])),
            "csr": .record(
                type: "torch.sparse_csr",
                StateDictionary([
                    ("compressed_indices", try longs([0, 1, 1, 2], [4])), ("plain_indices", try longs([3, 0], [2])),
                    ("values", values), ("shape", size(3, 4)),
                ])),
            "q": .record(
                type: "torch._utils._rebuild_qtensor",
                StateDictionary([
                    ("data", try tensor(Storage(counting(6)), .i8, [2, 3])), ("dtype", "qint8"),
                    ("scheme", "per_tensor_affine"),
                    ("scale", 0.5), ("zero_point", 3),
                ])),
            "channels": .record(
                type: "torch._utils._rebuild_qtensor",
                StateDictionary([
                    ("data", try tensor(Storage(counting(6)), .u8, [2, 3])), ("dtype", "quint8"),
                    ("scheme", "per_channel_affine"),
                    ("scales", try tensor(Storage(counting(16)), .f64, [2])), ("zero_points", try longs([0, 1], [2])),
                    ("axis", 0),
                ])),
            "packed": .record(
                type: "torch._utils._rebuild_qtensor",
                StateDictionary([
                    ("data", try tensor(Storage(counting(8)), .u8, [8])), ("dtype", "quint4x2"),
                    ("scheme", "per_tensor_affine"), ("shape", size(3, 5)), ("scale", 0.5), ("zero_point", 3),
                ])),
            "parameter of another": .record(
                type: "torch.nn.parameter.Parameter",
                StateDictionary([
                    (
                        "data",
                        .record(
                            type: "torch.sparse_coo",
                            StateDictionary([
                                ("indices", try longs([0, 2, 1, 3], [2, 2])), ("values", values), ("shape", size(3, 4)),
                                ("is_coalesced", true),
                            ]))
                    ), ("requires_grad", true),
                ])),
            "meta": .record(
                type: "torch._utils._rebuild_meta_tensor_no_storage",
                StateDictionary([
                    ("dtype", .record(type: "torch.dtype", StateDictionary([("name", "float32")]))),
                    ("shape", .tuple([2, 3])),
                    ("strides", .tuple([3, 1])), ("requires_grad", false),
                ])),
            "parameter": .record(
                type: "torch.nn.parameter.Parameter",
                StateDictionary([("data", .tensor(parameter)), ("state", .dictionary([("note", "n")]))])),
            "attributed": .record(
                type: "torch.Tensor", StateDictionary([("data", values), ("state", .dictionary([("note", 1)]))])),
            "buffer": .tensor(buffer),
            "storage": .record(type: "torch.storage.TypedStorage", StateDictionary([("data", values)])),
            "bytes": .record(
                type: "torch.storage.UntypedStorage",
                StateDictionary([("data", try tensor(Storage(counting(5)), .u8, [5]))])),
            "layout": .record(type: "torch.layout", StateDictionary([("name", "torch.strided")])),
        ]
        let (file, report) = try saved(state)
        #expect(report.isEmpty, "\(report.lines)")
        let (before, after) = (MemorySink(), MemorySink())
        try Checkpoint.save(state, to: before)
        try Checkpoint.save(file.state(), to: after)
        let (one, other) = (
            try Checkpoint.open(MemorySource(before.bytes)), try Checkpoint.open(MemorySource(after.bytes))
        )
        #expect(one.contentID == other.contentID)
    }

    @Test("of a storage only what tensors see is written")
    func visible() throws {
        let storage = try Storage(counting(4096))
        let (file, _) = try saved(["a": try tensor(storage, .f32, [2], offset: 500)])
        #expect(file.byteCount < 2000)
        #expect(try elements(#require(file.state()["a"]?.tensor)) == Array(counting(4096)[2000..<2008]))
    }

    @Test("a cancelled save leaves nothing behind")
    func cancelled() throws {
        let folder = try TemporaryFolder()
        let cancellation = Cancellation()
        cancellation.cancel()
        #expect(throws: (any Error).self) {
            try PyTorch.save(
                ["a": try tensor(Storage(counting(8)), .f32, [2])], to: folder.path("x.pt"),
                options: ExportOptions(cancellation: cancellation))
        }
        #expect(folder.names.isEmpty)
    }
}

extension StateTree {
    fileprivate var isEmptyBytes: Bool {
        if case .bytes(let bytes) = self { bytes.isEmpty } else { false }
    }
}
