import Foundation
import Testing

@testable import NNStore

/// What is saved of damaged containers, and what is said of the rest.
@Suite("Recovery")
struct RecoveryTests {
    private static func bytes(_ seed: UInt64, _ count: Int) -> [UInt8] {
        var generator = SeededGenerator(seed: seed)
        return generator.bytes(count)
    }

    /// Flips a bit of each of the given chunks, by their places in the file.
    private func damaged(_ container: [UInt8], _ isHit: (_ storage: Int, _ sequence: Int) -> Bool) throws -> [UInt8] {
        var container = container
        let checkpoint = try Checkpoint.open(MemorySource(container))
        let storages = try checkpoint.index.storages()
        for (storage, rows) in zip(storages, try ChunkReader(checkpoint).chunks(of: storages)) {
            for row in try rows.get() where isHit(storage.id, row.sequence) {
                container[row.extent.lowerBound + row.extent.count / 2] ^= 4
            }
        }
        return container
    }

    private func recovered(
        _ damaged: [UInt8]
    ) throws -> (checkpoint: Checkpoint, report: RecoveryReport) {
        let sound = try Checkpoint.open(MemorySource(damaged)).soundPart()
        let bytes = try containerBytes(sound.state, metadata: sound.metadata)
        let checkpoint = try Checkpoint.open(MemorySource(bytes))
        #expect(try checkpoint.verify().isSound)
        return (checkpoint, sound.report)
    }

    @Test("saves the views of a storage whose part is sound, still sharing it", arguments: FileLayout.writtenVersions)
    func views(version: FormatVersion) throws {
        let mebi = 1 << 20
        let storage = try Storage(RecoveryTests.bytes(1, 3 * mebi))
        func view(_ number: Int) throws -> StateTree {
            .tensor(
                try StateTensor(storage: storage, layout: TensorLayout(.u8, shape: [mebi], offset: number * mebi)))
        }
        let tree: StateTree = ["a": try view(0), "b": try view(1), "c": try view(2), "again": try view(2), "step": 7]
        let container = try containerBytes(tree, options: SaveOptions(formatVersion: version))
        let (checkpoint, report) = try recovered(damaged(container) { $1 == 1 })
        #expect(report.lost.map(\.name) == ["b"])
        #expect(report.lost.first?.reason.contains("checksum") == true)
        #expect(report.tensorCount == 4 && !report.problems.isEmpty && !report.isMetadataLost)
        let state = try checkpoint.readAll()
        #expect(try state["a"]!.tensor!.elementBytes == tree["a"]!.tensor!.elementBytes)
        #expect(try state["c"]!.tensor!.elementBytes == tree["c"]!.tensor!.elementBytes)
        #expect(state["c"]!.tensor!.storage == state["again"]!.tensor!.storage)
        #expect(state["a"]!.tensor!.storage == state["c"]!.tensor!.storage)
        #expect(state["b"] == nil && state["step"]?.int == 7)
    }

    @Test("keeps the places of lists, and names what was lost, also what was lost before")
    func marks() throws {
        func tensor(_ seed: UInt64) throws -> StateTree {
            .tensor(
                try StateTensor(
                    storage: Storage(RecoveryTests.bytes(seed, 4000)), layout: TensorLayout(.u8, shape: [4000])))
        }
        let tree: StateTree = try ["list": [tensor(1), tensor(2), tensor(3)], "own": tensor(4)]
        let container = try containerBytes(tree, metadata: ["run": "x"])
        let first = try recovered(damaged(container) { storage, _ in storage == 2 })
        let state = try first.checkpoint.state()
        guard case .null? = state["list"]?[1] else { throw Failed() }
        #expect(state["list"]?[2]?.tensor != nil)
        #expect(LibraryMetadata.lostTensors(try first.checkpoint.metadata) == ["list.1"])
        #expect(try first.checkpoint.metadata["run"] != nil)

        let bytes = try containerBytes(state, metadata: first.checkpoint.metadata)
        let second = try recovered(damaged(bytes) { storage, _ in storage == 3 })
        #expect(LibraryMetadata.lostTensors(try second.checkpoint.metadata) == ["list.1", "own"])
    }

    private struct Failed: Error {}

    @Test("never saves a wrong value, whichever byte is wrong")
    func anyByte() throws {
        let tree: StateTree = try [
            "a": .tensor(StateTensor((0..<600).map { Float($0) * 0.37 }, shape: [600])),
            "b": .tensor(StateTensor(RecoveryTests.bytes(3, 64), shape: [8, 8])), "n": [1, "two"],
        ]
        let container = try containerBytes(tree, metadata: ["m": "x"])
        let expected = try tree.tensors.map { try $0.tensor.elementBytes }
        var counts = (whole: 0, part: 0, refused: 0)
        for place in stride(from: 0, to: container.count, by: 61) {
            var bytes = container
            bytes[place] ^= 1 << UInt8(place % 8)
            do {
                let (checkpoint, report) = try recovered(bytes)
                let names = ["a", "b"].filter { name in !report.lost.contains { $0.name == name } }
                #expect(try checkpoint.tensors.map(\.name) == names)
                for name in names {
                    let found = try checkpoint.state()[name]!.tensor!.elementBytes
                    #expect(found == expected[name == "a" ? 0 : 1], "byte \(place)")
                }
                if report.lost.isEmpty { counts.whole += 1 } else { counts.part += 1 }
            } catch is StoreError {
                counts.refused += 1
            }
        }
        #expect(counts.whole > 0 && counts.part > 0 && counts.refused > 0, "\(counts)")
    }

    @Test("does not write over the damaged container, and writes nothing where nothing is sound")
    func refusals() throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("nnstore-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let path = folder.appendingPathComponent("damaged.nnck").path
        let tree: StateTree = ["w": .tensor(try StateTensor(RecoveryTests.bytes(5, 5000), shape: [5000]))]
        try Data(try damaged(containerBytes(tree)) { _, _ in true }).write(to: URL(fileURLWithPath: path))
        let checkpoint = try Checkpoint.open(path)
        var options = SaveOptions()
        options.existing = .replace
        #expect(throws: StoreError.self) { try checkpoint.recover(to: path, options: options) }
        let other = folder.appendingPathComponent("other.nnck").path
        let error = #expect(throws: StoreError.self) { try checkpoint.recover(to: other) }
        #expect(error?.description.contains("none of its 1 tensors is sound") == true)
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["damaged.nnck"])
    }
}
