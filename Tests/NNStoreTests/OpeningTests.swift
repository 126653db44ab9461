import Foundation
import NNStore
import Testing

@Suite("Opening what is no sound container")
struct OpeningTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private func file(_ name: String, _ bytes: [UInt8]) throws -> String {
        let path = folder.path(name)
        try Data(bytes).write(to: URL(fileURLWithPath: path))
        return path
    }

    private func error(_ path: String) throws -> StoreError {
        try #require(#expect(throws: StoreError.self) { try Checkpoint.open(path) })
    }

    @Test("a missing file, a folder, a pipe and a file without permission are refused by name")
    func notReadable() throws {
        let missing = folder.path("missing.nnck")
        #expect(try error(missing).description == "\(missing): can't open: No such file or directory")
        #expect(try error(folder.url.path).description.hasSuffix("Is a directory"))
        let pipe = folder.path("pipe")
        #expect(mkfifo(pipe, 0o600) == 0)
        #expect(try error(pipe).code == "not-a-container", "and it does not wait for a writer")
        if getuid() == 0 {
            print("passed over: the superuser may read every file, so permissions can't be tested")
        } else {
            let secret = try file("secret.nnck", [1])
            try FileManager.default.setAttributes([.posixPermissions: 0], ofItemAtPath: secret)
            #expect(try error(secret).description.contains("Permission denied"))
        }
    }

    @Test("other files are told apart")
    func otherFiles() throws {
        for (bytes, word) in [
            ([], "empty"), (Array("hello, world\n".utf8), "text"), (Array("PK\u{3}\u{4}....".utf8), "zip"),
            (Array("GGUF".utf8) + [3, 0, 0, 0], "GGUF"), ([0x80, 2, 0x8a], "pickle"),
            ([UInt8](repeating: 0xaa, count: 100_000), "aa aa"),
            ([16, 0, 0, 0, 0, 0, 0, 0] + Array("{\"a\":{}}        ".utf8), "safetensors"),
        ] as [([UInt8], String)] {
            let error = try error(file("other", bytes))
            #expect(error.code == "not-a-container")
            #expect(error.description.contains(word), "\(error)")
        }
    }

    @Test("a container that was cut says so")
    func cut() throws {
        let whole = try containerBytes(["a": 1])
        for count in [12, 100, 4095, 4096, 5000, whole.count - 4096, whole.count - 25, whole.count - 1] {
            let error = try error(file("cut", Array(whole.prefix(count))))
            #expect(error.code == "incomplete", "\(count): \(error)")
        }
        #expect(try error(file("longer", whole + [0])).code == "incomplete")
    }
}
