import Foundation
import Testing

@testable import NNStore

/// What recovered containers say of themselves, and what is saved where no copy of the index helps.
@Suite("Recovered containers")
struct RecoveredContainerTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private static func tree(_ count: Int) throws -> StateTree {
        .dictionary(
            StateDictionary(
                try (0..<count).map { number in
                    ("layers.\(number)", .tensor(try StateTensor([Float(number), 2], shape: [2])))
                }))
    }

    /// A container with everything that it can say beside its contents.
    private func eloquent(_ version: FormatVersion) throws -> String {
        let path = folder.path("eloquent.nnck")
        var options = SaveOptions(
            existing: .replaceReferenced, isReferencedByOthers: true, sharing: .unknown, formatVersion: version)
        options.sourceFacts = ["safetensors.header": Array("{}".utf8), "somebody.fact": [1, 2, 3]]
        try Checkpoint.save(Self.tree(40), metadata: ["run": "x"], to: path, options: options)
        return path
    }

    private func flip(_ path: String, at place: Int) throws {
        var bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
        bytes[place] ^= 4
        try Data(bytes).write(to: URL(fileURLWithPath: path))
    }

    @Test(
        "say what the damaged ones said: sharing, references, facts and history", arguments: FileLayout.writtenVersions)
    func facts(version: FormatVersion) throws {
        let path = try eloquent(version)
        let before = try Checkpoint.open(path)
        try flip(path, at: 200)
        let result = folder.path("recovered.nnck")
        let report = try Checkpoint.recover(path, to: result)
        #expect(report.isLossless && report.mended.count == 1)
        let after = try Checkpoint.open(result)
        #expect(after.contentID == before.contentID)
        #expect(try after.sharing == .unknown)
        #expect(after.isReferencedByOthers)
        #expect(try after.sourceFact("safetensors.header") == Array("{}".utf8))
        #expect(try after.sourceFact("somebody.fact") == [1, 2, 3])
        #expect(try after.history.dropLast() == before.history[...])
        let step = try #require(try after.history.last)
        #expect(step.action == "recovered" && step.fromVersion == "\(version)" && step.toVersion == "\(after.version)")
        #expect(try after.verify().isSound)
    }

    @Test("lose the header of a foreign file with the first tensor, for it names them all")
    func foreignHeader() throws {
        let path = try eloquent(Library.formatVersion)
        let checkpoint = try Checkpoint.open(path)
        let rows = try checkpoint.index.storages()
        let chunk = try ChunkReader(checkpoint).chunks(of: rows)[7].get()[0]
        try flip(path, at: chunk.extent.lowerBound)
        let result = folder.path("recovered.nnck")
        let report = try Checkpoint.recover(path, to: result)
        #expect(report.lost.map(\.name) == ["layers.7"] && report.isMarked)
        let after = try Checkpoint.open(result)
        #expect(try after.sourceFact("safetensors.header") == nil)
        #expect(try after.sourceFact("somebody.fact") == [1, 2, 3])
    }

    @Test("have all tensors where only the metadata is damaged, also without a copy of the index")
    func metadataAlone() throws {
        let text = String(decoding: (0..<20_000).map { UInt8(97 + $0 % 26) }, as: UTF8.self)
        let container = try containerBytes(
            Self.tree(100), metadata: ["notes": .string(text)], options: SaveOptions(formatVersion: FormatVersion(2, 0))
        )
        let sound = try Checkpoint.open(MemorySource(container))
        var withoutMetadata = 0
        for page in 0..<sound.tail.indexSize / FileLayout.block {
            var bytes = container
            bytes[sound.tail.indexOffset + page * FileLayout.block + 2000] ^= 1
            let source = try MendedSource(MemorySource(bytes))
            guard let checkpoint = try? Checkpoint.open(source), let part = try? checkpoint.soundPart(source) else {
                continue
            }
            if part.report.isMetadataLost {
                withoutMetadata += 1
                #expect(part.report.lost.isEmpty && part.state.tensors.count == 100, "page \(page)")
                #expect(part.report.isMarked && !part.report.isLossless)
            }
        }
        // The text takes five pages of its own.
        #expect(withoutMetadata >= 4)
    }

    @Test(
        "are whole where the end mark alone is lost or no longer at the end, in every version",
        arguments: FileLayout.writtenVersions)
    func endMark(version: FormatVersion) throws {
        let container = try containerBytes(Self.tree(30), options: SaveOptions(formatVersion: version))
        let contentID = try Checkpoint.open(MemorySource(container)).contentID
        var cases = [container + [10], container + [UInt8](repeating: 7, count: 9000)]
        for length in [1, 24, 25] { cases.append(Array(container.dropLast(length))) }
        cases.append(container.dropLast(25) + [UInt8](repeating: 0, count: 25))
        for bytes in cases {
            let source = try MendedSource(MemorySource(bytes))
            let checkpoint = try Checkpoint.open(source)
            let part = try checkpoint.soundPart(source)
            #expect(part.report.isLossless && !part.report.mended.isEmpty, "\(bytes.count) of \(container.count)")
            #expect(checkpoint.contentID == contentID)
        }
    }

    @Test("a tail that claims an index behind the end of the file is not followed")
    func boundedTail() throws {
        var container = try containerBytes(Self.tree(3), options: SaveOptions(formatVersion: FormatVersion(2, 0)))
        let tail = try Checkpoint.open(MemorySource(container)).tail
        var fields = Array(tail.fields)
        fields.replaceSubrange(56..<64, with: withUnsafeBytes(of: UInt64(1 << 50).littleEndian, Array.init))
        let block = Tail.block(withFields: fields)
        container.replaceSubrange(tail.indexOffset - FileLayout.block..<tail.indexOffset, with: block)
        container.removeLast()
        let source = try MendedSource(MemorySource(container))
        #expect(try source.readEnd(0).version.byteCount == container.count)
        #expect(throws: StoreError.self) { try Checkpoint.open(source) }
    }
}
