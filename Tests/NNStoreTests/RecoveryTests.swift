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
        let source = try MendedSource(MemorySource(damaged))
        let sound = try Checkpoint.open(source).soundPart(source)
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
        #expect(report.tensorCount == 4 && !report.isLossless && !report.problems.isEmpty && !report.isMetadataLost)
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

    @Test("saves everything but the tensors whose own bytes are hit, whichever byte is wrong, and never a wrong value")
    func anyByte() throws {
        let tree: StateTree = try [
            "a": .tensor(StateTensor((0..<600).map { Float($0) * 0.37 }, shape: [600])),
            "b": .tensor(StateTensor(RecoveryTests.bytes(3, 64), shape: [8, 8])), "n": [1, "two"],
        ]
        let container = try containerBytes(tree, metadata: ["m": "x"])
        let expected = try tree.tensors.map { try $0.tensor.elementBytes }
        var counts = (whole: 0, part: 0)
        for place in stride(from: 0, to: container.count, by: 127) {
            var bytes = container
            bytes[place] ^= 1 << UInt8(place % 8)
            let (checkpoint, report) = try recovered(bytes)
            let names = ["a", "b"].filter { name in !report.lost.contains { $0.name == name } }
            #expect(try checkpoint.tensors.map(\.name) == names)
            for name in names {
                let found = try checkpoint.state()[name]!.tensor!.elementBytes
                #expect(found == expected[name == "a" ? 0 : 1], "byte \(place)")
            }
            if report.lost.isEmpty { counts.whole += 1 } else { counts.part += 1 }
        }
        #expect(counts.whole > 0 && counts.part > 0, "\(counts)")
    }

    /// A container of two tensors whose index takes more than one group of the copy.
    private static func manyTensors(_ options: SaveOptions = SaveOptions()) throws -> [UInt8] {
        let tree = StateTree.dictionary(
            StateDictionary(
                try (0..<1000).map { number in
                    ("layers.\(number).weight", .tensor(try StateTensor([Float(number)], shape: [1])))
                }))
        return try containerBytes(tree, metadata: ["run": "x"], options: options)
    }

    @Test("mends every page of the index, the tail, the header and the end mark from the copy, whole")
    func mends() throws {
        let container = try RecoveryTests.manyTensors()
        let sound = try Checkpoint.open(MemorySource(container))
        let tailOffset = sound.tail.indexOffset - FileLayout.block
        #expect(sound.tail.indexSize > 2 * IndexCopy.pagesInGroup * FileLayout.block)
        let places =
            [0, 100, tailOffset, tailOffset + 70, container.count - 1, container.count - 20]
            + stride(from: sound.tail.indexOffset + 9, to: container.count - 25, by: FileLayout.block)
        for place in places {
            var bytes = container
            bytes[place] ^= 0x10
            let (checkpoint, report) = try recovered(bytes)
            #expect(
                report.isLossless && report.problems.isEmpty && report.mended.count == 1, "\(place)")
            #expect(checkpoint.contentID == sound.contentID, "\(place)")
        }
    }

    @Test("mends an end that was cut off or overwritten, as far as the copy reaches")
    func mendsTheEnd() throws {
        let container = try RecoveryTests.manyTensors()
        let sound = try Checkpoint.open(MemorySource(container))
        let copy = try IndexCopy(
            MemorySource(container), SourceVersion(byteCount: container.count),
            at: FileLayout.blockEnd(sound.tail.chunkAreaEnd))
        #expect(copy.groupCount > 2)
        for length in [
            copy.end, copy.end + 1, sound.tail.indexOffset - 4096, sound.tail.indexOffset + 5000, container.count - 1,
        ] {
            let (checkpoint, report) = try recovered(Array(container.prefix(length)))
            #expect(report.isLossless && !report.mended.isEmpty, "\(length)")
            #expect(checkpoint.contentID == sound.contentID)
        }
        // A byte less, and the last group is lost; the tensors whose rows were on its pages are named.
        let lost = try recovered(Array(container.prefix(copy.end - 1))).report.lost
        #expect(!lost.isEmpty && lost.count < 1000)
        #expect(throws: StoreError.self) { try recovered(Array(container.prefix(copy.offset))) }
        // Something else was written behind it, or over its end.
        #expect(try recovered(container + [1, 2, 3]).checkpoint.contentID == sound.contentID)
        let overwritten = container.dropLast(5000) + [UInt8](repeating: 0xee, count: 5000)
        #expect(try recovered(Array(overwritten)).checkpoint.contentID == sound.contentID)
    }

    @Test("a damaged copy harms nobody: verification names it, recovery saves everything, the same content")
    func damagedCopy() throws {
        let container = try RecoveryTests.manyTensors()
        let sound = try Checkpoint.open(MemorySource(container))
        let start = FileLayout.blockEnd(sound.tail.chunkAreaEnd)
        for place in [start, start + 20, start + 40, start + 130, start + 400] {
            var bytes = container
            bytes[place] ^= 1
            let checkpoint = try Checkpoint.open(MemorySource(bytes))
            #expect(try checkpoint.verify(.checksums).problems.map(\.kind) == [.indexCopy], "\(place - start)")
            let (again, report) = try recovered(bytes)
            #expect(report.isLossless && again.contentID == sound.contentID)
        }
    }

    @Test("containers without the copy keep what they had: a damaged index can't be mended, a damaged header can")
    func withoutCopy() throws {
        let container = try RecoveryTests.manyTensors(SaveOptions(formatVersion: FormatVersion(2, 0)))
        let sound = try Checkpoint.open(MemorySource(container))
        var bytes = container
        bytes[200] ^= 1
        #expect(try recovered(bytes).checkpoint.contentID == sound.contentID)
        bytes = container
        bytes[sound.tail.indexOffset + 3000] ^= 1
        let error = #expect(throws: StoreError.self) { try recovered(bytes) }
        #expect(error?.description.contains("page 1 of the index") == true, "\(error!)")
    }

    @Test("what a disk can't read counts as damaged, block by block")
    func badSectors() throws {
        let mebi = 1 << 20
        let storages = try (1...3).map { try Storage(RecoveryTests.bytes(UInt64($0), mebi)) }
        let tree: StateTree = .list(
            try storages.map { .tensor(try StateTensor(storage: $0, layout: TensorLayout(.u8, shape: [mebi]))) })
        let container = try containerBytes(tree)
        let sound = try Checkpoint.open(MemorySource(container))
        let source = BadSectors(base: MemorySource(container), bad: [mebi + 9000, sound.tail.indexOffset + 1])
        let mended = try MendedSource(source)
        let (state, _, report) = try Checkpoint.open(mended).soundPart(mended)
        #expect(report.lost.map(\.name) == ["1"] && report.mended.count == 1)
        #expect(try state[2]?.tensor?.elementBytes == RecoveryTests.bytes(3, mebi))
    }

    /// A test double of a disk: a read that touches one of `bad` fails as a bad sector does.
    private struct BadSectors: ByteSource {
        let base: MemorySource
        let bad: [Int]
        var name: String { "disk" }

        func readEnd(_ count: Int) throws(StoreError) -> (bytes: [UInt8], version: SourceVersion) {
            try base.readEnd(count)
        }

        func read(
            _ ranges: [Range<Int>], of version: SourceVersion, into destination: inout MutableRawSpan
        ) throws(StoreError) {
            if ranges.contains(where: { range in bad.contains { range.contains($0) } }) {
                throw .system(operation: "read", path: name, errno: 5)
            }
            try base.read(ranges, of: version, into: &destination)
        }
    }

    @Test("a copy that claims more pages than its bytes can stand for is refused before they are in memory")
    func boundedMending() throws {
        let container = try RecoveryTests.manyTensors()
        let sound = try Checkpoint.open(MemorySource(container))
        // Frames of one group, claimed many times over.
        let zeros = [UInt8](repeating: 0, count: 2000 * IndexCopy.pagesInGroup * FileLayout.block)
        var fields = sound.tail.fields
        fields.replaceSubrange(56..<64, with: (0..<8).map { UInt8(truncatingIfNeeded: zeros.count >> ($0 * 8)) })
        let start = FileLayout.blockEnd(sound.tail.chunkAreaEnd)
        let frames = try IndexCopy.frames(of: zeros, threads: 2)
        let indexOffset = FileLayout.blockEnd(start + frames.byteCount) + FileLayout.block
        fields.replaceSubrange(48..<56, with: (0..<8).map { UInt8(truncatingIfNeeded: indexOffset >> ($0 * 8)) })
        let copy = IndexCopy.bytes(frames, at: start, tailFields: fields)
        let source = try MendedSource(MemorySource(container.prefix(start) + copy))
        #expect(source.problems.map(\.kind) == [.indexCopy])
        #expect(throws: StoreError.self) { try Checkpoint.open(source) }
    }

    @Test("a copy that places the index exabytes behind the file's end is not followed there")
    func boundedSize() throws {
        let container = try RecoveryTests.manyTensors()
        let sound = try Checkpoint.open(MemorySource(container))
        let start = FileLayout.blockEnd(sound.tail.chunkAreaEnd)
        var fields = sound.tail.fields
        let far = 1 << 59
        fields.replaceSubrange(48..<56, with: (0..<8).map { UInt8(truncatingIfNeeded: far >> ($0 * 8)) })
        let image = Array(container[sound.tail.indexOffset..<container.count - 25])
        let copy = IndexCopy.bytes(try IndexCopy.frames(of: image, threads: 1), at: start, tailFields: fields)
        let source = try MendedSource(MemorySource(container.prefix(start) + copy))
        #expect(source.problems.map(\.kind) == [.indexCopy])
        #expect(throws: StoreError.self) { try Checkpoint.open(source) }
    }

    @Test("does not write over the damaged container, and writes nothing where nothing is sound")
    func refusals() throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("nnstore-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let path = folder.appendingPathComponent("damaged.nnck").path
        let tree: StateTree = ["w": .tensor(try StateTensor(RecoveryTests.bytes(5, 5000), shape: [5000]))]
        try Data(try damaged(containerBytes(tree)) { _, _ in true }).write(to: URL(fileURLWithPath: path))
        var options = SaveOptions()
        options.existing = .replace
        #expect(throws: StoreError.self) { try Checkpoint.recover(path, to: path, options: options) }
        let other = folder.appendingPathComponent("other.nnck").path
        let error = #expect(throws: StoreError.self) { try Checkpoint.recover(path, to: other) }
        #expect(error?.description.contains("none of its 1 tensors is sound") == true)
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["damaged.nnck"])
    }
}
