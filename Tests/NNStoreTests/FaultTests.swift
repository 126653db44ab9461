import Foundation
import TestSupport
import Testing

@testable import NNStore

/// Every system call of every piece of work fails in turn: what is there stays, or the new is there, whole.
@Suite("Faults", .serialized)
struct FaultTests {
    private let folder: TemporaryFolder
    private let path: String

    init() throws {
        folder = try TemporaryFolder()
        path = folder.path("model.nnck")
    }

    /// Small tensors, a tie, and one that takes several chunks and direct writes.
    private static func tree(_ seed: UInt64) throws -> StateTree {
        var generator = SeededGenerator(seed: seed)
        let large = try Storage(generator.bytes(5 << 20 + 77))
        let small = try Storage(generator.bytes(64))
        return [
            "large": .tensor(try StateTensor(storage: large, layout: TensorLayout(.u8, shape: [5 << 20 + 77]))),
            "small": .tensor(try StateTensor(storage: small, layout: TensorLayout(.f32, shape: [16]))),
            "tied": .tensor(try StateTensor(storage: small, layout: TensorLayout(.f32, shape: [4, 4]))), "n": 3,
        ]
    }

    private func id(_ path: String) throws -> Digest {
        let checkpoint = try Checkpoint.open(path)
        guard try checkpoint.verify(threads: 1).isSound else {
            throw FaultTrial.Finding(description: "\(path) is not sound")
        }
        return checkpoint.contentID
    }

    private static func digest(_ node: StateTree) throws -> Digest {
        try node.tensor!.elementBytes.withRawSpan { Digest(of: $0) }
    }

    private func require(_ condition: Bool, _ what: String) throws {
        if !condition { throw FaultTrial.Finding(description: what) }
    }

    /// Whether the work has done what it was to do.
    private func isDone(_ error: (any Error)?) -> Bool { error?.isReplacedNotDurable ?? true }

    @Test("while a container is replaced", arguments: [1, 3])
    func replacing(threads: Int) throws {
        let (old, new) = (try FaultTests.tree(1), try FaultTests.tree(2))
        try Checkpoint.save(old, to: path)
        let before = try Data(contentsOf: URL(fileURLWithPath: path))
        let newID = try Checkpoint.open(MemorySource(containerBytes(new))).contentID
        let counts = try FaultTrial(in: folder.url.path) {
            try before.write(to: URL(fileURLWithPath: path))
        } work: {
            try Checkpoint.save(new, to: path, options: SaveOptions(existing: .replace, threads: threads))
        } check: { error in
            if isDone(error) {
                try require(try id(path) == newID, "the new container is not there")
            } else {
                try require(try Data(contentsOf: URL(fileURLWithPath: path)) == before, "the old one changed")
            }
        }.run()
        print("replacing, \(threads) threads: \(counts)")
        #expect(counts.failed > 20 && counts.survived > 20)
    }

    @Test("while a container is saved where none is")
    func saving() throws {
        let tree = try FaultTests.tree(3)
        let newID = try Checkpoint.open(MemorySource(containerBytes(tree))).contentID
        let counts = try FaultTrial(in: folder.url.path) {
            try? FileManager.default.removeItem(atPath: path)
        } work: {
            try Checkpoint.save(tree, to: path, options: SaveOptions(verifies: true, threads: 2))
        } check: { error in
            if isDone(error) {
                try require(try id(path) == newID, "the new container is not there")
            } else {
                try require(!FileManager.default.fileExists(atPath: path), "something is there")
            }
        }.run()
        print("saving: \(counts)")
        #expect(counts.failed > 20 && counts.survived > 20)
    }

    @Test("while a container is loaded, read lazily, mapped and verified", arguments: [1, 3])
    func loading(threads: Int) throws {
        let tree = try FaultTests.tree(4)
        let stored = folder.path("stored.nnck")
        try Checkpoint.save(tree, to: path)
        try Checkpoint.save(tree, to: stored, options: SaveOptions(compression: .none))
        let expected = try FaultTests.digest(tree["large"]!)
        let counts = try FaultTrial(in: folder.url.path) {
        } work: {
            let checkpoint = try Checkpoint.open(path)
            let all = try checkpoint.readAll(threads: threads)
            try require(try FaultTests.digest(all["large"]!) == expected, "wrong data")
            try require(try FaultTests.digest(checkpoint.state()["large"]!) == expected, "wrong data, read lazily")
            let report = try checkpoint.verify(.checksums, threads: threads)
            try require(report.isSound, "a sound container is reported as damaged: \(report.problems)")
            let mapped = try Checkpoint.open(stored).map("small")
            try require(try mapped.elementBytes == tree["small"]!.tensor!.elementBytes, "wrong data, mapped")
        } check: { _ in
        }.run()
        print("loading, \(threads) threads: \(counts)")
        #expect(counts.failed > 20)
    }

    @Test("while a container of format 1 is migrated in place")
    func migrating() throws {
        let tree = try FaultTests.tree(5)
        try Checkpoint.save(tree, to: path, options: SaveOptions(formatVersion: FormatVersion(1, 0)))
        let before = try Data(contentsOf: URL(fileURLWithPath: path))
        let contentID = try id(path)
        let counts = try FaultTrial(in: folder.url.path) {
            try before.write(to: URL(fileURLWithPath: path))
        } work: {
            try Checkpoint.open(path).migrate(to: path, options: MigrationOptions(existing: .replace, threads: 2))
        } check: { error in
            if isDone(error) {
                try require(try id(path) == contentID, "the content is another")
                try require(try Checkpoint.open(path).version == Library.formatVersion, "not migrated")
            } else {
                try require(try Data(contentsOf: URL(fileURLWithPath: path)) == before, "the old one changed")
            }
        }.run()
        print("migrating: \(counts)")
        #expect(counts.failed > 20 && counts.survived > 20)
    }

    @Test("while a damaged container is recovered: what a disk can't read is lost, and nothing else")
    func recovering() throws {
        let tree = try FaultTests.tree(6)
        let damaged = folder.path("damaged.nnck")
        try Checkpoint.save(tree, to: damaged)
        var bytes = try Data(contentsOf: URL(fileURLWithPath: damaged))
        bytes[bytes.count - 3000] ^= 1
        try bytes.write(to: URL(fileURLWithPath: damaged))
        let counts = try FaultTrial(in: folder.url.path) {
            try? FileManager.default.removeItem(atPath: path)
        } work: {
            try Checkpoint.recover(damaged, to: path)
        } check: { error in
            if isDone(error) {
                let checkpoint = try Checkpoint.open(path)
                try require(try checkpoint.verify(threads: 1).isSound, "what was saved is not sound")
                let state = try checkpoint.state()
                for entry in try checkpoint.tensors {
                    let isSame = try FaultTests.digest(state[entry.name]!) == FaultTests.digest(tree[entry.name]!)
                    try require(isSame, "wrong data")
                }
            } else {
                try require(!FileManager.default.fileExists(atPath: path), "something is there")
            }
        }.run()
        print("recovering: \(counts)")
        #expect(counts.failed > 20)
    }
}
