import NNStore
import Testing

@Suite("Other names for entries")
struct PathRenamingTests {
    private func renamed(_ tree: StateTree, _ rules: String...) throws -> [String] {
        let renaming = PathRenaming(try rules.map { try PathRenaming.Rule($0) })
        var names: [String] = []
        try renaming.applied(to: tree).tree.forEachNode { path, node in
            if node.children.isEmpty { names.append(path.keys.map(\.description).joined(separator: "/")) }
        }
        return names
    }

    private let flat: StateTree = ["enc.0.attn.w": 1, "enc.1.attn.w": 2, "encoder.w": 3, "gamma": 4, "a.b.gamma": 5]
    private let nested: StateTree = [
        "model": ["enc": [["attn": ["w": 1]], ["attn": ["w": 2]]], "gamma.x": 3], "step": 4,
    ]

    @Test("are given by paths: to an entry, or to all that is below a place, in flat and nested trees")
    func rules() throws {
        #expect(
            try renamed(flat, "enc=layers") == [
                "layers.0.attn.w", "layers.1.attn.w", "encoder.w", "gamma", "a.b.gamma",
            ])
        #expect(try renamed(flat, "enc.0.attn.w=first")[0] == "first")
        #expect(try renamed(flat, "enc.*.attn=enc.*.attention.inner")[1] == "enc.1.attention.inner.w")
        #expect(try renamed(flat, "**.gamma=**.weight").suffix(2) == ["weight", "a.b.weight"])
        #expect(try renamed(flat, "enc=x", "x.0=y") == ["y.attn.w", "x.1.attn.w", "encoder.w", "gamma", "a.b.gamma"])
        #expect(
            try renamed(nested, "model.enc.*.attn=model.enc.*.attention") == [
                "model/enc/0/attention/w", "model/enc/1/attention/w", "model/gamma.x", "step",
            ])
        #expect(
            try renamed(nested, "model.gamma=model.beta", "model=net") == [
                "net/enc/0/attn/w", "net/enc/1/attn/w", "net/beta.x", "step",
            ])
        #expect(try renamed(nested, "**.attn=**.b")[0] == "model/enc/0/b/w")
        #expect(try renamed(nested, "nothing=something")[0] == "model/enc/0/attn/w")
    }

    @Test("that two entries would have, or that would move one elsewhere, are refused")
    func conflicts() throws {
        #expect(throws: StoreError.self) { try renamed(flat, "enc.*.attn.w=enc.attn.w") }
        #expect(throws: StoreError.self) { try renamed(flat, "gamma=encoder.w") }
        #expect(throws: StoreError.self) { try renamed(nested, "model.gamma=other.gamma") }
        #expect(throws: StoreError.self) { try renamed(nested, "model.gamma.x=model") }
        for text in ["", "a", "a=b=c", "=b", "a=", "a..b=c", "*=b", "**.**=**.**", "*.**=**.*"] {
            #expect(throws: StoreError.self, "\(text)") { try PathRenaming.Rule(text) }
        }
    }

    @Test("are given to a container's entries and modules, without decoding its chunks")
    func containers() throws {
        let tensor = try StateTensor((0..<100_000).map { Float($0) }, shape: [100_000])
        let metadata: StateTree = ["nnck.modules": ["enc.0": ["type": "Block", "version": 2], "": ["version": 1]]]
        let folder = try TemporaryFolder()
        try Checkpoint.save(
            ["enc.0.w": .tensor(tensor), "tied": .tensor(tensor)], metadata: metadata, to: folder.path("a.nnck"))
        let checkpoint = try Checkpoint.open(folder.path("a.nnck"))
        let renaming = PathRenaming([try PathRenaming.Rule("enc=layers")])
        let report = try checkpoint.migrate(to: folder.path("b.nnck"), options: MigrationOptions(renaming: renaming))
        #expect(report.copiedChunkCount == report.chunkCount && report.from == report.to)
        let after = try Checkpoint.open(folder.path("b.nnck"))
        #expect(try after.tensors.map(\.name) == ["layers.0.w", "tied"])
        #expect(try after.tensors[0].storage == after.tensors[1].storage && after.verify().isSound)
        #expect(ModuleVersions.read(from: try after.metadata).map(\.path) == ["layers.0", ""])
        #expect(try after.history.map(\.action) == ["created", "migrated"])
        let unused = PathRenaming([try PathRenaming.Rule("encoder=layers")])
        #expect(throws: StoreError.self) {
            try checkpoint.migrate(to: folder.path("c.nnck"), options: MigrationOptions(renaming: unused))
        }
        #expect(folder.names == ["a.nnck", "b.nnck"])
        // Together with another version of the format.
        try checkpoint.migrate(
            to: folder.path("d.nnck"), options: MigrationOptions(version: FormatVersion(1, 0), renaming: renaming))
        #expect(try Checkpoint.open(folder.path("d.nnck")).verify().isSound)
    }
}
