import Foundation
import NNStore
import Testing

@Suite("ckpt-tool")
struct CommandTests {
    private let folder: TemporaryFolder
    private let model = Tool.repository.appendingPathComponent("Examples/Models/silero_vad_16k.safetensors").path

    init() throws { folder = try TemporaryFolder() }

    /// A container with a tie, a view, nesting and scalars.
    private func container() throws -> String {
        let path = folder.path("lm.nnck")
        let storage = try Storage(copying: (0..<12).map { Float($0) - 3 })
        let embedding = StateTree.tensor(try StateTensor(storage: storage, layout: TensorLayout(.f32, shape: [3, 4])))
        let view = StateTree.tensor(
            try StateTensor(storage: storage, layout: TensorLayout(.f32, shape: [4, 3], strides: [1, 4])))
        try Checkpoint.save(
            [
                "embedding.weight": embedding, "head": ["weight": embedding, "transposed": view], "step": 7,
                "bias": .tensor(try StateTensor([Float](), shape: [0])),
            ], metadata: ["by": "test", "nnck.modules": [:]], to: path, options: SaveOptions(existing: .replace))
        return path
    }

    @Test("list prints aligned columns, alias groups and totals")
    func listText() throws {
        let outcome = try Tool.run("list", container())
        #expect(outcome.status == 0)
        let lines = outcome.output.split(separator: "\n")
        #expect(lines[0].contains("container 2.1, saved with fast"))
        #expect(lines[1].split(separator: " ") == ["NAME", "DTYPE", "SHAPE", "SIZE", "STORED", "ALIAS"])
        #expect(lines[2].contains("embedding.weight") && lines[2].hasSuffix("▸ a"))
        #expect(lines[3].contains("head.weight") && lines[3].hasSuffix("▸ a  tied to embedding.weight"))
        #expect(lines[4].hasSuffix("▸ a  view of embedding.weight, transposed"))
        #expect(lines.dropLast().last == "metadata: by")
        #expect(lines.last == "4 tensors, 2 storages, 1 alias group (3 names)")
        #expect(outcome.error == "", "nothing moves in a pipe")
    }

    @Test("list --json prints the object that other tools rely on")
    func listJSON() throws {
        let path = try container()
        let json = try Tool.run("list", path, "--json", "--digest").json
        #expect(
            Set(json.keys) == ["file", "format", "version", "metadata", "modules", "tensors", "aliases", "recovered"])
        #expect(json["file"] as? String == path)
        #expect(json["format"] as? String == "nnck")
        #expect(json["version"] as? Int == 2)
        #expect(json["metadata"] as? [String: String] == ["by": "test"], "the library's own entries are hidden")
        #expect(json["aliases"] as? [[String]] == [["embedding.weight", "head.transposed", "head.weight"]])
        let tensors = try #require(json["tensors"] as? [[String: Any]])
        #expect(
            tensors.map { $0["name"] as? String } == ["embedding.weight", "head.weight", "head.transposed", "bias"])
        #expect(Set(tensors[0].keys) == ["name", "dtype", "shape", "strides", "offset", "storage", "nbytes", "sha256"])
        #expect(tensors[2]["shape"] as? [Int] == [4, 3])
        #expect(tensors[2]["strides"] as? [Int] == [1, 4])
        #expect(tensors[2]["nbytes"] as? Int == 48)
        #expect(tensors[0]["storage"] as? Int == tensors[2]["storage"] as? Int)
        #expect(tensors[0]["storage"] as? Int != tensors[3]["storage"] as? Int)
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        #expect(tensors[3]["sha256"] as? String == empty)
        #expect(tensors[0]["sha256"] as? String == tensors[1]["sha256"] as? String)
        #expect(tensors[0]["sha256"] as? String != tensors[2]["sha256"] as? String)
        let plain = try Tool.run("list", path, "--json").json["tensors"] as? [[String: Any]]
        #expect(plain?.allSatisfy { $0["sha256"] == nil } == true)
        let other = try Tool.run("list", model, "--json").json
        #expect(other["version"] is NSNull)
    }

    @Test("list --tree shows nesting, scalars and metadata")
    func listTree() throws {
        let output = try Tool.run("list", "--tree", container()).output
        #expect(output.contains("  step  7\n"))
        #expect(output.contains("    weight  F32 [3, 4]  ▸ shares embedding.weight\n"))
        #expect(output.contains("metadata  dictionary (1)\n  by  \"test\"\n"))
    }

    @Test("show prints statistics, a histogram and the first values of a tensor, and scalars")
    func show() throws {
        let path = try container()
        let output = try Tool.run("show", path, "embedding.weight").output
        #expect(
            output.contains("F32 [3, 4], row-major, 48 B, tied with head.weight, shares memory with head.transposed"))
        #expect(output.contains("min -3  max 8  mean 2.5  std 3.452  zeros 1  NaN 0  infinite 0"))
        #expect(output.contains("█"))
        #expect(output.contains("first values  [[-3, -2, -1, 0], [1, 2, 3, 4], ...]"))
        #expect(try Tool.run("show", path, "step").output == "step  7\n")
        let json = try Tool.run("show", path, "head.transposed", "--json").json
        #expect(json["mean"] as? Double == 2.5)
        #expect(json["strides"] as? [Int] == [1, 4])
        let missing = try Tool.run("show", path, "weight")
        #expect(missing.status == 2)
        #expect(missing.error.contains("has no entry \"weight\"; similar: "))
        #expect(missing.error.contains("head.weight"))
    }

    @Test("verify says what is wrong and where, and returns 1")
    func verify() throws {
        let path = try container()
        let sound = try Tool.run("verify", path)
        #expect(sound.status == 0)
        #expect(sound.output.hasSuffix("sound (full verification, 2 storages)\n"))
        var bytes = try Data(contentsOf: URL(fileURLWithPath: path))
        bytes[4096] ^= 0x10
        try bytes.write(to: URL(fileURLWithPath: path))
        let damaged = try Tool.run("verify", path)
        #expect(damaged.status == 1)
        #expect(damaged.output.contains("chunk 0 of embedding.weight (file offset 4096): its checksum is "))
        #expect(damaged.output.contains("1 of 2 storages is sound"))
        let json = try Tool.run("verify", path, "--level", "checksums", "--json")
        #expect(json.status == 1)
        #expect(try json.json["ok"] as? Bool == false)
        #expect(try json.json["level"] as? String == "checksums")
        let problems = try #require(try json.json["problems"] as? [[String: Any]])
        #expect(problems.count == 1)
        #expect(problems[0]["kind"] as? String == "chunk")
        #expect(problems[0]["tensor"] as? String == "embedding.weight")
        #expect(problems[0]["offset"] as? Int == 4096)
        #expect(try Tool.run("verify", path, "--level", "structure").status == 0)
    }

    @Test("migrate takes files and folders, says what it did, passes over what is done, and goes on after a bad file")
    func migrate() throws {
        let root = folder.path("checkpoints")
        try FileManager.default.createDirectory(atPath: root + "/deep", withIntermediateDirectories: true)
        let tensor = StateTree.tensor(try StateTensor([Float](repeating: 1.5, count: 5000), shape: [5000]))
        let old = SaveOptions(formatVersion: FormatVersion(1, 0))
        let files = ["a.nnck", "b.nnck", "deep/c.nnck"].map { root + "/" + $0 }
        for file in files { try Checkpoint.save(["w": tensor], to: file, options: old) }
        try Data("text".utf8).write(to: URL(fileURLWithPath: root + "/notes.txt"))
        #expect(try Tool.run("migrate", root).status == 2, "neither -o nor --in-place")
        #expect(try Tool.run("migrate", root, "--in-place", "--to", "7").status == 2)
        let plan = try Tool.run("migrate", root, "--in-place", "--dry-run")
        #expect(plan.status == 0 && plan.output.contains("b.nnck: 1.0 → 2.1, nothing would be lost"))
        #expect(try files.allSatisfy { try Checkpoint.open($0).version.major == 1 })

        var damaged = try Data(contentsOf: URL(fileURLWithPath: files[1]))
        damaged[4100] ^= 1
        try damaged.write(to: URL(fileURLWithPath: files[1]))
        let outcome = try Tool.run("migrate", root, "--in-place", "--json")
        #expect(outcome.status == 1)
        let rows = try #require(try outcome.json["files"] as? [[String: Any]])
        #expect(rows.map { $0["status"] as? String } == ["migrated", "failed", "migrated"])
        #expect((rows[1]["error"] as? String)?.contains("chunk 0 of \"w\"") == true)
        #expect(try Data(contentsOf: URL(fileURLWithPath: files[1])) == damaged, "what is damaged stays as it is")
        try FileManager.default.removeItem(atPath: files[1])
        let again = try Tool.run("migrate", root, "--in-place")
        #expect(again.status == 0 && again.output.contains("c.nnck: has format 2.1 already"))
        #expect(try Tool.run("list", files[0]).output.contains("container 2.1"))

        let back = folder.path("back")
        #expect(try Tool.run("migrate", root, "-o", back, "--to", "1").status == 0)
        #expect(try Checkpoint.open(back + "/deep/c.nnck").version == FormatVersion(1, 0))
        #expect(
            try Tool.run("migrate", root, "-o", back, "--to", "1.0").output
                .contains("a.nnck is there already, with format 1.0"))
        // What is damaged there is not passed over, and written anew on request.
        let copy = back + "/a.nnck"
        var broken = try Data(contentsOf: URL(fileURLWithPath: copy))
        broken[4100] ^= 1
        try broken.write(to: URL(fileURLWithPath: copy))
        let unsound = try Tool.run("migrate", root, "-o", back, "--to", "1")
        #expect(unsound.status == 1 && unsound.error.contains("a.nnck: is there already, with format 1.0, but damaged"))
        #expect(try Tool.run("migrate", root, "-o", back, "--to", "1", "--force").status == 0)
        #expect(try Tool.run("verify", copy).status == 0)
        // A name that says container is believed.
        try Data("text".utf8).write(to: URL(fileURLWithPath: root + "/broken.nnck"))
        let odd = try Tool.run("migrate", root, "--in-place")
        #expect(odd.status == 1 && odd.error.contains("broken.nnck") && odd.output.contains("a.nnck: has format 2.1"))
        try FileManager.default.removeItem(atPath: root + "/broken.nnck")
        #expect(try Tool.run("migrate", files[0], "-o", "-").status == 2)
        // Nothing that one run writes may replace or feed another part of it.
        let twice = folder.path("twice")
        let clash = try Tool.run("migrate", files[0], back + "/a.nnck", "-o", twice, "--force")
        #expect(clash.status == 2 && clash.error.contains("would both become"))
        #expect(!FileManager.default.fileExists(atPath: twice))
        try FileManager.default.createDirectory(atPath: root + "/out", withIntermediateDirectories: true)
        let inside = try Tool.run("migrate", root, "-o", root + "/out", "--to", "1")
        #expect(inside.status == 2 && inside.error.contains("lies in"))
        let both = try Tool.run("migrate", root, "-o", back, "--in-place")
        #expect(both.status == 2 && both.error.contains("not both"))
        #expect(try Tool.run("diff", back + "/a.nnck", files[0]).status == 0)
    }

    @Test("a real model goes in and comes out byte for byte, and is listed the same")
    func realModel() throws {
        let container = folder.path("vad.nnck")
        for compression in ["none", "fast", "smallest"] {
            let imported = try Tool.run("import", model, "-o", container, "--compression", compression, "--force")
            #expect(imported.status == 0, "\(imported.error)")
            #expect(imported.output.contains("verified"))
            let exported = folder.path("vad.safetensors")
            #expect(try Tool.run("export", container, "-o", exported, "--force").status == 0)
            let isSame =
                try Data(contentsOf: URL(fileURLWithPath: exported)) == Data(contentsOf: URL(fileURLWithPath: model))
            #expect(isSame)
            let original = try Tool.run("list", model, "--json", "--digest").json["tensors"] as? NSArray
            let listed = try Tool.run("list", container, "--json", "--digest").json["tensors"] as? NSArray
            #expect(original == listed)
        }
        #expect(folder.names == ["vad.nnck", "vad.safetensors"])
    }

    @Test("an existing destination is refused without --force, and nothing of it is touched")
    func destinations() throws {
        let path = folder.path("there.nnck")
        try Data("mine".utf8).write(to: URL(fileURLWithPath: path))
        let refused = try Tool.run("import", model, "-o", path)
        #expect(refused.status == 2)
        #expect(refused.error.contains("exists already"))
        #expect(try String(contentsOfFile: path, encoding: .utf8) == "mine")
        #expect(try Tool.run("import", model, "-o", path, "--force").status == 0)
        let missing = try Tool.run("import", model, "-o", folder.path("no/such.nnck"))
        #expect(missing.status == 2)
        #expect(missing.error.contains("no/such.nnck") && missing.error.contains("No such file"))
        #expect(folder.names == ["there.nnck"])
    }

    @Test("a container that others refer to is replaced only when asked for just that")
    func referenced() throws {
        let path = folder.path("base.nnck")
        try Checkpoint.save([:], to: path, options: SaveOptions(isReferencedByOthers: true))
        let refused = try Tool.run("import", model, "-o", path, "--force")
        #expect(refused.status == 2)
        #expect(refused.error.contains("refer to it"))
        #expect(try Checkpoint.open(path).isReferencedByOthers)
        #expect(try Tool.run("import", model, "-o", path, "--force-referenced").status == 0)
    }

    @Test("a container goes through a pipe")
    func standardOutput() throws {
        let path = folder.path("piped.nnck")
        let outcome = try Tool.start("/bin/sh", ["-c", "'\(Tool.path)' import '\(model)' -o - > '\(path)'"])
        #expect(outcome.status == 0)
        #expect(try Tool.run("import", model, "-o", folder.path("file.nnck")).status == 0)
        let isSame =
            try Data(contentsOf: URL(fileURLWithPath: path))
            == Data(contentsOf: URL(fileURLWithPath: folder.path("file.nnck")))
        #expect(isSame)
    }

    @Test("bad input gets a sentence, the right exit code, and never a crash")
    func badInput() throws {
        func file(_ name: String, _ bytes: [UInt8]) throws -> String {
            try Data(bytes).write(to: URL(fileURLWithPath: folder.path(name)))
            return folder.path(name)
        }
        let whole = try [UInt8](Data(contentsOf: URL(fileURLWithPath: container())))
        func flipped(_ bytes: [UInt8], at position: Int) -> [UInt8] {
            var bytes = bytes
            bytes[position] ^= 4
            return bytes
        }
        let indexOffset = whole.suffix(8).reduce(0) { $0 << 8 | Int($1) }
        let cases: [(path: String, status: Int32, words: String)] = try [
            (folder.path("missing"), 2, "No such file"), (folder.path, 2, "directory"), (file("empty", []), 1, "empty"),
            (file("text", Array("hello\n".utf8)), 1, "text"),
            (file("cut", Array(whole.dropLast(1000))), 1, "incomplete"),
            (file("index", flipped(whole, at: indexOffset + 300)), 1, "damaged"),
            (file("tail", flipped(whole, at: indexOffset - 3000)), 1, "damaged"),
            (file("header", flipped(whole, at: 2000)), 1, "damaged"),
        ]
        for test in cases {
            for command in [
                ["list"], ["verify"], ["import", "-o", folder.path("out.nnck")],
                ["export", "-o", folder.path("out.safetensors")],
            ] {
                let outcome = try Tool.start(Tool.path, [command[0], test.path] + command.dropFirst())
                let text = outcome.output + outcome.error
                #expect(outcome.status == test.status, "\(command) \(test.path): \(text)")
                #expect(text.contains(test.words), "\(command) \(test.path): \(text)")
                #expect(!text.contains("Fatal") && text.split(separator: "\n").count <= 4, "\(text)")
            }
        }
        #expect(!folder.names.contains { $0.hasPrefix("out") || $0.hasPrefix(".nnstore") })
    }

    @Test("a file that may not be read, and a folder that may not be written to, are told by name")
    func permissions() throws {
        // The superuser may do everything, so the tool runs as nobody then.
        let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups", Tool.path]
        func run(_ arguments: String...) throws -> Outcome {
            getuid() == 0
                ? try Tool.start("/usr/bin/setpriv", nobody + arguments) : try Tool.start(Tool.path, arguments)
        }
        guard let works = try? run("--version"), works.status == 0 else {
            print("passed over: the tool can't be run as another user here")
            return
        }
        let path = try container()
        try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: folder.path)
        try FileManager.default.setAttributes([.posixPermissions: 0], ofItemAtPath: path)
        let unreadable = try run("list", path)
        #expect(unreadable.status == 2)
        #expect(unreadable.error.contains("\(path): can't open: Permission denied"), "\(unreadable.error)")
        try FileManager.default.setAttributes([.posixPermissions: 0o644], ofItemAtPath: path)
        try FileManager.default.setAttributes([.posixPermissions: 0o555], ofItemAtPath: folder.path)
        defer { try? FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: folder.path) }
        let unwritable = try run("export", path, "-o", folder.path("out.nnck"))
        #expect(unwritable.status == 2)
        #expect(
            unwritable.error.contains("out.nnck") && unwritable.error.contains("Permission denied"),
            "\(unwritable.error)")
    }

    @Test("a full disk is an error of the system, and leaves nothing")
    func fullDisk() throws {
        let device = try Tool.run("import", model, "-o", "/dev/full")
        #expect(device.status == 2)
        #expect(device.error.contains("/dev/full") && device.error.contains("No space left"))
        let disk = folder.path("disk")
        try FileManager.default.createDirectory(atPath: disk, withIntermediateDirectories: false)
        guard try Tool.start("/bin/mount", ["-t", "tmpfs", "-o", "size=256k", "tmpfs", disk]).status == 0 else {
            print("passed over: a small file system can't be mounted here")
            return
        }
        defer { _ = try? Tool.start("/bin/umount", [disk]) }
        let outcome = try Tool.run("import", model, "-o", disk + "/x.nnck")
        #expect(outcome.status == 2)
        #expect(outcome.error.contains("No space left"), "\(outcome.error)")
        #expect(try FileManager.default.contentsOfDirectory(atPath: disk) == [])
    }

    @Test("recover saves what is sound, says what is lost, and marks the result")
    func recovery() throws {
        let path = try container()
        // The bytes of storages begin at the second block of 4,096 bytes.
        var bytes = try Data(contentsOf: URL(fileURLWithPath: path))
        bytes[4096 + 8] ^= 1
        let damaged = path + ".damaged.nnck"
        try bytes.write(to: URL(fileURLWithPath: damaged))
        #expect(try Tool.run("verify", damaged).status == 1)
        let sound = path + ".sound.nnck"
        let outcome = try Tool.run("recover", damaged, "-o", sound)
        #expect(outcome.status == 1, "\(outcome.error)")
        #expect(outcome.output.contains("saved, verified") && outcome.output.contains("  lost: "))
        #expect(try Tool.run("verify", sound).status == 0)
        #expect(try Tool.run("list", sound).output.contains("what could be saved of a damaged container; lost: "))
        let again = try Tool.run("recover", damaged, "-o", damaged, "--force")
        #expect(again.status == 2 && again.error.contains("the damaged container itself"))
        #expect(try Data(contentsOf: URL(fileURLWithPath: damaged)) == bytes)
        let whole = try Tool.run("recover", path, "-o", sound, "--force", "--json")
        #expect(whole.status == 0 && whole.output.contains("\"problems\": []"))
        // What can't be read back can't be verified.
        let device = try Tool.run("recover", damaged, "-o", "/dev/null", "--force")
        #expect(device.status == 2 && device.error.contains("read back"), "\(device.error)")
        // Nothing can be done about it, so recovery does not advise itself.
        try Data(bytes.prefix(5000)).write(to: URL(fileURLWithPath: damaged))
        let hopeless = try Tool.run("recover", damaged, "-o", sound, "--force")
        #expect(hopeless.status == 1 && !hopeless.error.contains("ckpt-tool recover"), "\(hopeless.error)")
    }

    @Test("what a name in a file could tell a terminal to do is not said in errors either")
    func escapes() throws {
        let tensor = StateTree.tensor(try StateTensor([1 as Float], shape: [1]))
        let path = folder.path("escapes.nnck")
        let entries = StateDictionary([("\u{1b}]0;title\u{7}weight", tensor)])
        try Checkpoint.save(.dictionary(entries), to: path)
        for option in ["--opaque", "--json"] {
            let outcome = try Tool.run("show", path, "weight", option)
            #expect(outcome.status != 0 && outcome.error.contains("title"), "\(outcome.error)")
            #expect(!outcome.error.utf8.contains(0x1b) && !outcome.error.utf8.contains(7))
        }
    }

    @Test("what --no-sharing would write out of an expanded tensor is limited, before memory is taken")
    func expandedTensors() throws {
        let path = folder.path("expanded.nnck")
        let layout = try TensorLayout(.f32, shape: [1 << 18, 1 << 18], strides: [0, 0])
        let tensor = StateTree.tensor(try StateTensor(storage: Storage([1, 2, 3, 4]), layout: layout))
        try Checkpoint.save(["x": tensor], to: path)
        let outcome = try Tool.run("import", path, "-o", folder.path("own.nnck"), "--no-sharing")
        #expect(outcome.status == 1 && outcome.error.contains("--max-bytes"), "\(outcome.error)")
        #expect(try Tool.run("import", path, "-o", folder.path("shared.nnck")).status == 0)
    }

    @Test("migrating a folder in place leaves alone what links in it lead to")
    func linksInFolders() throws {
        let (inside, outside) = (folder.path("inside"), folder.path("outside.nnck"))
        try FileManager.default.createDirectory(atPath: inside, withIntermediateDirectories: false)
        try Checkpoint.save(["n": 1], to: outside, options: SaveOptions(formatVersion: FormatVersion(1, 0)))
        try Checkpoint.save(
            ["n": 1], to: inside + "/own.nnck", options: SaveOptions(formatVersion: FormatVersion(1, 0)))
        try FileManager.default.createSymbolicLink(atPath: inside + "/link.nnck", withDestinationPath: outside)
        #expect(try Tool.run("migrate", "--in-place", inside).status == 0)
        #expect(try Checkpoint.open(inside + "/own.nnck").version == Library.formatVersion)
        #expect(try Checkpoint.open(outside).version == FormatVersion(1, 0))
    }

    @Test("output that can't be written is a failure")
    func lostOutput() throws {
        let path = try container()
        let outcome = try Tool.start("/bin/sh", ["-c", "'\(Tool.path)' list '\(path)' > /dev/full"])
        #expect(outcome.status == 2)
        #expect(outcome.error.contains("standard output"))
    }

    @Test("import writes containers only, whatever the destination is called")
    func wrongEnding() throws {
        let outcome = try Tool.run("import", model, "-o", folder.path("x.safetensors"))
        #expect(outcome.status == 2)
        #expect(outcome.error.contains("x.nnck") && outcome.error.contains("export"))
    }

    @Test("subnormal, huge and exact values are shown as what they are")
    func extremeValues() throws {
        let path = folder.path("values.nnck")
        try Checkpoint.save(
            [
                "tiny": .tensor(StateTensor([0, .leastNonzeroMagnitude] as [Double], shape: [2])),
                "huge": .tensor(StateTensor([1.7e308, -1.7e308] as [Double], shape: [2])),
                "integers": .tensor(StateTensor([Int64.max, Int64.min, 9_007_199_254_740_993], shape: [3])),
                "complex": .tensor(StateTensor(bytes: [0, 0, 128, 63, 0, 0, 0, 192], dtype: .c64, shape: [1])),
            ], to: path)
        #expect(try Tool.run("show", path, "tiny").status == 0)
        #expect(try Tool.run("show", path, "huge").output.contains("std –"))
        let integers = try Tool.run("show", path, "integers").output
        #expect(integers.contains("min -9223372036854775808  max 9223372036854775807"))
        #expect(integers.contains("9007199254740993]"))
        #expect(try Tool.run("show", path, "complex").output.contains("[1-2i]"))
        #expect(try Tool.run("show", path, "integers", "--json").output.contains("9223372036854775807"))
    }

    @Test("mistakes in the command return 2 and say how it goes")
    func usage() throws {
        for arguments in [
            [], ["nonsense"], ["list"], ["list", "x", "--nonsense"], ["import", model],
            ["export", model, "-o", "x.unknown"],
        ] {
            let outcome = try Tool.start(Tool.path, arguments)
            #expect(outcome.status == (arguments.isEmpty ? 0 : 2), "\(arguments)")
            #expect((outcome.error + outcome.output).contains("ckpt-tool"), "\(arguments)")
        }
        for command in ["list", "show", "verify", "import", "export", "diff", "migrate", "sql"] {
            let help = try Tool.run(command, "--help")
            #expect(help.status == 0)
            #expect(help.output.contains("ckpt-tool \(command) "), "an example")
        }
        #expect(try Tool.run("--version").output == "ckpt-tool \(Library.version), container format 2.1\n")
        for shell in ["bash", "zsh", "fish"] {
            #expect(try Tool.run("--generate-completion-script", shell).output.contains("verify"))
        }
    }

    @Test("names in a hostile file can't move the terminal's cursor")
    func hostileNames() throws {
        let path = folder.path("evil.nnck")
        let tensor = StateTree.tensor(try StateTensor([UInt8(1)], shape: [1]))
        try Checkpoint.save(["a\u{1b}[2J\u{7}b\nc": tensor], to: path)
        let output = try Tool.run("list", path).output
        #expect(!output.contains("\u{1b}") && output.contains("a\\u{1b}[2J\\u{7}b\\u{a}c"))
    }

    @Test("expanded tensors stand for more than the digest may go through, and that is said")
    func expanded() throws {
        let path = folder.path("expanded.nnck")
        let storage = try Storage(byteCount: 4)
        let layout = try TensorLayout(.f32, shape: [1 << 40], strides: [0])
        try Checkpoint.save(["e": .tensor(try StateTensor(storage: storage, layout: layout))], to: path)
        #expect(try Tool.run("list", path).status == 0)
        for arguments in [
            ["list", path, "--digest"], ["show", path, "e"], ["export", path, "-o", folder.path("e.safetensors")],
        ] {
            let outcome = try Tool.start(Tool.path, arguments)
            #expect(outcome.status == 1, "\(arguments)")
            #expect(outcome.error.contains("limit"), "\(outcome.error)")
        }
    }
}
