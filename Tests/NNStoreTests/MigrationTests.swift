import Foundation
import Testing

@testable import NNStore

@Suite("Migration")
struct MigrationTests {
    private let folder: TemporaryFolder
    private let first = FormatVersion(1, 0)
    private let second = FormatVersion(2, 1)

    init() throws { folder = try TemporaryFolder() }

    private func bytes(_ path: String) throws -> [UInt8] { Array(try Data(contentsOf: URL(fileURLWithPath: path))) }

    /// What has to stay: names, layouts, storages and their digests, metadata, the values themselves.
    private func expectSameContent(_ one: Checkpoint, _ other: Checkpoint, _ comment: String) throws {
        #expect(one.contentID == other.contentID, "\(comment)")
        #expect(try one.index.storages().map(\.digest) == other.index.storages().map(\.digest), "\(comment)")
        let entries = { (checkpoint: Checkpoint) in
            try checkpoint.tensors.map { "\($0.name) \($0.layout) \($0.storage) \($0.requiresGrad) \($0.tag ?? "")" }
        }
        #expect(try entries(one) == entries(other), "\(comment)")
        #expect(try one.sharing == other.sharing && one.compression == other.compression, "\(comment)")
        #expect(one.isReferencedByOthers == other.isReferencedByOthers, "\(comment)")
        #expect(try other.verify().problems == [], "\(comment)")
        let (left, right) = (try one.readAll(), try other.readAll())
        for ((path, tensor), (_, same)) in zip(left.tensors, right.tensors) {
            let isSame = try tensor.elementBytes == same.elementBytes
            #expect(isSame, "\(comment) \(path.flatName)")
        }
    }

    @Test("every golden file of format 1 becomes one of format 2 and goes back, content, ids and aliases kept")
    func goldenFiles() throws {
        let golden = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appendingPathComponent("spec/vectors/v1")
        let names = try FileManager.default.contentsOfDirectory(atPath: golden.path).filter { $0.hasSuffix(".nnck") }
        #expect(names.count >= 13)
        var migrated = 0
        for name in names.sorted() {
            let path = golden.appendingPathComponent(name).path
            guard let original = try? Checkpoint.open(path) else {
                #expect(name == "aliases-unknown-required.nnck")
                continue
            }
            if try original.obstacle(toMigrating: second) != nil {
                #expect(name.contains("unknown-optional"), "\(name)")
                let error = #expect(throws: StoreError.self) { try original.migrate(to: folder.path("x.nnck")) }
                #expect(error?.description.contains("optional feature 8") == true, "\(error!)")
                continue
            }
            let upgraded = folder.path("2-\(name)")
            let report = try original.migrate(to: upgraded)
            #expect(report.from.major == 1 && report.to == second)
            let newer = try Checkpoint.open(upgraded)
            #expect(newer.version == second)
            try expectSameContent(original, newer, name)
            #expect(
                try newer.history.last
                    == HistoryStep(
                        action: "migrated", fromVersion: original.version.description, toVersion: "2.1",
                        by: Library.name))
            let back = folder.path("1-\(name)")
            try newer.migrate(to: back, options: MigrationOptions(version: first))
            let older = try Checkpoint.open(back)
            #expect(older.version == first)
            try expectSameContent(original, older, name)
            #expect(try older.history.count == original.history.count + 2)
            migrated += 1
        }
        #expect(migrated >= 11)
    }

    @Test("between minor versions every chunk is copied, and the copy of the index comes and goes")
    func minorVersions() throws {
        let tree: StateTree = ["a": .tensor(try StateTensor((0..<5000).map { Float($0) }, shape: [5000]))]
        let without = FormatVersion(2, 0)
        let source = try Checkpoint.open(
            MemorySource(containerBytes(tree, options: SaveOptions(formatVersion: without)), name: "memory"))
        let (up, down) = (folder.path("up.nnck"), folder.path("down.nnck"))
        #expect(
            try source.migrate(to: up) == MigrationReport(from: without, to: second, chunkCount: 1, copiedChunkCount: 1)
        )
        let newer = try Checkpoint.open(up)
        #expect(newer.tail.optionalFeatures == Tail.indexCopy && newer.version == second)
        try newer.migrate(to: down, options: MigrationOptions(version: without))
        let older = try Checkpoint.open(down)
        #expect(older.tail.optionalFeatures == 0 && older.version == without)
        try expectSameContent(source, older, "down")
        #expect(try older.history.map(\.toVersion) == ["2.0", "2.1", "2.0"])
        #expect(try older.history.map(\.fromVersion) == [nil, "2.0", "2.1"])
    }

    @Test("facts in extra go along, with the large values that they name")
    func facts() throws {
        var options = SaveOptions(formatVersion: first)
        options.sourceFacts = ["safetensors.header": [1, 2, 3], "other.program": [UInt8](repeating: 7, count: 5000)]
        let tree: StateTree = ["big": .bytes([UInt8](repeating: 1, count: 2000)), "n": 1]
        var forger = Forger(try containerBytes(tree, options: options))
        try forger.run("INSERT INTO extra VALUES('plain', 'text')")
        let original = try Checkpoint.open(MemorySource(forger.container()))
        let path = folder.path("x.nnck")
        try original.migrate(to: path)
        let newer = try Checkpoint.open(path)
        #expect(try newer.sourceFact("safetensors.header") == [1, 2, 3])
        #expect(try newer.sourceFact("other.program")?.count == 5000)
        #expect(try newer.index.extra()["plain"] == .text("text"))
        #expect(try newer.verify().problems == [])
    }

    @Test("chunks that can stay as they are encoded are copied: those of none, and plain ones on the way back")
    func copies() throws {
        var generator = SeededGenerator(seed: 3)
        let storage = try Storage(generator.bytes(3 << 20))
        let tree: StateTree = [
            "a": .tensor(try StateTensor(storage: storage, layout: TensorLayout(.u8, shape: [3 << 20])))
        ]
        for (compression, version, other) in [
            (Compression.none, first, second), (.none, second, first), (.fast, second, first),
        ] {
            let options = SaveOptions(compression: compression, formatVersion: version)
            let source = try Checkpoint.open(MemorySource(containerBytes(tree, options: options)))
            let path = folder.path("\(compression)-\(other).nnck")
            let report = try source.migrate(to: path, options: MigrationOptions(version: other))
            #expect(report.chunkCount == 3 && report.copiedChunkCount == 3, "\(compression) \(version)")
            let options2 = SaveOptions(compression: compression, formatVersion: other)
            let fresh = try Checkpoint.open(MemorySource(containerBytes(tree, options: options2)))
            #expect(try Checkpoint.open(path).contentID == fresh.contentID)
        }
    }

    @Test("a file migrated in place is replaced whole, with one thread and with several the same; others keep out")
    func inPlace() throws {
        var generator = SeededGenerator(seed: 4)
        let storage = try Storage(generator.bytes(2_500_000).map { $0 & 15 })
        let tree: StateTree = [
            "a": .tensor(try StateTensor(storage: storage, layout: TensorLayout(.f32, shape: [625_000])))
        ]
        var files: [[UInt8]] = []
        for threads in [1, 3] {
            let path = folder.path("\(threads).nnck")
            try Checkpoint.save(tree, to: path, options: SaveOptions(formatVersion: first))
            let open = try Checkpoint.open(path)
            #expect(throws: StoreError.destinationExists(path: path)) { try open.migrate(to: path) }
            try open.migrate(to: path, options: MigrationOptions(existing: .replace, threads: threads))
            // The file that was open is still there for who has it open.
            #expect(try open.verify().problems == [])
            files.append(try bytes(path))
        }
        let isSame = files[0] == files[1]
        #expect(isSame)
        #expect(Set(folder.names) == ["1.nnck", "3.nnck"])
        let pinned = folder.path("pinned.nnck")
        try Checkpoint.save(tree, to: pinned, options: SaveOptions(isReferencedByOthers: true, formatVersion: first))
        #expect(throws: StoreError.destinationReferenced(path: pinned)) {
            try Checkpoint.open(pinned).migrate(to: pinned, options: MigrationOptions(existing: .replace))
        }
    }

    @Test("a damaged file is refused by its chunk and left as it is, whether its chunks would be copied or not")
    func damaged() throws {
        var generator = SeededGenerator(seed: 5)
        let storage = try Storage(generator.bytes(1_500_000))
        let tree: StateTree = [
            "a": .tensor(try StateTensor(storage: storage, layout: TensorLayout(.u8, shape: [1_500_000])))
        ]
        for compression in [Compression.none, .fast] {
            let path = folder.path("x.nnck")
            try Checkpoint.save(
                tree, to: path, options: SaveOptions(compression: compression, existing: .replace, formatVersion: first)
            )
            var content = try bytes(path)
            content[4096 + 1_100_000] ^= 1
            try Data(content).write(to: URL(fileURLWithPath: path))
            let error = #expect(throws: StoreError.self) {
                try Checkpoint.open(path).migrate(to: path, options: MigrationOptions(existing: .replace))
            }
            #expect(error?.description.contains("chunk 1 of \"a\"") == true, "\(error!)")
            let isSame = try bytes(path) == content
            #expect(isSame)
            #expect(folder.names == ["x.nnck"])
        }
    }

    @Test("a version that there is not is refused by naming those that there are")
    func unknownVersions() throws {
        let checkpoint = try Checkpoint.open(MemorySource(containerBytes(["n": 1])))
        for version in [FormatVersion(3, 0), FormatVersion(0, 1), FormatVersion(2, 2)] {
            let error = #expect(throws: StoreError.self) {
                try checkpoint.migrate(to: folder.path("x"), options: MigrationOptions(version: version))
            }
            #expect(error?.description.contains("1.0, 2.0 and 2.1") == true, "\(error!)")
        }
        #expect(folder.names == [])
    }
}
