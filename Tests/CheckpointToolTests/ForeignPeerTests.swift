import Foundation
import Testing

@Suite("Other libraries and this one agree about their files")
struct ForeignPeerTests {
    private let folder: TemporaryFolder
    private static let scripts = Tool.repository.appendingPathComponent("Tests/CheckpointToolTests/Python")

    init() throws { folder = try TemporaryFolder() }

    private func script(_ name: String) -> String { ForeignPeerTests.scripts.appendingPathComponent(name).path }

    /// What we find in a file, in the form of peers.py.
    private func ours(_ path: String) throws -> NSDictionary {
        let tensors = try #require(Tool.run("list", path, "--json", "--digest").json["tensors"] as? [[String: Any]])
        let facts = try tensors.map { tensor in
            (
                try #require(tensor["name"] as? String),
                ["dtype", "shape", "sha256"].reduce(into: [String: Any]()) { $0[$1] = tensor[$1] }
            )
        }
        return NSDictionary(dictionary: Dictionary(uniqueKeysWithValues: facts))
    }

    @Test(
        "what NumPy and gguf-py write is read, imported and exported as they read it",
        arguments: ["npz", "npz-compressed", "npy", "gguf"])
    func written(_ kind: String) throws {
        guard let python = Tool.pythonOrReason() else { return }
        let ending = kind.prefix { $0 != "-" }
        let path = folder.path("theirs.\(ending)")
        let made = try Tool.start(python, [script("peers.py"), "write", kind, path])
        #expect(made.status == 0, "\(made.error)")
        let theirs = try NSDictionary(dictionary: Tool.start(python, [script("peers.py"), "read", path]).json)
        #expect(try ours(path) == theirs)
        let container = folder.path("c.nnck")
        #expect(try Tool.run("import", path, "-o", container).status == 0)
        #expect(try ours(container) == theirs)
        let back = folder.path("back.\(ending)")
        let exported = try Tool.run("export", container, "-o", back, "--strict")
        #expect(exported.status == 0, "\(exported.error)")
        #expect(try NSDictionary(dictionary: Tool.start(python, [script("peers.py"), "read", back]).json) == theirs)
        if kind == "gguf" {
            #expect(try Data(contentsOf: URL(fileURLWithPath: back)) == Data(contentsOf: URL(fileURLWithPath: path)))
        }
    }

    @Test("a real model is the same to us, to safetensors, to NumPy and to gguf-py, whole and in shards")
    func exported() throws {
        guard let python = Tool.pythonOrReason() else { return }
        let model = Tool.repository.appendingPathComponent("Examples/Models/silero_vad_16k.safetensors").path
        let facts = try ours(model)
        for ending in ["safetensors", "npz", "gguf"] {
            let path = folder.path("m.\(ending)")
            #expect(try Tool.run("export", model, "-o", path).status == 0)
            #expect(
                try NSDictionary(dictionary: Tool.start(python, [script("peers.py"), "read", path]).json) == facts,
                "\(ending)")
        }
        let sharded = folder.path("s.safetensors")
        #expect(try Tool.run("export", model, "-o", sharded, "--shard-size", "400KB").status == 0)
        #expect(try ours(sharded + ".index.json") == facts)
        let first = try #require(folder.names.first { $0.hasPrefix("s-00001-of-") })
        let part = try Tool.start(python, [script("peers.py"), "read", folder.path(first)]).json
        #expect(!part.isEmpty && part.count < facts.count)
    }

    @Test("PyTorch finds in our files what was in its own, with everything that shares memory")
    func torch() throws {
        guard let python = Tool.pythonOrReason() else { return }
        let made = try Tool.start(python, [script("torch_files.py"), "write", folder.path("")])
        if made.error.contains("No module named 'torch'") {
            return print("passed over \(#function): torch is not there; `make test-torch` installs it")
        }
        #expect(made.status == 0, "\(made.error)")
        let files = folder.names
        #expect(files.count == 20)
        var pairs: [String] = []
        for file in files {
            let container = folder.path(file + ".nnck")
            let imported = try Tool.run("import", folder.path(file), "-o", container)
            #expect(imported.status == 0, "\(file): \(imported.error)")
            for (number, source) in [container, folder.path(file)].enumerated() {
                let back = folder.path("back-\(number)-\(file)")
                let exported = try Tool.run("export", source, "-o", back, "--to", "pytorch", "--strict")
                #expect(exported.status == 0, "\(file): \(exported.error)")
                pairs += [folder.path(file), back]
            }
        }
        let compared = try Tool.start(python, [script("torch_files.py"), "compare"] + pairs)
        #expect(compared.status == 0, "\(compared.error)")
        print(
            "compared \(files.count) files of PyTorch's with what torch.load(weights_only=True) reads after import and export"
        )
    }
}
