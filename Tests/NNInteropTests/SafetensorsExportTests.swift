import NNInterop
import NNStore
import Testing

@Suite("Writing safetensors files")
struct SafetensorsExportTests {
    private let folder: TemporaryFolder
    init() throws { folder = try TemporaryFolder() }

    private func tensor(_ dtype: DType, _ shape: [Int]) throws -> StateTree {
        let layout = try TensorLayout(dtype, shape: shape)
        return .tensor(try StateTensor(storage: Storage(counting(layout.byteCount)), layout: layout))
    }

    private func code(_ body: () throws -> Void) -> String {
        do {
            try body()
            return "none"
        } catch let error as InteropError {
            return error.code
        } catch let error as StoreError {
            return error.code
        } catch {
            return "\(error)"
        }
    }

    @Test("nested trees get flat names, and the data begin at a multiple of 8")
    func flatNames() throws {
        let tree: StateTree = ["model": ["layers": [["w": try tensor(.f32, [2])], ["w": try tensor(.f32, [1])]]]]
        let report = try Safetensors.save(tree, metadata: ["format": "pt", "é\"": "ü\n"], to: folder.path("x"))
        #expect(report.isEmpty)
        let bytes = try folder.bytes("x")
        let header = NNInteropTests.header(of: bytes)
        #expect(
            header.trimmed == #"{"__metadata__":{"format":"pt","é\"":"ü\n"},"#
                + #""model.layers.0.w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"#
                + #""model.layers.1.w":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}}"#)
        #expect(header.utf8.count % 8 == 0)
        #expect(Array(bytes.suffix(12)) == counting(8) + counting(4))
    }

    @Test("data are in the tree's order if that is aligned, else the largest elements come first")
    func dataOrder() throws {
        func offsets(_ tree: StateTree) throws -> [String: Int] {
            try Safetensors.save(tree, to: folder.path("x"), options: ExportOptions(existing: .replace))
            let state = try SafetensorsFile.open(folder.path("x")).state()
            #expect(state.children.map(\.key) == tree.children.map(\.key))
            for (key, node) in state.children {
                #expect(try elements(#require(node.tensor)) == elements(#require(tree[key]?.tensor)))
            }
            var offsets: [String: Int] = [:]
            let header = try JSONValue.parse(Array(NNInteropTests.header(of: folder.bytes("x")).utf8), name: "header")
            guard case .object(let members) = header else { return [:] }
            for member in members {
                guard case .object(let fields) = member.value, case .array(let span) = fields[2].value,
                    case .number(let begin) = span[0]
                else { continue }
                offsets[member.key] = begin.integer
            }
            return offsets
        }
        let aligned: StateTree = ["a": try tensor(.u8, [4]), "b": try tensor(.f32, [1]), "c": try tensor(.f64, [1])]
        #expect(try offsets(aligned) == ["a": 0, "b": 4, "c": 8])
        let unaligned: StateTree = [
            "a": try tensor(.u8, [3]), "f4": try tensor(.f4, [2]), "b": try tensor(.f32, [1]),
            "c": try tensor(.u8, [1]),
            "f6": try tensor(.f6E2M3, [4]), "d": try tensor(.f64, [1]), "e": try tensor(.c64, [1]),
            "g": try tensor(.i16, [1]),
        ]
        #expect(
            try offsets(unaligned)
                == ["d": 0, "e": 8, "b": 16, "g": 20, "a": 22, "f4": 25, "c": 26, "f6": 27])
    }

    @Test("all dtypes but C128 can be written")
    func dtypes() throws {
        var entries: [(String, StateTree)] = []
        for dtype in DType.all where dtype != .c128 { entries.append((dtype.name, try tensor(dtype, [3, 4]))) }
        #expect(entries.count == 22)
        let tree = StateTree.dictionary(entries)
        try Safetensors.save(tree, to: folder.path("x"))
        let state = try SafetensorsFile.open(folder.path("x")).state()
        for (key, node) in tree.children {
            let (written, read) = (try #require(node.tensor), try #require(state[key]?.tensor))
            #expect(read.layout == written.layout)
            #expect(try elements(read) == elements(written))
        }
    }

    @Test("strided tensors are written row by row")
    func strided() throws {
        let storage = try Storage(copying: (0..<6).map { Int32($0) })
        let transposed = try StateTensor(storage: storage, layout: TensorLayout(.i32, shape: [3, 2], strides: [1, 3]))
        let lazy = Storage(backing: ArrayBacking(Array((0..<6).flatMap { [UInt8($0), 0, 0, 0] })))
        let lazily = try StateTensor(storage: lazy, layout: TensorLayout(.i32, shape: [2], strides: [3], offset: 2))
        try Safetensors.save(["t": .tensor(transposed), "s": .tensor(lazily)], to: folder.path("x"))
        let state = try SafetensorsFile.open(folder.path("x")).state()
        #expect(
            try elements(#require(state["t"]?.tensor)).enumerated().filter { $0.offset % 4 == 0 }.map(\.element) == [
                0, 3, 1, 4, 2, 5,
            ])
        #expect(try elements(#require(state["s"]?.tensor)) == [2, 0, 0, 0, 5, 0, 0, 0])
        #expect(!lazy.isResident)
    }

    @Test("what the format can't hold is refused by name")
    func refusals() throws {
        func save(_ tree: StateTree, _ metadata: StateTree = [:]) -> String {
            code { try Safetensors.save(tree, metadata: metadata, to: folder.path("x")) }
        }
        let opaque = try DType(name: "Q4_0", elementsPerBlock: 32, bytesPerBlock: 18)
        #expect(try save(["a": tensor(opaque, [32])]) == "unsupported-dtype")
        #expect(try save(["a": tensor(.c128, [1])]) == "unsupported-dtype")
        #expect(try save(["__metadata__": tensor(.u8, [1])]) == "reserved-name")
        #expect(try save(["a": ["b": tensor(.u8, [1])], "a.b": tensor(.u8, [1])]) == "ambiguous-name")
        #expect(save([:], ["1": "a", 1: "b"]) == "ambiguous-name")
        #expect(save([:], []) == "invalid-tree")
        #expect(try save([:], ["a": tensor(.u8, [1])]) == "invalid-tree")
        #expect(folder.names == [])
        do {
            try Safetensors.save(["a": ["b": tensor(.u8, [1])], "a.b": tensor(.u8, [1])], to: folder.path("x"))
        } catch let error as InteropError {
            #expect(error.description.contains(#"["a"]["b"]"#) && error.description.contains(#"["a.b"]"#))
        }
        var deep: StateTree = try tensor(.u8, [1])
        for _ in 0..<1001 { deep = ["d": deep] }
        #expect(save(deep) == "invalid-tree")
    }

    @Test("what becomes text or is left out is reported, and refused when strict")
    func report() throws {
        let tree: StateTree = [
            "w": try tensor(.u8, [1]), "step": 7, "name": "x", "none": [:],
            "set": .record(type: "builtins.set", StateDictionary([("0", 1)])),
        ]
        let half = try TypedValue(.f16, bytes: [0x00, 0x3c, 0x01, 0x00])
        let metadata: StateTree = [
            "text": "t", "epoch": 3, "rate": 0.1, "flag": true, "none": nil, "list": [1, [2.5, "x"]],
            "nested": ["a": ["b": nil]], "raw": .bytes([1, 255]), "nan": .double(.nan), "half": .array(half),
            "nnck.modules": ["": 1], "nnstore.aliases": "x", 5: "five",
        ]
        let report = try Safetensors.save(tree, metadata: metadata, to: folder.path("x"))
        let file = try SafetensorsFile.open(folder.path("x"))
        #expect(try file.state().children.map(\.key) == ["w"])
        let texts = file.metadata().children.map { entry -> String in
            if case .string(let text) = entry.value { "\(entry.key)=\(text)" } else { "?" }
        }
        #expect(
            texts == [
                "text=t", "epoch=3", "rate=0.1", "flag=true", "none=null", #"list=[1,[2.5,"x"]]"#,
                #"nested={"a":{"b":null}}"#, "raw=01ff", "nan=NaN", "half=[1.0,5.9604645e-08]", "5=five",
            ])
        #expect(report.dropped.count == 6)
        #expect(report.converted.count == 11)
        do {
            try Safetensors.save(
                tree, metadata: metadata, to: folder.path("y"), options: ExportOptions(isStrict: true))
            Issue.record("was written")
        } catch InteropError.cannotHold(_, _, let entries) {
            #expect(entries == report.lines)
        }
        #expect(folder.names == ["x"])
        let plain = ExportOptions(existing: .replace, isStrict: true)
        #expect(
            try Safetensors.save(["w": tensor(.u8, [1])], metadata: ["a": "b"], to: folder.path("y"), options: plain)
                .isEmpty)
    }

    @Test("expanded tensors are limited, and the limit can be raised")
    func limits() throws {
        let storage = try Storage([1, 2])
        let endless = try StateTensor(
            storage: storage, layout: TensorLayout(.u8, shape: [1 << 40, 2], strides: [0, 1]))
        #expect(code { try Safetensors.save(["a": .tensor(endless)], to: folder.path("x")) } == "limit-exceeded")
        let small = try StateTensor(storage: storage, layout: TensorLayout(.u8, shape: [3, 2], strides: [0, 1]))
        let options = ExportOptions(existing: .replace, maximumDataSize: 5)
        #expect(
            code { try Safetensors.save(["a": .tensor(small)], to: folder.path("x"), options: options) }
                == "limit-exceeded")
        #expect(folder.names == [])
        var raised = options
        raised.maximumDataSize = 6
        try Safetensors.save(["a": .tensor(small)], to: folder.path("x"), options: raised)
        let state = try SafetensorsFile.open(folder.path("x")).state()
        #expect(try elements(#require(state["a"]?.tensor)) == [1, 2, 1, 2, 1, 2])
        let most = try StateTensor(storage: storage, layout: TensorLayout(.u8, shape: [1 << 60], strides: [0]))
        // Eight times 2^60 is one more than fits.
        let tree = StateTree.dictionary((0..<8).map { ("\($0)", .tensor(most)) })
        #expect(code { try Safetensors.save(tree, to: folder.path("y"), options: options) } == "limit-exceeded")
        raised.maximumDataSize = .max
        #expect(code { try Safetensors.save(tree, to: folder.path("y"), options: raised) } == "limit-exceeded")
    }

    @Test("an existing file is replaced only if asked for, and a failed save leaves nothing behind")
    func destinations() throws {
        let path = try folder.file("x", [1, 2, 3])
        #expect(code { try Safetensors.save([:], to: path) } == "destination-exists")
        #expect(try folder.bytes("x") == [1, 2, 3])
        let broken = Storage(backing: BrokenBacking())
        let tree: StateTree = ["a": .tensor(try StateTensor(storage: broken, layout: TensorLayout(.u8, shape: [10])))]
        let replacing = ExportOptions(existing: .replace)
        #expect(code { try Safetensors.save(tree, to: path, options: replacing) } == "cancelled")
        #expect(folder.names == ["x"])
        #expect(try folder.bytes("x") == [1, 2, 3])
        try Safetensors.save([:], to: path, options: replacing)
        #expect(try folder.bytes("x") == safetensors("{}      "))
        let cancellation = Cancellation()
        cancellation.cancel()
        let cancelled = ExportOptions(existing: .replace, cancellation: cancellation)
        #expect(code { try Safetensors.save(["a": tensor(.u8, [1])], to: path, options: cancelled) } == "cancelled")
        #expect(try folder.bytes("x") == safetensors("{}      "))
    }

    @Test("a sink gets the file's bytes, or is given up once")
    func sinks() throws {
        let tree: StateTree = ["a": try tensor(.u8, [3]), "b": try tensor(.f32, [300_000])]
        let sink = MemorySink()
        try Safetensors.save(tree, to: sink)
        try Safetensors.save(tree, to: folder.path("x"))
        #expect(try sink.bytes == folder.bytes("x"))
        #expect(sink.isFinished && sink.abandoned == 0)
        let refused = MemorySink()
        #expect(code { try Safetensors.save(["a": tensor(.c128, [1])], to: refused) } == "unsupported-dtype")
        #expect(refused.abandoned == 1 && refused.bytes.isEmpty)
        try Safetensors.save(tree, to: "/dev/null")
    }

    @Test("a tensor without a name has the empty one, and other roots hold nothing")
    func roots() throws {
        try Safetensors.save(tensor(.u8, [3]), to: folder.path("x"))
        #expect(try SafetensorsFile.open(folder.path("x")).state().children.map(\.key) == [""])
        #expect(try Safetensors.save(7, to: folder.path("y")).dropped == ["the root: the integer 7"])
    }
}

extension String {
    fileprivate var trimmed: String { String(reversed().drop { $0 == " " }.reversed()) }
}

struct ArrayBacking: StorageBacking {
    let bytes: [UInt8]
    init(_ bytes: [UInt8]) { self.bytes = bytes }
    var byteCount: Int { bytes.count }
    func read(_ range: Range<Int>, into destination: inout MutableRawSpan) throws {
        for (position, byte) in bytes[range].enumerated() {
            destination.storeBytes(of: byte, toByteOffset: position, as: UInt8.self)
        }
    }
}

struct BrokenBacking: StorageBacking {
    var byteCount: Int { 10 }
    func read(_ range: Range<Int>, into destination: inout MutableRawSpan) throws { throw StoreError.cancelled }
}

final class MemorySink: ByteSink {
    let name = "memory"
    private(set) var bytes: [UInt8] = []
    private(set) var isFinished = false
    private(set) var abandoned = 0

    func append(_ bytes: RawSpan) throws(StoreError) { self.bytes += bytes.array }
    func finish(_ existing: ExistingDestination) throws(StoreError) { isFinished = true }
    func abandon() { abandoned += 1 }
}
