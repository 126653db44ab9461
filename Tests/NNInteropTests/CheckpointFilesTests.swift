import NNInterop
import NNStore
import Testing

@Suite("Files are recognised by their contents")
struct CheckpointFilesTests {
    private let folder: TemporaryFolder
    init() throws { folder = try TemporaryFolder() }

    private func found(_ bytes: [UInt8]) throws -> String {
        do {
            return try CheckpointFiles.open(folder.file("file.safetensors", bytes)).formatName
        } catch InteropError.unknownFormat(_, let found) {
            return found
        } catch let error as InteropError {
            return error.code
        }
    }

    @Test("containers and safetensors files are opened whatever their names are")
    func known() throws {
        let container = folder.path("x.safetensors")
        let storage = try Storage(counting(4))
        let tensor = try StateTensor(storage: storage, layout: TensorLayout(.u8, shape: [4]))
        try Checkpoint.save(
            ["a": .tensor(tensor)], metadata: ["k": 1], to: container, options: SaveOptions(sharing: .unknown))
        let file = try CheckpointFiles.open(container)
        #expect(file.formatName == "nnck" && file.formatVersion == 2 && file.name == container)
        #expect(try file.sharing == .unknown)
        #expect(try file.sourceFacts.isEmpty)
        #expect(try file.byteCount == fileBytes(container).count)
        #expect(try elements(#require(file.state()["a"]?.tensor)) == counting(4))
        #expect(try file.metadata().children.map(\.key) == ["k"])
        #expect(try found(safetensors("{}")) == "safetensors")
    }

    @Test("what is nearly a safetensors file is called one, with its error")
    func nearly() throws {
        #expect(try found(safetensors(" {}")) == "safetensors-header-start")
        #expect(try found([0, 0xe2, 0xf5, 5, 0, 0, 0, 0] + Array("{\"".utf8)) == "safetensors-header-too-long")
        #expect(try found([9, 0, 0, 0, 0, 0, 0, 0] + Array("{\"".utf8)) == "safetensors-header-outside-file")
    }

    @Test("others are named")
    func others() throws {
        let zeros = [UInt8](repeating: 0, count: 300)
        #expect(try found([]).contains("empty"))
        #expect(try found(zeros).contains("zeros"))
        #expect(try found(Array("hello".utf8)).contains("text"))
        #expect(try found(Array("<!DOCTYPE html>".utf8)).contains("web page"))
        #expect(try found(Array("version https://git-lfs.github.com/spec/v1\n".utf8)).contains("Git LFS"))
        #expect(try found([0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20]).contains("pickle"))
        #expect(try found([0x1f, 0x8b, 8, 0]).contains("gzip"))
        #expect(try found([1, 2, 3]).contains("01 02 03"))
        #expect(try found((0..<257).map { _ in 7 } + Array("ustar".utf8) + zeros).contains("tar"))
    }

    @Test("formats are known by their first bytes, with the errors of their readers")
    func readers() throws {
        let zeros = [UInt8](repeating: 0, count: 300)
        #expect(try found(Array("PK\u{3}\u{4}".utf8) + [20, 0, 0, 0] + zeros) == "archive-no-end")
        #expect(try found(Array("GGUF".utf8) + [4, 0, 0, 0, 0x7b, 0, 0, 0]) == "gguf-version")
        #expect(try found([0x93] + Array("NUMPY".utf8) + [1, 0] + zeros) == "numpy-literal")
        #expect(try found(Array("{\"a\": 1}".utf8)).contains("weight_map"))
        #expect(try found(Array("{\"a\": 1, {}}".utf8)) == "invalid-json")
    }

    @Test("a file that is not there and a folder are errors of the system")
    func system() {
        #expect(throws: StoreError.self) { try CheckpointFiles.open(folder.path("none")) }
        #expect(throws: StoreError.self) { try CheckpointFiles.open(folder.path("")) }
    }
}
