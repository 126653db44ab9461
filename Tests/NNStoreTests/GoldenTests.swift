import Foundation
import Testing

@testable import NNStore

/// The golden containers under `spec/vectors`: made once by the code that first wrote their version, read for ever.
@Suite("Golden files")
struct GoldenTests {
    private static let vectors = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        .appendingPathComponent("spec/vectors")

    struct Entry: Decodable, Sendable, CustomTestStringConvertible {
        struct Tensor: Decodable, Sendable {
            let name: String
            let dtype: String
            let shape: [Int]
            let strides: [Int]
            let offset: Int
            let storage: Int
            let nbytes: Int
        }

        let file: String
        let tree: String
        let compression: String
        let size: Int
        let content_id: String
        let file_id: String
        let tensors: [Tensor]
        let refused: String?
        var testDescription: String { file }
    }

    static func manifest(_ version: String) throws -> [Entry] {
        let url = vectors.appendingPathComponent("\(version)/manifest.json")
        return try JSONDecoder().decode([Entry].self, from: Data(contentsOf: url))
    }

    private func bytes(_ version: String, _ file: String) throws -> [UInt8] {
        try [UInt8](Data(contentsOf: GoldenTests.vectors.appendingPathComponent("\(version)/\(file)")))
    }

    @Test("of format 1 read as what they were made from", arguments: try manifest("v1"))
    func formatOne(_ entry: Entry) throws { try read("v1", entry) }

    @Test("of format 2 read as what they were made from", arguments: try manifest("v2"))
    func formatTwo(_ entry: Entry) throws { try read("v2", entry) }

    @Test("of format 2.1 read as what they were made from", arguments: try manifest("v2.1"))
    func formatTwoOne(_ entry: Entry) throws { try read("v2.1", entry) }

    private func read(_ version: String, _ entry: Entry) throws {
        let bytes = try bytes(version, entry.file)
        #expect(bytes.count == entry.size)
        if let refused = entry.refused {
            let error = #expect(throws: StoreError.self) { try Checkpoint.open(MemorySource(bytes, name: entry.file)) }
            #expect(error?.description == refused)
            return
        }
        let checkpoint = try Checkpoint.open(MemorySource(bytes, name: entry.file))
        // One of the files is of a later minor version.
        let isLater = entry.file.contains("unknown")
        let expected = version.contains(".") ? version : version + ".0"
        #expect("v\(checkpoint.version)" == expected || isLater && checkpoint.version.minor == 7)
        #expect(checkpoint.contentID.description == entry.content_id)
        #expect(checkpoint.fileID.description == entry.file_id)
        #expect(try checkpoint.compression?.rawValue == entry.compression)
        #expect(try checkpoint.verify().problems == [])
        for (tensor, expected) in zip(try checkpoint.tensors, entry.tensors) {
            #expect(tensor.name == expected.name)
            #expect(tensor.dtype.name == expected.dtype)
            #expect(tensor.layout.shape == expected.shape && tensor.layout.strides == expected.strides)
            #expect(tensor.layout.offset == expected.offset && tensor.layout.byteCount == expected.nbytes)
            #expect(tensor.storage == expected.storage)
        }
        #expect(try checkpoint.tensors.count == entry.tensors.count)
        // The content id covers every value, so equal ids say that nothing of the tree was lost or changed.
        let (state, metadata) = try GoldenTrees.named(entry.tree)
        let fresh = try Checkpoint.open(MemorySource(containerBytes(state, metadata: metadata)))
        #expect(fresh.contentID.description == entry.content_id)
        let again = try Checkpoint.open(
            MemorySource(containerBytes(checkpoint.readAll(), metadata: checkpoint.metadata)))
        #expect(again.contentID.description == entry.content_id)
    }

    @Test("are written only where NNSTORE_MAKE_VECTORS says so, by the version that is new")
    func make() throws {
        guard let folder = ProcessInfo.processInfo.environment["NNSTORE_MAKE_VECTORS"] else {
            print("golden files are made once, for a new format version, with NNSTORE_MAKE_VECTORS=FOLDER")
            return
        }
        for (name, bytes) in try GoldenTrees.containers() {
            try Data(bytes).write(
                to: URL(fileURLWithPath: folder).appendingPathComponent(name), options: .withoutOverwriting)
        }
    }
}
