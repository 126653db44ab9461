import NNStore
import Testing

@Suite("State trees")
struct StateTreeTests {
    /// Saves a tree in memory and reads it back.
    private func roundTrip(_ tree: StateTree, metadata: StateTree = [:]) throws -> StateTree {
        let checkpoint = try Checkpoint.open(MemorySource(containerBytes(tree, metadata: metadata)))
        try #require(try checkpoint.verify().problems == [])
        return try checkpoint.readAll()
    }

    private func integer(_ tree: StateTree?) -> StateInteger? {
        if case .integer(let value) = tree { value } else { nil }
    }

    @Test("integers of every size come back as they were, in one form each")
    func integers() throws {
        let texts = [
            "0", "-1", "9223372036854775807", "-9223372036854775808", "9223372036854775808", "18446744073709551615",
            "18446744073709551616", "-9223372036854775809", "340282366920938463463374607431768211456",
            "-170141183460469231731687303715884105728",
        ]
        let values: [StateInteger] = [
            StateInteger(0), StateInteger(-1), StateInteger(Int64.max), StateInteger(Int64.min),
            StateInteger(UInt64(1) << 63), StateInteger(UInt64.max), StateInteger(Int128(UInt64.max) + 1),
            StateInteger(Int128(Int64.min) - 1), StateInteger(twosComplement: [UInt8](repeating: 0, count: 16) + [1]),
            StateInteger(Int128.min),
        ]
        let loaded = try roundTrip(.list(values.map { .integer($0) }))
        for (index, value) in values.enumerated() {
            #expect(value.description == texts[index])
            #expect(integer(loaded[index]) == value)
            #expect(StateInteger(twosComplement: value.twosComplement) == value)
            #expect(
                StateInteger(twosComplement: value.twosComplement + [value.twosComplement.last! & 0x80 == 0 ? 0 : 255])
                    == value)
        }
        #expect(StateInteger(twosComplement: []) == StateInteger(0))
        #expect(StateInteger(UInt128.max).description == "340282366920938463463374607431768211455")
        #expect(StateInteger(UInt128(1) << 127).description == "170141183460469231731687303715884105728")
    }

    @Test("doubles keep every bit: NaN payloads, the sign of zero, subnormals, infinities")
    func doubles() throws {
        let patterns: [UInt64] = [
            0, 1 << 63, 1, 0x7ff0_0000_0000_0000, 0xfff0_0000_0000_0000, 0x7ff8_0000_0000_0001, 0x7ff0_dead_beef_0001,
            0xffff_ffff_ffff_ffff, (1.5).bitPattern,
        ]
        let loaded = try roundTrip(.list(patterns.map { .double(Double(bitPattern: $0)) }))
        for (index, pattern) in patterns.enumerated() {
            guard case .double(let value) = loaded[index] else { throw Wrong.kind }
            #expect(value.bitPattern == pattern)
        }
    }

    private enum Wrong: Error { case kind }

    @Test("keys are compared by their bytes, and integers are not texts")
    func keys() throws {
        let composed = "\u{e9}"
        let decomposed = "e\u{301}"
        let loaded = try roundTrip(
            .dictionary(
                StateDictionary(keyed: [
                    (.text(composed), 1), (.text(decomposed), 2), (.text("1"), 3), (.integer(1), 4), (.integer(-7), 5),
                    (.text(""), 6), (.text("a\0b"), 7), (.text("a.b"), 8),
                ])))
        #expect(loaded.children.map(\.key.description) == [composed, decomposed, "1", "1", "-7", "", "a\0b", "a.b"])
        #expect(integer(loaded[composed])?.int == 1)
        #expect(integer(loaded[decomposed])?.int == 2)
        #expect(integer(loaded["1"])?.int == 3)
        #expect(integer(loaded[1])?.int == 4)
        #expect(integer(loaded[.integer(-7)])?.int == 5)
        #expect(integer(loaded[""])?.int == 6)
        #expect(integer(loaded["a\0b"])?.int == 7)
    }

    @Test("order, tags, records and every kind of leaf survive")
    func kinds() throws {
        let halves = try TypedValue(.f16, bytes: [0, 0x3c, 0, 0xc0])
        let vocabulary = (0..<3000).map { "token \($0) ü" } + [""]
        let tensor = try StateTensor([Int64(5)], shape: [], requiresGrad: false)
        let parameter = StateTensor(
            tagged: try StateTensor([Float(1)], shape: [1], requiresGrad: true),
            "torch.nn.parameter.Parameter")
        let tree: StateTree = .dictionary([
            ("z", .tensor(tensor)),
            ("a", .dictionary([("p", .tensor(parameter))], tag: "collections.OrderedDict")),
            ("size", .tuple([1, 2], tag: "torch.Size")), ("list", [nil, true, false, [], [:]]),
            ("set", .record(type: "builtins.set", StateDictionary(keyed: [(0, 1), (1, "x")]))),
            ("text", .string(String(repeating: "long ", count: 1000) + "\0end")), ("bytes", .bytes([0, 255, 0])),
            ("none", .bytes([])), ("empty", ""), ("scalar", .scalar(try TypedValue(.bf16, bytes: [0x80, 0x3f]))),
            ("array", .array(halves)), ("noElements", .array(try TypedValue(.i32, bytes: []))),
            ("vocabulary", .strings(vocabulary)), ("noStrings", .strings([])),
            ("large", .bytes([UInt8](repeating: 7, count: 100_000))),
        ])
        let loaded = try roundTrip(tree, metadata: ["format": "pt", "nested": ["list": [1, 2.5, nil]]])
        #expect(describe(loaded) == describe(tree))
        #expect(loaded["a"]?["p"]?.tensor?.requiresGrad == true)
        #expect(loaded["a"]?["p"]?.tensor?.tag == "torch.nn.parameter.Parameter")
    }

    /// A text that shows everything of a tree but the identity of storages.
    private func describe(_ tree: StateTree) -> String {
        switch tree {
        case .dictionary(let entries):
            "{\(entries.tag ?? "") \(entries.map { "\($0.key): \(describe($0.value))" })}"
        case .record(let type, let entries): "<\(type) \(entries.map { "\($0.key): \(describe($0.value))" })>"
        case .list(let elements, let tag): "[\(tag ?? "") \(elements.map(describe))]"
        case .tuple(let elements, let tag): "(\(tag ?? "") \(elements.map(describe)))"
        case .tensor(let tensor):
            "tensor \(tensor.layout) \(tensor.requiresGrad) \((try? tensor.elementBytes) ?? []) \(tensor.tag ?? "")"
        case .null, .boolean, .integer, .double, .string, .bytes, .scalar, .array, .strings: "\(tree)"
        }
    }

    @Test("the root may be a tensor, a leaf or a list")
    func roots() throws {
        let tensor = try StateTensor([UInt8(1), 2], shape: [2])
        #expect(try roundTrip(.tensor(tensor)).tensor?.elementBytes == [1, 2])
        #expect(integer(try roundTrip(5))?.int == 5)
        let checkpoint = try Checkpoint.open(MemorySource(containerBytes(.tensor(tensor))))
        #expect(try checkpoint.tensors.map(\.name) == [""])
        #expect(try checkpoint.read("").elementBytes == [1, 2])
    }

    @Test("a tree of 200 levels is stored, one of 201 is refused, and one of 20,000 too")
    func depth() throws {
        var tree: StateTree = 1
        for _ in 0..<StateTree.maximumDepth { tree = [tree] }
        var loaded = try roundTrip(tree)
        for _ in 0..<StateTree.maximumDepth { loaded = try #require(loaded[0]) }
        #expect(integer(loaded)?.int == 1)
        let tooDeep: StateTree = [tree]
        let error = #expect(throws: StoreError.self) { try containerBytes(tooDeep) }
        #expect(error?.code == "invalid-tree")
        for _ in 0..<20_000 { tree = [tree] }
        #expect(throws: StoreError.self) { try containerBytes(tree) }
        // Taken apart from outside: freeing so deep a tree at once would exhaust the stack, which is its maker's affair.
        while case .list(let elements, _) = tree, let inner = elements.first { tree = inner }
    }

    @Test("what a container can't hold is refused by its path")
    func refused() throws {
        let tensor = try StateTensor([UInt8(1)], shape: [1])
        #expect(throws: StoreError.invalidTree(path: "t", reason: "metadata can't hold tensors")) {
            try containerBytes([:], metadata: ["t": .tensor(tensor)])
        }
        #expect(throws: StoreError.self) { try containerBytes([:], metadata: [1, 2]) }
        #expect(throws: StoreError.self) { try containerBytes(.list([], tag: "")) }
        let odd = try DType(name: "Q", elementsPerBlock: 1, bytesPerBlock: 2)
        let other = try DType(name: "Q", elementsPerBlock: 1, bytesPerBlock: 3)
        let tree: StateTree = [
            .scalar(try TypedValue(odd, bytes: [1, 2])), .scalar(try TypedValue(other, bytes: [1, 2, 3])),
        ]
        let error = #expect(throws: StoreError.self) { try containerBytes(tree) }
        #expect(error?.description.contains("Q") == true)
    }

    @Test("the content id depends on content alone")
    func contentIDs() throws {
        func id(
            _ tree: StateTree, _ metadata: StateTree = [:],
            _ kind: (Compression, FormatVersion) = (.fast, Library.formatVersion)
        ) throws -> Digest {
            let options = SaveOptions(compression: kind.0, formatVersion: kind.1)
            return try Checkpoint.open(MemorySource(containerBytes(tree, metadata: metadata, options: options)))
                .contentID
        }
        let a = try StateTensor([Float](repeating: 1, count: 1000), shape: [1000])
        let b = try StateTensor([Float](repeating: 1, count: 1000), shape: [1000])
        let base = try id(["x": .tensor(a), "y": .tensor(b)])
        for kind in allKinds {
            #expect(try id(["x": .tensor(b), "y": .tensor(a)], [:], kind) == base)
        }
        #expect(try id(["x": .tensor(a), "y": .tensor(a)]) != base, "ties are content")
        #expect(try id(["y": .tensor(a), "x": .tensor(b)]) != base, "order is content")
        #expect(try id(["x": .tensor(a), "y": .tensor(b)], ["k": 1]) != base, "metadata is content")
        #expect(try id(["x": 1]) != id(["x": 1.0]))
        #expect(try id(["x": "1"]) != id(["x": 1]))
        #expect(try id([1: 0]) != id(["1": 0]))
    }
}

extension StateTensor {
    /// The same tensor with a tag.
    init(tagged tensor: StateTensor, _ tag: String) {
        self = tensor
        self.tag = tag
    }
}
