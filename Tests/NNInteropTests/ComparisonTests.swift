import NNInterop
import NNStore
import Testing

@Suite("Two checkpoints are compared")
struct ComparisonTests {
    private let folder: TemporaryFolder
    init() throws { folder = try TemporaryFolder() }

    /// Saves two trees as containers and compares them.
    private func compare(
        _ first: StateTree, _ second: StateTree, metadata: (StateTree, StateTree) = ([:], [:]),
        options: ComparisonOptions = ComparisonOptions()
    ) throws -> CheckpointComparison {
        let replacing = SaveOptions(existing: .replace)
        try Checkpoint.save(first, metadata: metadata.0, to: folder.path("a"), options: replacing)
        try Checkpoint.save(second, metadata: metadata.1, to: folder.path("b"), options: replacing)
        return try compareFiles(options)
    }

    private func compareFiles(_ options: ComparisonOptions = ComparisonOptions()) throws -> CheckpointComparison {
        try CheckpointComparison(
            CheckpointFiles.open(folder.path("a")), CheckpointFiles.open(folder.path("b")), options: options)
    }

    private func tensor(_ values: [Float], requiresGrad: Bool = false, tag: String? = nil) throws -> StateTree {
        var tensor = try StateTensor(values, shape: [values.count])
        (tensor.requiresGrad, tensor.tag) = (requiresGrad, tag)
        return .tensor(tensor)
    }

    // MARK: Trees

    @Test("files of other compression are equal by their content ids, those of another order by their digests")
    func equal() throws {
        let tensors = (try tensor([1, 2, 3]), try tensor([4, 5]))
        for compression in Compression.allCases {
            let options = SaveOptions(compression: compression, existing: .replace)
            try Checkpoint.save(["a": tensors.0, "b": tensors.1], to: folder.path("a"))
            try Checkpoint.save(["a": tensors.0, "b": tensors.1], to: folder.path("b"), options: options)
            let comparison = try compareFiles()
            #expect(comparison.isEqual && comparison.equalEntryCount == nil)
            try Checkpoint.save(
                ["b": tensors.1, "a": tensors.0], to: folder.path("b"), options: SaveOptions(existing: .replace))
            let reordered = try compareFiles()
            #expect(reordered.isEqual && reordered.equalEntryCount == 2)
            try folder.remove("a")
        }
    }

    @Test("entries are told in the order of the first tree, then those that only the second has")
    func renamed() throws {
        let values = try tensor([1, 2])
        let comparison = try compare(
            ["z": values, "old": values, "m": ["x": 1, "y": 2], "same": 3],
            ["new": values, "z": try tensor([1, 3]), "m": ["y": 2, "w": 1], "same": 3])
        #expect(comparison.entries.map(\.name) == ["z", "old", "m.x", "new", "m.w"])
        #expect(comparison.entries.map(\.change) == [.changed, .removed, .removed, .added, .added])
        #expect(comparison.equalEntryCount == 2)
        #expect(comparison.entries[2].path == StatePath(["m", "x"]))
        #expect(comparison.entries[1].second == nil && comparison.entries[3].first == nil)
    }

    @Test("another dtype, shape, tag or wish for gradients is a change, and elements are not compared then")
    func descriptions() throws {
        let doubles = StateTree.tensor(try StateTensor([1, 2] as [Double], shape: [2]))
        let column = StateTree.tensor(try StateTensor([1, 2] as [Float], shape: [2, 1]))
        let comparison = try compare(
            ["a": try tensor([1, 2]), "b": try tensor([1, 2]), "c": try tensor([1]), "d": try tensor([1])],
            [
                "a": doubles, "b": column, "c": try tensor([1], requiresGrad: true),
                "d": try tensor([1], tag: "Parameter"),
            ])
        #expect(
            comparison.entries.map(\.aspects) == [
                [.dtype(.f32, .f64)], [.shape([2], [2, 1])], [.requiresGrad(false, true)], [.tag(nil, "Parameter")],
            ])
    }

    @Test("kinds, tags and plain values are compared bit for bit, and shown where they differ")
    func leaves() throws {
        let long = String(repeating: "x", count: 100)
        let nan = (Double(nan: 1, signaling: false), Double(nan: 2, signaling: false))
        func array(_ values: [UInt8]) throws -> StateTree { .array(try TypedValue(.i16, bytes: values)) }
        let comparison = try compare(
            [
                "list": [1, 2], "tagged": .dictionary([], tag: "A"), "leaf": ["x": 1], "n": 7, "s": "a", "kind": 1,
                "nan": .double(nan.0), "zero": 0.0, "bytes": .bytes([1, 2, 3]), "array": try array([1, 0, 2, 0]),
                "long": .string(long + "a" + long), "e": "e\u{301}", "big": .integer(StateInteger(Int128.max)),
                "strings": .strings(["a", "b"]), "same": .double(nan.0),
            ],
            [
                "list": .tuple([1, 3]), "tagged": .dictionary([], tag: "B"), "leaf": 5, "n": 8, "s": "a\u{0}",
                "kind": "1",
                "nan": .double(nan.1), "zero": -0.0, "bytes": .bytes([1, 9, 3]),
                "array": try array([1, 0, 3, 0, 4, 0]),
                "long": .string(long + "b" + long), "e": "\u{e9}", "big": .integer(StateInteger(Int128.max - 1)),
                "strings": .strings(["a", "c", "d"]), "same": .double(nan.0),
            ])
        let found = comparison.entries.map { "\($0.name) \($0.change) \($0.aspects.map(text).joined(separator: ", "))" }
        #expect(
            found == [
                "list changed kind list tuple", "list.1 changed 2 -> 3", "tagged changed tag A B",
                "leaf changed kind dictionary integer", "leaf.x removed ", "n changed 7 -> 8",
                "s changed \"a\" -> \"a\u{0}\"", "kind changed kind integer string, 1 -> \"1\"",
                "nan changed NaN (7ff8000000000001) -> NaN (7ff8000000000002)", "zero changed 0.0 -> -0.0",
                "bytes changed 3 bytes 010203 -> 3 bytes 010903", "array changed [1] 2 of 2 -> [1] 3 of 3",
                "long changed ...\"\(long.prefix(20))a\(long.prefix(39))\"... -> ...\"\(long.prefix(20))b\(long.prefix(39))\"...",
                "e changed \"e\u{301}\" -> \"\u{e9}\"", "big changed \(Int128.max) -> \(Int128.max - 1)",
                "strings changed [1] \"b\" of 2 -> [1] \"c\" of 3",
            ])
        #expect(comparison.equalEntryCount == 2)
    }

    private func text(_ aspect: EntryDifference.Aspect) -> String {
        switch aspect {
        case .value(let old, let new): "\(old) -> \(new)"
        case .kind(let old, let new): "kind \(old) \(new)"
        case .tag(let old, let new): "tag \(old ?? "none") \(new ?? "none")"
        default: "\(aspect)"
        }
    }

    @Test("metadata are compared apart, or not at all")
    func metadata() throws {
        let state: StateTree = ["a": 1]
        let metadata: (StateTree, StateTree) = (["note": "x", "epoch": 1], ["note": "y", "by": "me", "epoch": 1])
        let comparison = try compare(state, state, metadata: metadata)
        #expect(comparison.entries.isEmpty && !comparison.isEqual)
        #expect(comparison.metadata.map(\.name) == ["note", "by"])
        #expect(comparison.metadata[0].aspects == [.value("\"x\"", "\"y\"")])
        #expect(try compareFiles(ComparisonOptions(ignoresMetadata: true)).isEqual)
    }

    @Test("the library's own metadata count between containers only")
    func ownMetadata() throws {
        let state: StateTree = ["a": try tensor([1])]
        #expect(
            try compare(state, state, metadata: (["nnck.modules": [:]], [:])).metadata.map(\.name) == ["nnck.modules"])
        try CheckpointFiles.open(folder.path("a")).saveAsSafetensors(
            to: folder.path("b"), options: ExportOptions(existing: .replace))
        #expect(try compareFiles().isEqual)
    }

    // MARK: Aliases

    @Test("groups of tensors over one storage are compared among the entries that both files have")
    func aliases() throws {
        func tied() throws -> StateTree { try tensor([1, 2]) }
        let (one, other, third) = (try tied(), try tied(), try tied())
        let untied = try compare(
            ["a": one, "b": one, "c": one, "d": other, "e": other],
            ["a": one, "b": one, "c": other, "d": third, "e": third])
        #expect(untied.entries.isEmpty && untied.equalEntryCount == 5)
        #expect(untied.aliasGroupsOnlyInFirst == [["a", "b", "c"]])
        #expect(untied.aliasGroupsOnlyInSecond == [["a", "b"]])
        let absent = try compare(["a": one, "b": one, "c": one], ["a": one, "b": one, "x": one])
        #expect(absent.aliasGroupsOnlyInFirst.isEmpty && absent.aliasGroupsOnlyInSecond.isEmpty)
        #expect(absent.entries.map(\.name) == ["c", "x"])
    }

    @Test("a safetensors file with NNStore's note is equal to the container that it came from, nested or not")
    func otherFormat() throws {
        let tied = try tensor([1, 2, 3])
        let state: StateTree = ["layer": ["weight": tied, "bias": try tensor([4])], "head.weight": tied]
        try Checkpoint.save(state, metadata: ["note": "x"], to: folder.path("a"))
        try CheckpointFiles.open(folder.path("a")).saveAsSafetensors(to: folder.path("b"))
        let comparison = try compareFiles()
        #expect(comparison.isEqual && comparison.equalEntryCount == 3)
        let unknowing = try CheckpointComparison(
            CheckpointFiles.open(folder.path("a")),
            CheckpointFiles.open(folder.path("b"), options: OpenOptions(ignoresAliasNote: true)))
        #expect(unknowing.entries.isEmpty && unknowing.aliasGroupsOnlyInFirst == [["layer.weight", "head.weight"]])
        let mixed: StateTree = ["layer": ["weight": tied, "bias": try tensor([5])], "head.weight": tied, "step": 1]
        try Checkpoint.save(
            mixed, metadata: ["note": "x"], to: folder.path("a"), options: SaveOptions(existing: .replace))
        #expect(try compareFiles().entries.map(\.name) == ["layer.bias", "step"])
    }
}
