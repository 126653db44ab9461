import NNInterop
import NNStore
import Synchronization
import Testing

@Suite("Shared storages through a safetensors file")
struct AliasNoteTests {
    private let folder: TemporaryFolder
    init() throws { folder = try TemporaryFolder() }

    private func tensor(
        _ storage: Storage, _ dtype: DType, _ shape: [Int], strides: [Int]? = nil, offset: Int = 0
    ) throws -> StateTree {
        .tensor(
            try StateTensor(
                storage: storage, layout: TensorLayout(dtype, shape: shape, strides: strides, offset: offset)))
    }

    /// Saves a tree of tensors that all share one storage, and checks what comes back: directly, through a container,
    /// and from the container's export.
    private func check(_ tree: StateTree, storageSize: Int, _ comment: Comment) throws {
        let replacing = ExportOptions(existing: .replace)
        #expect(try Safetensors.save(tree, to: folder.path("a"), options: replacing).isEmpty, comment)
        let file = try SafetensorsFile.open(folder.path("a"))
        #expect(file.sharing == .known)
        #expect(try file.sourceFacts.isEmpty, comment)
        #expect(file.metadata().children.isEmpty)
        try file.saveAsContainer(to: folder.path("b"), options: SaveOptions(existing: .replace))
        let container = try CheckpointFiles.open(folder.path("b"))
        for state in [try file.state(), try container.state()] {
            let storages = Set(state.tensors.map(\.tensor.storage))
            #expect(storages.map(\.byteCount) == [storageSize], comment)
            for (path, tensor) in state.tensors {
                let original = try #require(tree[path.keys[0]]?.tensor)
                #expect(
                    tensor.layout.shape == original.layout.shape && tensor.layout.strides == original.layout.strides)
                #expect(try elements(tensor) == elements(original), comment)
            }
        }
        try container.saveAsSafetensors(to: folder.path("c"), options: replacing)
        #expect(try folder.bytes("c") == folder.bytes("a"), comment)
        // As a whole, instead of range by range.
        let state = try file.state()
        let first = try #require(state.tensors.first).tensor
        try first.storage.load()
        for (path, tensor) in state.tensors {
            #expect(try elements(tensor) == elements(#require(tree[path.keys[0]]?.tensor)), comment)
        }
    }

    @Test("ties, transposes, slices, overlaps, strides, expansions and two dtypes come back as one storage")
    func roundTrips() throws {
        let storage = try Storage(counting(96))
        let base = try tensor(storage, .f32, [4, 6])
        try check(["a": base, "b": base], storageSize: 96, "tie")
        try check(["a": base, "b": try tensor(storage, .f32, [6, 4], strides: [1, 6])], storageSize: 96, "transpose")
        try check(
            ["a": try tensor(storage, .f32, [2, 6]), "b": try tensor(storage, .f32, [2, 6], offset: 12)],
            storageSize: 96, "slices")
        try check(
            ["a": try tensor(storage, .f32, [3, 6]), "b": try tensor(storage, .f32, [3, 6], offset: 6), "c": base],
            storageSize: 96, "overlap")
        try check(
            ["a": try tensor(storage, .f32, [12], strides: [2]), "b": try tensor(storage, .f32, [8], strides: [3])],
            storageSize: 92, "strides with holes")
        try check(
            ["a": try tensor(storage, .f32, [3, 2], strides: [0, 1]), "b": base], storageSize: 96, "expanded")
        try check(["a": base, "b": try tensor(storage, .i32, [24])], storageSize: 96, "two dtypes")
        try check(["a": base, "b": try tensor(storage, .u8, [7], offset: 3)], storageSize: 96, "two sizes")
        try check(
            ["a": try tensor(storage, .f32, [2], offset: 5), "b": try tensor(storage, .u8, [5], offset: 30)],
            storageSize: 15, "cut to what is visible")
        try check(["a": base, "b": try tensor(storage, .f32, [0, 3])], storageSize: 96, "with an empty one")
        try check(
            ["a": try tensor(storage, .f32, [0]), "b": try tensor(storage, .u8, [0])], storageSize: 0, "only empty ones"
        )
        try check(
            [
                "a": try tensor(storage, .f4, [3, 4]),
                "b": try tensor(storage, .f4, [2, 2], strides: [4, 1], offset: 2),
            ],
            storageSize: 6, "smaller than bytes")
    }

    @Test("views larger than a piece come back range by range and as a whole")
    func large() throws {
        // A piece has 1 MiB.
        let storage = try Storage(counting(1_200_001))
        try check(
            ["a": try tensor(storage, .u8, [1_200_001]), "b": try tensor(storage, .u8, [1_100_000], offset: 7)],
            storageSize: 1_200_001, "contiguous")
        try check(
            [
                "a": try tensor(storage, .u8, [1_200_001]),
                "b": try tensor(storage, .u8, [500, 2200], strides: [1, 500]),
            ],
            storageSize: 1_200_001, "transposed")
    }

    @Test("several groups and tensors of their own keep the tree's order")
    func severalGroups() throws {
        let (one, two) = (try Storage(counting(8)), try Storage(counting(8)))
        let tree: StateTree = [
            "x": try tensor(one, .u8, [8]), "y": try tensor(two, .u8, [8]),
            "own": try tensor(Storage(counting(8)), .u8, [8]),
            "z": try tensor(two, .u8, [4]), "w": try tensor(one, .u8, [4]),
        ]
        try Safetensors.save(tree, metadata: ["k": "v"], to: folder.path("a"))
        let file = try SafetensorsFile.open(folder.path("a"))
        let state = try file.state()
        func storage(_ name: String) -> Storage? { state[name]?.tensor?.storage }
        #expect(storage("x") == storage("w") && storage("y") == storage("z"))
        #expect(Set(state.tensors.map(\.tensor.storage)).count == 3)
        #expect(state.children.map(\.key) == ["x", "y", "own", "z", "w"])
        #expect(file.metadata().children.map(\.key) == ["k"])
    }

    @Test("sharing can be refused, and the note passed over")
    func options() throws {
        let storage = try Storage(counting(8))
        let tree: StateTree = ["a": try tensor(storage, .u8, [8]), "b": try tensor(storage, .u8, [4])]
        #expect(throws: InteropError.sharedStorages(file: folder.path("x"), groups: [["a", "b"]])) {
            try Safetensors.save(tree, to: folder.path("x"), options: ExportOptions(aliases: .fail))
        }
        try Safetensors.save(tree, to: folder.path("x"))
        let file = try SafetensorsFile.open(folder.path("x"), options: OpenOptions(ignoresAliasNote: true))
        #expect(file.sharing == .unknown)
        #expect(try Set(file.state().tensors.map(\.tensor.storage)).count == 2)
        #expect(file.metadata().children.isEmpty)
    }

    @Test("a storage of which almost nothing is visible is reported instead of noted")
    func sparse() throws {
        let storage = try Storage(byteCount: 2 << 20)
        let tree: StateTree = [
            "a": try tensor(storage, .u8, [1]), "b": try tensor(storage, .u8, [1], offset: 2 << 20 - 1),
        ]
        let report = try Safetensors.save(tree, to: folder.path("x"))
        #expect(report.converted.count == 1)
        #expect(try SafetensorsFile.open(folder.path("x")).sharing == .unknown)
    }

    // MARK: Notes of others

    /// A file with the tensors a (U8, 4 bytes), b (U8, 4 bytes) and c (F16, 2 elements), and a note.
    private func file(_ note: String, data: [UInt8] = [1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4]) throws -> String {
        let header =
            #"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[4,8]},"#
            + #""c":{"dtype":"F16","shape":[2],"data_offsets":[8,12]},"__metadata__":{"nnstore.aliases":"#
            + JSONValue.string(note).text() + "}}"
        return try folder.file("x", safetensors(header, data: data))
    }

    private func code(_ note: String) throws -> String {
        do {
            _ = try SafetensorsFile.open(file(note)).state()
            return "none"
        } catch let error as InteropError {
            return error.code
        }
    }

    private func group(_ size: String, _ members: String...) -> String {
        #"{"nbytes":\#(size),"tensors":[\#(members.joined(separator: ","))]}"#
    }

    private func member(_ name: String, _ offset: String = "0", _ strides: String = "[1]") -> String {
        #"{"name":"\#(name)","offset":\#(offset),"strides":\#(strides)}"#
    }

    @Test("a note that does not fit is refused when the file is opened")
    func hostileNotes() throws {
        let invalid = "invalid-alias-note"
        #expect(try code("[\(group("4", member("a"), member("b")))]") == "none")
        #expect(try code("[]") == "none")
        #expect(try code("") == "invalid-json")
        #expect(try code("[") == "invalid-json")
        #expect(try code("[] x") == "invalid-json")
        #expect(try code("{}") == invalid)
        #expect(try code("[1]") == invalid)
        #expect(try code("[{}]") == invalid)
        #expect(try code("[{\"nbytes\":4,\"nbytes\":4,\"tensors\":[]}]") == "duplicate-key")
        #expect(try code("[{\"nbytes\":4,\"tensors\":[],\"x\":1}]") == invalid)
        #expect(try code("[\(group("4"))]") == invalid)
        #expect(try code("[\(group("4", member("a")))]") == invalid)
        #expect(try code("[\(group("4", member("a"), member("a")))]") == invalid)
        #expect(try code("[\(group("4", member("a"), member("d")))]") == invalid)
        #expect(
            try code("[\(group("4", member("a"), member("b"))),\(group("4", member("b"), member("c")))]") == invalid)
        #expect(try code("[\(group("3", member("a"), member("b")))]") == invalid)
        #expect(try code("[\(group("-1", member("a"), member("b")))]") == invalid)
        #expect(try code("[\(group("4.0", member("a"), member("b")))]") == invalid)
        #expect(try code("[\(group("\"4\"", member("a"), member("b")))]") == invalid)
        #expect(try code("[\(group("4", member("a"), member("b", "1")))]") == invalid)
        #expect(try code("[\(group("4", member("a"), member("b", "-1")))]") == invalid)
        #expect(try code("[\(group("4", member("a"), member("b", "9223372036854775807")))]") == invalid)
        #expect(try code("[\(group("9", member("a"), member("b", "0", "[4611686018427387904]")))]") == invalid)
        #expect(try code("[\(group("9", member("a"), member("b", "0", "[-1]")))]") == invalid)
        #expect(try code("[\(group("9", member("a"), member("b", "0", "[1,1]")))]") == invalid)
        #expect(try code("[\(group("9", member("a"), member("b", "0", "[]")))]") == invalid)
        #expect(try code("[\(group("5", member("a"), member("c", "1")))]") == invalid)
        #expect(try code("[\(group("6", member("a"), member("c", "1")))]") == "none")
        // 64 times 8 bytes and 1 MiB more.
        #expect(try code("[\(group("1049088", member("a"), member("b")))]") == "none")
        #expect(try code("[\(group("1049089", member("a"), member("b")))]") == invalid)
        #expect(try code("[\(group("9223372036854775807", member("a"), member("b")))]") == invalid)
    }

    @Test("tensors that should be one but differ are an error that names them, in every way of reading")
    func contradictions() throws {
        func check(_ note: String, _ data: [UInt8], _ expected: InteropError) throws {
            let path = try file(note, data: data)
            func expectError(_ body: () throws -> Void) {
                #expect(throws: expected) { try body() }
            }
            let file = try SafetensorsFile.open(path)
            expectError { try file.state()["b"]?.tensor?.storage.load() }
            expectError { _ = try file.state()["b"]?.tensor.map(elements) }
            expectError { try file.saveAsContainer(to: folder.path("y")) }
            expectError { try file.saveAsSafetensors(to: folder.path("y")) }
            #expect(folder.names == ["x"])
        }
        let x = folder.path("x")
        try check(
            "[\(group("4", member("a"), member("b")))]", [1, 2, 3, 4, 1, 2, 9, 4, 0, 0, 0, 0],
            .contradictingAliases(file: x, first: "a", second: "b", byte: 2))
        try check(
            "[\(group("7", member("a"), member("b", "3")))]", [1, 2, 3, 4, 5, 2, 3, 4, 0, 0, 0, 0],
            .contradictingAliases(file: x, first: "a", second: "b", byte: 3))
        try check(
            "[\(group("8", member("a", "0", "[2]"), member("b")))]", [1, 3, 5, 7, 1, 2, 9, 4, 0, 0, 0, 0],
            .contradictingAliases(file: x, first: "b", second: "a", byte: 2))
        try check(
            "[\(group("8", member("b", "0", "[0]"), member("c", "2")))]", [1, 3, 5, 7, 1, 1, 9, 4, 0, 0, 0, 0],
            .contradictingAliases(file: x, first: "b", second: "b", byte: 0))
    }

    @Test("agreeing overlaps are put together, and what no tensor sees is zero")
    func agreeing() throws {
        let note = "[\(group("12", member("a", "2"), member("b", "1", "[2]"), member("c", "5", "[1]")))]"
        // a covers bytes 2 to 5, b bytes 1, 3, 5, 7; c does not fit and is left out below.
        #expect(try code(note) == "invalid-alias-note")
        let two = "[\(group("12", member("a", "2"), member("b", "1", "[2]")))]"
        let state = try SafetensorsFile.open(file(two, data: [2, 3, 4, 5, 1, 3, 5, 7, 0, 0, 0, 0])).state()
        let storage = try #require(state["a"]?.tensor?.storage)
        #expect(try storage.withBytes { $0.array } == [0, 1, 2, 3, 4, 5, 0, 7, 0, 0, 0, 0])
    }

    @Test("a note in any other form gives back the same bytes")
    func foreignForms() throws {
        let notes = [
            "[]", " [ ] ", "[\(group("4", member("b"), member("a")))]",
            "[\(group("100", member("a", "7"), member("b", "7")))]",
            "[ \(group("4", member("a"), member("b"))) ]",
            #"[{"tensors":[{"strides":[1],"name":"a","offset":0},{"name":"\u0062","offset":0,"strides":[1]}],"nbytes":4}]"#,
        ]
        for note in notes {
            let path = try file(note)
            let file = try SafetensorsFile.open(path)
            #expect(file.sharing == .known)
            try file.saveAsContainer(to: folder.path("y"), options: SaveOptions(existing: .replace))
            let options = ExportOptions(existing: .replace)
            try CheckpointFiles.open(folder.path("y")).saveAsSafetensors(to: folder.path("z"), options: options)
            #expect(try folder.bytes("z") == folder.bytes("x"), "\(note)")
        }
    }

    /// A test double that counts the reads of a file.
    private final class CountingSource: ByteSource {
        private let file: FileSource
        private let reads = Mutex(0)
        var readCount: Int { reads.withLock { $0 } }
        var name: String { file.name }
        init(_ path: String) throws { file = try FileSource(path: path) }

        func readEnd(_ count: Int) throws(StoreError) -> (bytes: [UInt8], version: SourceVersion) {
            try file.readEnd(count)
        }

        func read(
            _ ranges: [Range<Int>], of version: SourceVersion, into destination: inout MutableRawSpan
        ) throws(StoreError) {
            reads.withLock { $0 += 1 }
            try file.read(ranges, of: version, into: &destination)
        }
    }

    @Test("many names for the same bytes are compared once, not each time that one is read")
    func manyNames() throws {
        let shared = try tensor(Storage([7]), .u8, [1])
        try Safetensors.save(.dictionary((0..<1000).map { ("\($0)", shared) }), to: folder.path("a"))
        let source = try CountingSource(folder.path("a"))
        let state = try SafetensorsFile.open(source).state()
        for (_, tensor) in state.tensors { #expect(try elements(tensor) == [7]) }
        #expect(source.readCount < 4000)
    }

    @Test("memory for a shared storage is limited")
    func memory() throws {
        let path = try file("[\(group("1000000", member("a"), member("b", "0", "[2]")))]")
        let options = OpenOptions(limits: ReadLimits(maximumBytesInMemory: 999_999))
        let state = try SafetensorsFile.open(path, options: options).state()
        #expect(throws: InteropError.self) { try state["a"]?.tensor?.storage.load() }
        #expect(throws: InteropError.self) { _ = try state["a"]?.tensor.map(elements) }
    }
}
