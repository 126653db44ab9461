import Foundation
import TestSupport
import Testing

@testable import NNStore

/// Every state that a power cut may leave, at every moment of a piece of work: the old file or the new one, whole.
@Suite("Power cuts", .serialized)
struct CrashTests {
    private let folder: TemporaryFolder
    private let path: String

    init() throws {
        folder = try TemporaryFolder()
        path = folder.path("model.nnck")
    }

    /// Large enough for several writes, some of them past the page cache.
    private static func tree(_ seed: UInt64) throws -> StateTree {
        var generator = SeededGenerator(seed: seed)
        let storage = try Storage(generator.bytes((5 << 20) + 300))
        return [
            "a": .tensor(try StateTensor(storage: storage, layout: TensorLayout(.u8, shape: [(5 << 20) + 300]))),
            "n": 7,
        ]
    }

    /// What the destination is in the states that a power cut may leave.
    private struct Outcome {
        var states = 0
        var ids: [Digest?] = []
        var broken = 0
        /// What it is in the states after the work has returned.
        var final: Set<Digest?> = []
    }

    private func outcome(of recorder: CrashRecorder, samples: Int = 3) throws -> Outcome {
        let seed = testSeed
        print("seed \(seed) (set NNSTORE_TEST_SEED to repeat)")
        var generator = SeededGenerator(seed: seed)
        var outcome = Outcome()
        var known: [[UInt8]: Digest?] = [:]
        let last = recorder.momentCount - 1
        try recorder.forEachState(samples: samples, using: &generator) { moment, files in
            outcome.states += 1
            guard let bytes = files[path] else {
                outcome.ids.append(nil)
                if moment == last { outcome.final.insert(nil) }
                return
            }
            let id: Digest?
            if let earlier = known[bytes] {
                id = earlier
            } else {
                let checkpoint = try? Checkpoint.open(MemorySource(bytes))
                let isSound = try checkpoint?.verify(threads: 1).isSound ?? false
                id = isSound ? checkpoint!.contentID : nil
                known[bytes] = id
            }
            if id == nil { outcome.broken += 1 }
            outcome.ids.append(id)
            if moment == last { outcome.final.insert(id) }
        }
        return outcome
    }

    @Test("while a container is replaced", arguments: [1, 2])
    func replacing(threads: Int) throws {
        let (old, new) = (try CrashTests.tree(1), try CrashTests.tree(2))
        try Checkpoint.save(old, to: path)
        let oldID = try Checkpoint.open(path).contentID
        let recorder = CrashRecorder(files: [path: [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))])
        try SystemCall.observing(folder.url.path, with: recorder) {
            try Checkpoint.save(new, to: path, options: SaveOptions(existing: .replace, threads: threads))
        }
        let newID = try Checkpoint.open(path).contentID
        let outcome = try outcome(of: recorder)
        print("replacing: \(outcome.states) states")
        #expect(outcome.broken == 0)
        #expect(Set(outcome.ids) == [oldID, newID])
        #expect(outcome.final == [newID], "a save that has returned can be undone")
    }

    @Test("while a container is saved where none is")
    func saving() throws {
        let recorder = CrashRecorder(files: [:])
        try SystemCall.observing(folder.url.path, with: recorder) {
            try Checkpoint.save(CrashTests.tree(3), to: path)
        }
        let id = try Checkpoint.open(path).contentID
        let outcome = try outcome(of: recorder)
        #expect(outcome.broken == 0)
        #expect(Set(outcome.ids) == [nil, id] && outcome.final == [id])
    }

    @Test("while a container is migrated in place")
    func migrating() throws {
        try Checkpoint.save(CrashTests.tree(4), to: path, options: SaveOptions(formatVersion: FormatVersion(1, 0)))
        let checkpoint = try Checkpoint.open(path)
        let recorder = CrashRecorder(files: [path: [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))])
        try SystemCall.observing(folder.url.path, with: recorder) {
            _ = try checkpoint.migrate(to: path, options: MigrationOptions(existing: .replace))
        }
        let outcome = try outcome(of: recorder)
        print("migrating: \(outcome.states) states")
        #expect(outcome.broken == 0 && Set(outcome.ids) == [checkpoint.contentID])
    }

    @Test("the checker sees what is wrong with a save that does not sync")
    func withoutSync() throws {
        try Checkpoint.save(CrashTests.tree(5), to: path)
        let recorder = CrashRecorder(files: [path: [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))])
        try SystemCall.observing(folder.url.path, with: recorder) {
            try Checkpoint.save(
                CrashTests.tree(6), to: path, options: SaveOptions(existing: .replace, isDurable: false))
        }
        let outcome = try outcome(of: recorder)
        #expect(outcome.broken > 0 && outcome.final.count > 1)
    }
}
