import Foundation
import NNStore
import Testing

/// What other programs make of our files.
@Suite("Other programs")
struct PeerTests {
    private let folder: TemporaryFolder
    private let model = Tool.repository.appendingPathComponent("Examples/Models/silero_vad_16k.safetensors").path

    init() throws { folder = try TemporaryFolder() }

    @Test("the Python reader that was written from the specification reads and verifies an imported real model")
    func specificationReader() throws {
        guard let python = Tool.pythonOrReason() else { return }
        let reader = Tool.repository.appendingPathComponent("spec/read_container.py").path
        for compression in ["none", "fast"] {
            let path = folder.path("\(compression).nnck")
            #expect(try Tool.run("import", model, "-o", path, "--compression", compression).status == 0)
            let verified = try Tool.start(python, [reader, "--verify", path])
            #expect(verified.status == 0 && verified.output.isEmpty, "\(verified.output)\(verified.error)")
            let theirs = try Tool.start(python, [reader, path]).json
            let ours = try Tool.run("list", path, "--json", "--digest").json
            #expect(theirs["tensors"] as? NSArray == ours["tensors"] as? NSArray)
            #expect(theirs["aliases"] as? NSArray == ours["aliases"] as? NSArray)
            #expect(theirs["content_id"] as? String == "\(try Checkpoint.open(path).contentID)")
            #expect(theirs["file_id"] as? String == "\(try Checkpoint.open(path).fileID)")
        }
    }

    @Test(
        "the Python reader and the tool find in the golden files what their manifest says",
        arguments: [("1", 14), ("2", 16), ("2.1", 8)])
    func goldenFiles(_ version: String, _ count: Int) throws {
        let folder = Tool.repository.appendingPathComponent("spec/vectors/v\(version)")
        let manifest = try Data(contentsOf: folder.appendingPathComponent("manifest.json"))
        let entries = try #require(JSONSerialization.jsonObject(with: manifest) as? [[String: Any]])
        #expect(entries.count == count)
        let reader = Tool.repository.appendingPathComponent("spec/read_container.py").path
        let python = Tool.pythonOrReason()
        let later = "\(version.prefix(1)).7"
        for entry in entries {
            let file = try #require(entry["file"] as? String)
            let path = folder.appendingPathComponent(file).path
            let listed = try Tool.run("list", path, "--json", "--digest")
            let verified = try python.map { try Tool.start($0, [reader, "--verify", path]) }
            if entry["refused"] != nil {
                #expect(
                    listed.status == 1 && listed.error.contains("needs feature 5, of container format \(later)"))
                #expect(
                    verified.map { $0.status == 1 && $0.output.contains("needs feature 5, of version \(later)") }
                        ?? true)
                continue
            }
            #expect(try listed.json["tensors"] as? NSArray == entry["tensors"] as? NSArray, "\(file)")
            #expect(try listed.json["aliases"] as? NSArray == entry["aliases"] as? NSArray, "\(file)")
            #expect(try Tool.run("verify", path).status == 0)
            if let python {
                #expect(verified?.status == 0 && verified?.output == "", "\(file): \(verified!.output)")
                let theirs = try Tool.start(python, [reader, path]).json
                for key in ["content_id", "file_id", "tensors", "aliases", "metadata"] {
                    #expect(theirs[key] as? NSObject == entry[key] as? NSObject, "\(file): \(key)")
                }
            }
        }
    }

    @Test("the Python reader finds what is wrong with a damaged container")
    func specificationReaderOnDamage() throws {
        guard let python = Tool.pythonOrReason() else { return }
        let reader = Tool.repository.appendingPathComponent("spec/read_container.py").path
        let path = folder.path("x.nnck")
        #expect(try Tool.run("import", model, "-o", path).status == 0)
        var bytes = try Data(contentsOf: URL(fileURLWithPath: path))
        bytes[5000] ^= 1
        try bytes.write(to: URL(fileURLWithPath: path))
        let verified = try Tool.start(python, [reader, "--verify", path])
        #expect(verified.status == 1 && !verified.output.isEmpty)
        #expect(!verified.error.contains("Traceback"))
    }

    @Test("SQLite's shell opens a container and lists its tensors in order")
    func sqliteShell() throws {
        let path = folder.path("x.nnck")
        let tensor = StateTree.tensor(try StateTensor([Float(1), 2], shape: [2]))
        try Checkpoint.save(["z": tensor, "a": [tensor, ["w.x": tensor, 5: tensor]]], to: path)
        guard FileManager.default.fileExists(atPath: "/usr/bin/sqlite3") else {
            print("passed over: sqlite3 is not installed")
            return
        }
        let outcome = try Tool.start(
            "/usr/bin/sqlite3", ["-readonly", "--append", path, "SELECT name, dtype, shape, size FROM tensors"])
        #expect(outcome.status == 0, "\(outcome.error)")
        #expect(outcome.output == "z|F32|[2]|8\na.0|F32|[2]|8\na.1.w.x|F32|[2]|8\na.1.5|F32|[2]|8\n")
    }

    @Test("safetensors for Python loads what is exported, with equal tensors")
    func safetensors() throws {
        guard let python = Tool.pythonOrReason() else { return }
        var generator = SystemRandomNumberGenerator()
        let storage = try Storage((0..<96).map { _ in UInt8.random(in: 0...255, using: &generator) })
        func tensor(_ dtype: DType, _ shape: [Int], _ strides: [Int]? = nil, _ offset: Int = 0) throws -> StateTree {
            .tensor(
                try StateTensor(
                    storage: storage, layout: TensorLayout(dtype, shape: shape, strides: strides, offset: offset)))
        }
        let container = folder.path("x.nnck")
        let exported = folder.path("x.safetensors")
        try Checkpoint.save(
            [
                "i8": tensor(.i8, [3]), "f32": tensor(.f32, [2, 3]), "transposed": tensor(.f32, [3, 2], [1, 3]),
                "i64": tensor(.i64, [4]), "u16": tensor(.u16, [5], [2], 3), "empty": tensor(.f32, [0, 2]),
            ], metadata: ["note": "ü ✓"], to: container)
        let outcome = try Tool.run("export", container, "-o", exported)
        #expect(outcome.status == 0, "\(outcome.error)")
        let script = """
            import sys, json, hashlib
            from safetensors import safe_open
            with safe_open(sys.argv[1], "np") as f:
                tensors = {k: f.get_tensor(k) for k in f.keys()}
                print(json.dumps({"metadata": f.metadata(), "tensors": {k: [list(v.shape), hashlib.sha256(v.tobytes()).hexdigest()] for k, v in tensors.items()}}))
            """
        let theirs = try Tool.start(python, ["-c", script, exported])
        let tensors = try #require(theirs.json["tensors"] as? [String: [Any]], "\(theirs.error)")
        let ours = try #require(
            try Tool.run("list", container, "--json", "--digest").json["tensors"] as? [[String: Any]])
        #expect(tensors.count == ours.count)
        for tensor in ours {
            let name = try #require(tensor["name"] as? String)
            #expect(tensors[name]?[0] as? [Int] == tensor["shape"] as? [Int], "\(name)")
            #expect(tensors[name]?[1] as? String == tensor["sha256"] as? String, "\(name)")
        }
        #expect((try theirs.json["metadata"] as? [String: String])?["note"] == "ü ✓")
        // The ties come back from the note.
        let again = folder.path("again.nnck")
        #expect(try Tool.run("import", exported, "-o", again).status == 0)
        #expect(
            try Tool.run("list", again, "--json").json["aliases"] as? NSArray
                == Tool.run("list", container, "--json").json["aliases"] as? NSArray)
        #expect(try Tool.run("export", container, "-o", folder.path("no.safetensors"), "--aliases", "fail").status == 1)
    }
}
