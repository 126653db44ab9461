import Foundation
import Synchronization
import Testing

@testable import NNStore

/// Readers and savers at the same time: everybody sees one whole version.
@Suite("Readers and savers at once", .serialized)
struct ConcurrencyTests {
    private let folder: TemporaryFolder
    private let path: String

    init() throws {
        folder = try TemporaryFolder()
        path = folder.path("model.nnck")
    }

    /// A checkpoint all of whose numbers are those of one version.
    private static func tree(_ version: Int) throws -> StateTree {
        let weight = try StateTensor([Int64](repeating: Int64(version), count: 3000), shape: [3000])
        let bias = try StateTensor([Int64](repeating: Int64(-version), count: 30), shape: [30])
        return ["weight": .tensor(weight), "bias": .tensor(bias), "version": .integer(version)]
    }

    /// The version that a checkpoint is, if it is one alone.
    private static func version(_ tree: StateTree) throws -> Int? {
        guard let version = tree["version"]?.int else { return nil }
        let expected = try ConcurrencyTests.tree(version)
        for name in ["weight", "bias"] {
            let digests = try [tree, expected].map { tree in
                try tree[.text(name)]!.tensor!.elementBytes.withRawSpan { Digest(of: $0) }
            }
            if digests[0] != digests[1] { return nil }
        }
        return version
    }

    @Test("readers in many threads see one whole version while the file is replaced a thousand times")
    func replacing() throws {
        try Checkpoint.save(ConcurrencyTests.tree(0), to: path)
        let isDone = Atomic<Bool>(false)
        let results = Mutex((reads: 0, versions: Set<Int>(), problems: [String]()))
        let path = path
        let readers = (0..<4).compactMap { number in
            Thread {
                var last = 0
                while !isDone.load(ordering: .relaxed) {
                    do {
                        let checkpoint = try Checkpoint.open(path)
                        let tree = number % 2 == 0 ? try checkpoint.readAll(threads: 2) : try checkpoint.state()
                        let version = try ConcurrencyTests.version(tree)
                        results.withLock { results in
                            results.reads += 1
                            if let version, version >= last {
                                results.versions.insert(version)
                            } else {
                                results.problems.append("\(version.map { "\($0)" } ?? "a mixture") after \(last)")
                            }
                        }
                        last = version ?? last
                    } catch {
                        results.withLock { $0.problems.append("\(error)") }
                    }
                    // The saver needs a processor, too.
                    usleep(500)
                }
            }
        }
        #expect(readers.count == 4)
        for version in 1...replacements {
            try Checkpoint.save(
                ConcurrencyTests.tree(version), to: path,
                options: SaveOptions(existing: .replace, isDurable: false, threads: 1))
        }
        isDone.store(true, ordering: .relaxed)
        for reader in readers { reader.join() }
        let (reads, versions, problems) = results.withLock { $0 }
        print("\(reads) reads of \(versions.count) versions")
        #expect(problems == [])
        #expect(versions.count > 10)
        #expect(folder.names == ["model.nnck"])
    }

    @Test("of savers that start together without leave to replace, one wins whole and the others are refused")
    func racing() throws {
        for round in 0..<20 {
            let path = folder.path("\(round).nnck")
            let outcomes = Mutex((won: [Int](), refused: 0, other: [String]()))
            let savers = (0..<4).compactMap { number in
                Thread {
                    do {
                        try Checkpoint.save(
                            ConcurrencyTests.tree(number), to: path, options: SaveOptions(isDurable: false))
                        outcomes.withLock { $0.won.append(number) }
                    } catch StoreError.destinationExists {
                        outcomes.withLock { $0.refused += 1 }
                    } catch {
                        outcomes.withLock { $0.other.append("\(error)") }
                    }
                }
            }
            for saver in savers { saver.join() }
            let (won, refused, other) = outcomes.withLock { $0 }
            #expect(won.count == 1 && refused == savers.count - 1 && other == [])
            #expect(try ConcurrencyTests.version(Checkpoint.open(path).readAll()) == won.first)
        }
    }

    @Test("a file that is cut while it is open gives an error, whatever is asked for")
    func cut() throws {
        var generator = SeededGenerator(seed: 1)
        let storage = try Storage(generator.bytes(3 << 20))
        let tree: StateTree = [
            "a": .tensor(try StateTensor(storage: storage, layout: TensorLayout(.u8, shape: [3 << 20]))), "b": 1,
        ]
        for compression in [Compression.none, .fast] {
            try Checkpoint.save(tree, to: path, options: SaveOptions(compression: compression, existing: .replace))
            let checkpoint = try Checkpoint.open(path)
            let state = try checkpoint.state()
            let handle = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
            try handle.truncate(atOffset: 1 << 20)
            try handle.close()
            let reads: [(String, () throws -> Void)] = [
                ("everything", { _ = try checkpoint.readAll() }), ("one", { _ = try checkpoint.read("a") }),
                ("rows", { _ = try checkpoint.read("a", rows: 2_000_000..<2_500_000) }),
                ("lazily", { _ = try state["a"]!.tensor!.elementBytes }), ("verify", { _ = try checkpoint.verify() }),
                ("saving", { try Checkpoint.save(state, to: folder.path("other.nnck")) }),
                ("migrating", { try checkpoint.migrate(to: folder.path("other.nnck")) }),
            ]
            for (what, read) in reads {
                let error = #expect(throws: StoreError.self, "\(what)") { try read() }
                #expect(error?.code == "incomplete", "\(what): \(error!)")
            }
            #expect(folder.names == ["model.nnck"])
        }
    }
}
