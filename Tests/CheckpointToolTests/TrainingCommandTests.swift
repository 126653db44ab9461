import Foundation
import NNStore
import Testing

@Suite("ckpt-tool with models and trainings")
struct TrainingCommandTests {
    private let folder: TemporaryFolder
    init() throws { folder = try TemporaryFolder() }

    /// What a training saves, made by hand: this tool does not know the library of tensors.
    private func save(_ name: String, step: Int, _ values: [Float] = [1, 2, 3]) throws -> String {
        let weight = StateTree.tensor(try StateTensor(values, shape: [values.count]))
        let state: StateTree = [
            "step": .integer(step),
            "model": .dictionary([("body.0.fc.weight", weight), ("body.1.fc.weight", weight), ("head", weight)]),
            "optimizer": ["param_groups": [["lr": 0.5, "params": [0]]]],
            "default_generator": ["seed": 7, "offset": .integer(step * 10)],
        ]
        let metadata: StateTree = [
            "nnck.modules": [
                "model": ["type": "Net", "version": 2], "model.body.0": ["type": "Block", "version": 3],
                "model.body.1": ["type": "Block", "version": 3],
            ],
            "nnck.training": ["version": 1],
        ]
        try Checkpoint.save(state, metadata: metadata, to: folder.path(name), options: SaveOptions(existing: .replace))
        return folder.path(name)
    }

    @Test("list shows modules with their versions, scalars and nesting; show prints a scalar")
    func list() throws {
        let file = try save("a.nnck", step: 100)
        let text = try Tool.run("list", file).output
        #expect(text.contains("\nmodules, with versions: Net 2, Block 3 (2)\n"))
        let tree = try Tool.run("list", "--tree", file).output
        for line in [
            "  step  100", "  optimizer  dictionary (1)", "        lr  0.5", "  model.body.0  Block, version 3",
            "modules  (3)",
        ] {
            #expect(tree.contains("\n\(line)\n"), "\(line) in \(tree)")
        }
        let modules = try #require(Tool.run("list", "--json", file).json["modules"] as? [[String: Any]])
        #expect(modules.map { $0["path"] as? String } == ["model", "model.body.0", "model.body.1"])
        #expect(modules.map { $0["version"] as? Int } == [2, 3, 3])
        #expect(try Tool.run("show", file, "step").output == "step  100\n")
        #expect(try Tool.run("show", file, "default_generator.offset", "--json").json["value"] as? Int == 1000)
    }

    @Test("diff says what changed from one step of a training to another")
    func diff() throws {
        let outcome = try Tool.run("diff", try save("a.nnck", step: 100), try save("b.nnck", step: 200, [1, 2, 4]))
        #expect(outcome.status == 1)
        for part in ["step", "100 → 200", "1000 → 2000", "1 of 3 elements, largest difference 1"] {
            #expect(outcome.output.contains(part), "\(part) in \(outcome.output)")
        }
        #expect(!outcome.output.contains("param_groups"))
    }

    @Test("migrate --rename gives entries and modules other names, from the command line or a file")
    func rename() throws {
        let file = try save("a.nnck", step: 1)
        let rules = "model.body=model.layers,model.layers.*.fc=model.layers.*.linear"
        let outcome = try Tool.run("migrate", file, "-o", folder.path("b.nnck"), "--rename", rules)
        #expect(outcome.status == 0 && outcome.error == "" && outcome.output.contains("a.nnck: renamed to "))
        let list = try Tool.run("list", folder.path("b.nnck"), "--json").json
        let tensors = try #require(list["tensors"] as? [[String: Any]])
        #expect(
            tensors.map { $0["name"] as? String } == [
                "model.layers.0.linear.weight", "model.layers.1.linear.weight", "model.head",
            ])
        #expect((list["aliases"] as? [[String]])?.first?.count == 3)
        let modules = try #require(list["modules"] as? [[String: Any]])
        #expect(modules.map { $0["path"] as? String } == ["model", "model.layers.0", "model.layers.1"])

        try Data("# new names\nmodel.body = model.layers\n\nmodel.head=model.output\n".utf8).write(
            to: URL(fileURLWithPath: folder.path("rules.txt")))
        let before = try Data(contentsOf: URL(fileURLWithPath: file))
        #expect(
            try Tool.run("migrate", "--in-place", "--dry-run", file, "--rename", "@" + folder.path("rules.txt")).status
                == 0)
        #expect(try Data(contentsOf: URL(fileURLWithPath: file)) == before)
        #expect(try Tool.run("migrate", "--in-place", file, "--rename", "@" + folder.path("rules.txt")).status == 0)
        #expect(try Tool.run("show", file, "model.output").status == 0)
        #expect(try Tool.run("verify", file).status == 0)
    }

    @Test("migrate --rename refuses rules that are none, that fit nothing, or that make one name of two")
    func wrongRules() throws {
        let file = try save("a.nnck", step: 1)
        func run(_ rules: String) throws -> Outcome {
            try Tool.run("migrate", file, "-o", folder.path("b.nnck"), "--rename", rules)
        }
        for rules in ["model", "a=b=c", "@/no/such/file", "", "model.*=model"] {
            #expect(try run(rules).status == 2, "\(rules)")
        }
        let nothing = try run("modle=model2")
        #expect(nothing.status == 2 && nothing.error.contains("no rule is about any entry"))
        let unused = try run("model.head=model.out,modle=x")
        #expect(unused.status == 1 && unused.error.contains("the rule modle=x is about no entry of it"))
        let clash = try run("model.body.*=model.body")
        #expect(clash.status == 2)
        let same = try run("model.body.0=model.body.1")
        #expect(same.status != 0 && same.error.contains("which another entry has"))
        #expect(!FileManager.default.fileExists(atPath: folder.path("b.nnck")))
    }
}
