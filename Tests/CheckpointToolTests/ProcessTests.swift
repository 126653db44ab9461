import Foundation
import NNInterop
import NNStore
import Synchronization
import Testing

@Suite("Processes at once", .serialized)
struct ProcessTests {
    private let folder: URL

    init() throws {
        folder = FileManager.default.temporaryDirectory.appendingPathComponent("process-test-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    }

    /// Two tensors of the same numbers, which another version has none of.
    private func tree(_ version: Int) throws -> StateTree {
        let numbers = [Int64](repeating: Int64(version), count: 4000)
        return [
            "one": .tensor(try StateTensor(numbers, shape: [4000])),
            "other": .tensor(try StateTensor(numbers, shape: [4000])),
        ]
    }

    @Test("other processes see one whole version while a file is replaced again and again")
    func replacing() throws {
        defer { try? FileManager.default.removeItem(at: folder) }
        let path = folder.appendingPathComponent("m.nnck").path
        try Checkpoint.save(tree(0), to: path)
        let isDone = Atomic<Bool>(false)
        let results = Mutex((digests: Set<String>(), problems: [String]()))
        DispatchQueue.concurrentPerform(iterations: 3) { number in
            do {
                if number == 0 {
                    // Until the others have seen a few of them.
                    var version = 1
                    while version <= 1000
                        || version < 20_000 && results.withLock({ $0.digests.count < 20 && $0.problems.isEmpty })
                    {
                        try Checkpoint.save(
                            tree(version), to: path, options: SaveOptions(existing: .replace, isDurable: false))
                        version += 1
                    }
                    isDone.store(true, ordering: .relaxed)
                    return
                }
                while !isDone.load(ordering: .relaxed) {
                    let listed = try Tool.run("list", path, "--json", "--digest")
                    let tensors = try listed.json["tensors"] as? [[String: Any]] ?? []
                    let digests = Set(tensors.compactMap { $0["sha256"] as? String })
                    results.withLock { results in
                        if tensors.count != 2 || digests.count != 1 {
                            results.problems.append(listed.output + listed.error)
                        }
                        results.digests.formUnion(digests)
                    }
                }
            } catch {
                isDone.store(true, ordering: .relaxed)
                results.withLock { $0.problems.append("\(error)") }
            }
        }
        let (digests, problems) = results.withLock { $0 }
        print("\(digests.count) versions seen by other processes")
        #expect(problems == [] && digests.count >= 20)
    }

    @Test("of two imports that start together to one name, one wins whole and the other is refused")
    func importing() throws {
        defer { try? FileManager.default.removeItem(at: folder) }
        let sources = try (0..<2).map { number in
            let path = folder.appendingPathComponent("\(number).safetensors").path
            try Safetensors.save(tree(number), to: path)
            return path
        }
        for round in 0..<10 {
            let destination = folder.appendingPathComponent("\(round).nnck").path
            let outcomes = Mutex([Int: Outcome]())
            DispatchQueue.concurrentPerform(iterations: 2) { number in
                let outcome = try? Tool.run("import", sources[number], "-o", destination)
                outcomes.withLock { $0[number] = outcome }
            }
            let found = outcomes.withLock { $0 }
            #expect(found.values.map(\.status).sorted() == [0, 2])
            #expect(found.values.first { $0.status == 2 }?.error.contains("exists already") == true)
            let winner = try #require(found.first { $0.value.status == 0 }?.key)
            #expect(try Tool.run("diff", sources[winner], destination).status == 0)
        }
    }

    @Test(
        "a migration in place that is killed leaves the old container or the new one, whole (make test-kill: many times)"
    )
    func killing() throws {
        defer { try? FileManager.default.removeItem(at: folder) }
        let path = folder.appendingPathComponent("m.nnck").path
        let numbers = (0..<600_000).map { Float($0) * 0.01 }
        let tree: StateTree = ["w": .tensor(try StateTensor(numbers, shape: [600_000]))]
        try Checkpoint.save(tree, to: path, options: SaveOptions(formatVersion: FormatVersion(1, 0)))
        let contentID = try Checkpoint.open(path).contentID
        var unfinished = 0
        for round in 0..<12 {
            let process = Process()
            process.executableURL = URL(fileURLWithPath: Tool.path)
            process.arguments = ["migrate", "--in-place", "--to", round % 2 == 0 ? "2" : "1", path]
            process.standardOutput = FileHandle.nullDevice
            process.standardError = FileHandle.nullDevice
            try process.run()
            Foundation.Thread.sleep(forTimeInterval: .random(in: 0...0.2))
            kill(process.processIdentifier, SIGKILL)
            process.waitUntilExit()
            let checkpoint = try Checkpoint.open(path)
            #expect(checkpoint.contentID == contentID)
            #expect(try checkpoint.verify().isSound)
            if try FileManager.default.contentsOfDirectory(atPath: folder.path).count > 1 { unfinished += 1 }
        }
        #expect(try Tool.run("migrate", "--in-place", "--to", "2.0", path).status == 0)
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["m.nnck"])
        print("\(unfinished) of 12 were killed while they wrote")
    }

    @Test("random operations for some seconds are what a model of them says (make soak: for hours)")
    func soak() throws {
        let soak = URL(fileURLWithPath: Tool.path).deletingLastPathComponent().appendingPathComponent("soak").path
        // Whether memory is flat can't be seen in five seconds, least of all where a sanitizer keeps what was freed.
        let outcome = try Tool.start(soak, ["--seconds", "5", "--growth", "\(1 << 30)"])
        print(outcome.output)
        #expect(outcome.status == 0 && outcome.output.contains("none with a mismatch"), "\(outcome.error)")
    }
}
