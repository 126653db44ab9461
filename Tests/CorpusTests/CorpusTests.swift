import Foundation
import Testing

@testable import NNStore

/// What fuzzing found once, and what it began with, run as it was: every input ends with an answer or an error.
@Suite("The corpus of the fuzzer")
struct CorpusTests {
    private static let corpus = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().appendingPathComponent("Corpus")

    @Test("runs through every target", arguments: FuzzTarget.allCases)
    func corpus(_ target: FuzzTarget) throws {
        let folder = CorpusTests.corpus.appendingPathComponent(target.rawValue)
        let names = (try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? []
        for name in names.sorted() {
            try target.run([UInt8](try Data(contentsOf: folder.appendingPathComponent(name))))
        }
        print("\(target.rawValue): \(names.count) inputs")
    }

    @Test("has inputs, and folders of targets only")
    func folders() throws {
        let names = try FileManager.default.contentsOfDirectory(atPath: CorpusTests.corpus.path)
        for name in names {
            #expect(FuzzTarget(rawValue: name) != nil, "\(name)")
            #expect(
                try !FileManager.default.contentsOfDirectory(
                    atPath: CorpusTests.corpus.appendingPathComponent(name).path
                ).isEmpty)
        }
        #expect(Set(names).isSuperset(of: ["chunk", "frame", "recover"]))
    }

    @Test("a repaired container is the one that it was, and a changed one has its checksums right")
    func repair() throws {
        let sink = MemorySink()
        let tree: StateTree = [
            "a": .tensor(try StateTensor((0..<5000).map { Float($0) }, shape: [5000])), "b": [1, "two"],
        ]
        try Checkpoint.save(tree, to: sink)
        #expect(ContainerRepair.repaired(sink.bytes) == sink.bytes)
        var opened = 0
        for seed in 0..<300 as Range<UInt64> {
            var mutator = ContainerMutator(seed: seed) { part in
                var part = part
                if !part.isEmpty { part[part.count / 2] ^= 1 }
                return part
            }
            let mutated = mutator.mutated(sink.bytes)
            try FuzzTarget.index.run(mutated)
            try FuzzTarget.recover.run(mutated)
            if (try? Checkpoint.open(MemorySource(mutated))) != nil { opened += 1 }
        }
        #expect(opened > 100, "changes do not get past the checksums")
    }
}
