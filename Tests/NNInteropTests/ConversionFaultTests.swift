import Foundation
import NNInterop
import NNStore
import Synchronization
import TestSupport
import Testing

/// Every system call of an import or an export fails in turn: what is there stays, or the new is there, whole.
@Suite("Faults while converting", .serialized)
struct ConversionFaultTests {
    private static let fixtures = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .appendingPathComponent("Fixtures")

    private let folder: TemporaryFolder
    private let destination: String

    init() throws {
        folder = try TemporaryFolder()
        destination = folder.path("out")
    }

    private func require(_ condition: Bool, _ what: String) throws {
        if !condition { throw FaultTrial.Finding(description: what) }
    }

    private func bytes(_ path: String) throws -> Data { try Data(contentsOf: URL(fileURLWithPath: path)) }

    /// Runs `work`, which replaces the file at ``destination``, with every fault; without one it makes the same bytes each time.
    private func tryFaults(_ what: String, _ work: @escaping () throws -> Void) throws {
        let before = Data("what was there".utf8)
        try work()
        let expected = try bytes(destination)
        let counts = try FaultTrial(in: folder.url.path, throwing: [StoreError.self, InteropError.self]) {
            try before.write(to: URL(fileURLWithPath: destination))
        } work: {
            try work()
        } check: { error in
            let isDone = error?.isReplacedNotDurable ?? true
            try require(
                try bytes(destination) == (isDone ? expected : before), "the destination is neither old nor new")
        }.run()
        print("\(what): \(counts)")
        #expect(counts.failed > 20 && counts.survived > 5, "\(what)")
    }

    @Test(
        "while a file of another library is imported",
        arguments: [
            "dtypes.safetensors", "training.pt", "legacy_tied.pth", "arrays.npz", "arrays_deflate.npz", "model.gguf",
        ])
    func importing(_ name: String) throws {
        let source = folder.path(name)
        try FileManager.default.copyItem(
            atPath: ConversionFaultTests.fixtures.appendingPathComponent(name).path, toPath: source)
        var open = OpenOptions()
        open.keepsUnknownTypes = true
        try tryFaults("importing \(name)") {
            try CheckpointFiles.open(source, options: open)
                .saveAsContainer(to: destination, options: SaveOptions(existing: .replace, threads: 2))
        }
    }

    @Test("while a sharded model is imported")
    func importingShards() throws {
        let tree: StateTree = try [
            "a": .tensor(StateTensor((0..<3000).map { Float($0) }, shape: [3000])),
            "b": .tensor(StateTensor((0..<3000).map { Float(-$0) }, shape: [3000])),
        ]
        try ShardedExport.save(tree, to: folder.path("m.safetensors"), as: .safetensors, maximumShardSize: 12_000)
        let index = folder.path("m.safetensors.index.json")
        try tryFaults("importing shards") {
            try CheckpointFiles.open(index)
                .saveAsContainer(to: destination, options: SaveOptions(existing: .replace, threads: 1))
        }
    }

    @Test("while a container is exported", arguments: [WritableFormat.safetensors, .pytorch, .npz, .gguf])
    func exporting(_ format: WritableFormat) throws {
        let tree: StateTree = try [
            "a": .tensor(StateTensor((0..<3000).map { Float($0) }, shape: [50, 60])),
            "b": .tensor(StateTensor((0..<300).map { Float(-$0) }, shape: [300])),
        ]
        let source = folder.path("source.nnck")
        try Checkpoint.save(tree, to: source)
        var options = ExportOptions()
        options.existing = .replace
        try tryFaults("exporting \(format)") {
            let file = try CheckpointFiles.open(source)
            switch format {
            case .safetensors: try file.saveAsSafetensors(to: destination, options: options)
            case .pytorch: try file.saveAsPyTorch(to: destination, options: options)
            case .npz: try file.saveAsNumPy(to: destination, options: options)
            default: try file.saveAsGGUF(to: destination, options: options)
            }
        }
    }

    /// A double that lets the first save that puts files in place wait before its second one: for the other save, or, where
    /// that one waits for the first, for half a second.
    private final class Pause: SystemCallObserver {
        private let renames = Mutex(0)
        let isBetween = DispatchSemaphore(value: 0)
        let otherIsDone = DispatchSemaphore(value: 0)

        func outcome(of call: ObservedCall) -> InjectedOutcome? {
            guard call.kind == .rename,
                renames.withLock({
                    $0 += 1; return $0
                }) == 2
            else { return nil }
            isBetween.signal()
            _ = otherIsDone.wait(timeout: .now() + 0.5)
            return nil
        }
    }

    @Test("two sharded models that replace each other at once do not mix")
    func racingShards() throws {
        let path = folder.path("m.safetensors")
        @Sendable func save(_ value: Float) throws {
            let tensors = try (0..<6).map { number in
                ("t\(number)", StateTree.tensor(try StateTensor([Float](repeating: value, count: 500), shape: [500])))
            }
            try ShardedExport.save(
                .dictionary(StateDictionary(tensors)), to: path, as: .safetensors, maximumShardSize: 2000,
                options: ExportOptions(existing: .replace, isDurable: false))
        }
        try save(0)
        let pause = Pause()
        let first = DispatchGroup()
        let failure = Mutex<(any Error)?>(nil)
        try SystemCall.observing(folder.url.path, with: pause) {
            DispatchQueue.global().async(group: first) {
                do { try save(1) } catch { failure.withLock { $0 = error } }
            }
            pause.isBetween.wait()
            try save(2)
            pause.otherIsDone.signal()
            first.wait()
        }
        #expect(failure.withLock { $0 } == nil)
        let state = try CheckpointFiles.open(path + ".index.json").state()
        #expect(state.tensors.count == 6)
        let values = try state.tensors.map { try elements($0.tensor) }
        #expect(values.allSatisfy { $0 == values[0] }, "a mixture of both")
    }

    @Test("while a sharded model replaces another one: until all files are written, all of them are the old ones")
    func exportingShards() throws {
        func tree(_ sign: Float) throws -> StateTree {
            try [
                "a": .tensor(StateTensor((0..<3000).map { sign * Float($0) }, shape: [3000])),
                "b": .tensor(StateTensor((0..<3000).map { -sign * Float($0) }, shape: [3000])),
            ]
        }
        var options = ExportOptions()
        options.existing = .replace
        func save(_ sign: Float) throws {
            try ShardedExport.save(
                tree(sign), to: folder.path("m.safetensors"), as: .safetensors, maximumShardSize: 12_000,
                options: options)
        }
        func contents() throws -> [String: Data] {
            Dictionary(
                uniqueKeysWithValues: try folder.names.filter { $0.hasPrefix("m") }.map {
                    ($0, try bytes(folder.path($0)))
                })
        }
        try save(2)
        let new = try contents()
        try save(1)
        let old = try contents()
        #expect(old.count == 3 && new != old)
        var mixtures = 0
        let counts = try FaultTrial(in: folder.url.path) {
            for (name, data) in old { try data.write(to: URL(fileURLWithPath: folder.path(name))) }
        } work: {
            try save(2)
        } check: { error in
            let found = try contents()
            try require(error != nil || found == new, "the new model is not there")
            if found == old || found == new { return }
            // Names are changed one after another: between the first and the last there is no index.
            mixtures += 1
            try require(
                found.keys.sorted() == old.keys.filter { !$0.hasSuffix(".json") }.sorted(),
                "other files: \(found.keys.sorted())")
        }.run()
        print("exporting shards: \(counts), \(mixtures) between two renames")
        #expect(counts.failed > 30 && mixtures < counts.failed / 4)
    }
}
