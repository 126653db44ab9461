import Crypto
import Foundation
import NNInterop
import NNStore
import Synchronization
import Testing

@Suite("Reading safetensors files")
struct SafetensorsFileTests {
    @Test("fixtures are read as expected", arguments: ["dtypes.safetensors", "silero_vad_16k.safetensors"])
    func fixtures(_ name: String) throws {
        let json = try JSONSerialization.jsonObject(with: Data(fileBytes(fixture("expected.json")))) as? [String: Any]
        let expected = try #require(json?[name] as? [String: Any])
        let tensors = try #require(expected["tensors"] as? [String: [String: Any]])
        let file = try CheckpointFiles.open(fixture(name))
        #expect(file.formatName == "safetensors")
        #expect(file.formatVersion == nil)
        #expect(try file.byteCount == fileBytes(fixture(name)).count)
        #expect(try file.sharing == .unknown)
        let state = try file.state()
        #expect(state.children.count == tensors.count)
        for (key, node) in state.children {
            let tensor = try #require(node.tensor)
            let facts = try #require(tensors[key.description])
            #expect(tensor.dtype.name == facts["dtype"] as? String)
            #expect(tensor.shape == facts["shape"] as? [Int])
            let digest = SHA256.hash(data: Data(try elements(tensor))).map {
                ($0 < 16 ? "0" : "") + String($0, radix: 16)
            }
            #expect(digest.joined() == facts["sha256"] as? String, "\(key)")
        }
        let metadata = expected["metadata"] as? [String: String] ?? [:]
        let found = try file.metadata().children
        #expect(found.count == metadata.count)
        for (key, value) in found {
            guard case .string(let text) = value else {
                Issue.record("\(key) is no string")
                continue
            }
            #expect(text == metadata[key.description])
        }
    }

    @Test("tensors keep the header's order, and names with dots are one key")
    func order() throws {
        let folder = try TemporaryFolder()
        let header =
            #"{"z.b":{"dtype":"U8","shape":[2],"data_offsets":[2,4]},"__metadata__":{"k":"v","a":""},"#
            + #""a.c":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"":{"dtype":"U8","shape":[],"data_offsets":[4,5]}}"#
        let file = try SafetensorsFile.open(folder.file("x", safetensors(header, data: [1, 2, 3, 4, 5])))
        let state = try file.state()
        #expect(state.children.map(\.key) == ["z.b", "a.c", ""])
        #expect(try elements(#require(state["z.b"]?.tensor)) == [3, 4])
        #expect(try elements(#require(state["a.c"]?.tensor)) == [1, 2])
        #expect(try elements(#require(state[""]?.tensor)) == [5])
        #expect(file.metadata().children.map(\.key) == ["k", "a"])
    }

    @Test("metadata keys of the container are not given out")
    func reservedKeys() throws {
        let folder = try TemporaryFolder()
        let bytes = safetensors(#"{"__metadata__":{"a":"1","nnck.modules":"x","b":"2"}}"#)
        let file = try SafetensorsFile.open(folder.file("x", bytes))
        #expect(file.metadata().children.map(\.key) == ["a", "b"])
        try file.saveAsContainer(to: folder.path("x.nnck"))
        try CheckpointFiles.open(folder.path("x.nnck")).saveAsSafetensors(to: folder.path("y"))
        #expect(try folder.bytes("y") == bytes)
    }

    @Test("opening reads the header only, and using a tensor its bytes only")
    func lazy() throws {
        let bytes = try fileBytes(fixture("silero_vad_16k.safetensors"))
        let source = CountingSource(bytes)
        let file = try SafetensorsFile.open(source)
        let opened = source.count
        #expect(opened < 4096)
        let state = try file.state()
        #expect(source.count == opened)
        let bias = try #require(state["conv1.bias"]?.tensor)
        try bias.storage.load()
        #expect(source.count == opened + 512)
    }

    @Test("a file that was cut after it was opened is an error")
    func cut() throws {
        let folder = try TemporaryFolder()
        let header = #"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}"#
        let path = try folder.file("x", safetensors(header, data: [1, 2, 3, 4]))
        let state = try SafetensorsFile.open(path).state()
        #expect(truncate(path, off_t(8 + header.utf8.count + 2)) == 0)
        #expect(throws: StoreError.self) { try state["a"]?.tensor?.storage.load() }
    }
}

/// Bytes in memory that count how many of them were read.
final class CountingSource: ByteSource {
    let name = "memory"
    private let bytes: [UInt8]
    private let counter = Atomic<Int>(0)

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    var count: Int { counter.load(ordering: .relaxed) }

    func readEnd(_ count: Int) throws(StoreError) -> (bytes: [UInt8], version: SourceVersion) {
        counter.add(count, ordering: .relaxed)
        return (bytes.suffix(count), SourceVersion(byteCount: bytes.count))
    }

    func read(
        _ ranges: [Range<Int>], of version: SourceVersion, into destination: inout MutableRawSpan
    ) throws(StoreError) {
        var position = 0
        for range in ranges {
            for byte in bytes[range] {
                destination.storeBytes(of: byte, toByteOffset: position, as: UInt8.self)
                position += 1
            }
            counter.add(range.count, ordering: .relaxed)
        }
    }
}
