import Foundation
import NNSigning
import NNStore
import Testing

@Suite("Signatures")
struct SigningTests {
    private let folder: URL
    private let path: String
    private let key = SigningKey()

    /// Keys that OpenSSL 3 made, for this test alone.
    private static let privatePEM = """
        -----BEGIN PRIVATE KEY-----
        MC4CAQAwBQYDK2VwBCIEIFWMW5qQhTws+cVo/qZ+cHy1Vd1QofDPUJj3ss0WeXzd
        -----END PRIVATE KEY-----
        """
    private static let publicPEM = """
        -----BEGIN PUBLIC KEY-----
        MCowBQYDK2VwAyEAsw3SqcADuKj2g73PoY4s+5jAPKntaX4Wxnj19NBWKMs=
        -----END PUBLIC KEY-----
        """

    init() throws {
        folder = FileManager.default.temporaryDirectory.appendingPathComponent("nnsigning-test-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        path = folder.appendingPathComponent("m.nnck").path
    }

    private func write(_ name: String, _ text: String) throws -> String {
        let url = folder.appendingPathComponent(name)
        try Data(text.utf8).write(to: url)
        return url.path
    }

    private func error(_ body: () throws -> Void) -> SigningError? {
        #expect(throws: SigningError.self) { try body() }
    }

    @Test("hold for the very bytes that were signed: any flipped bit, cut or addition breaks them")
    func everyByte() throws {
        defer { try? FileManager.default.removeItem(at: folder) }
        try Checkpoint.save(["w": .tensor(StateTensor([Float](repeating: 1.5, count: 300), shape: [300]))], to: path)
        let bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
        let signature = try FileSignature.sign(path, with: key)
        let trusted = key.verifyingKey
        try signature.verify(MemorySource(bytes), trusting: trusted)
        for place in stride(from: 0, to: bytes.count, by: 97) {
            var altered = bytes
            altered[place] ^= 1 << UInt8(place % 8)
            #expect(error { try signature.verify(MemorySource(altered), trusting: trusted) }?.code == "altered")
        }
        #expect(error { try signature.verify(MemorySource(bytes + [0]), trusting: trusted) }?.code == "other-size")
        #expect(error { try signature.verify(MemorySource([]), trusting: trusted) }?.code == "other-size")
        #expect(
            error { try signature.verify(MemorySource(bytes), trusting: SigningKey().verifyingKey) }?.code
                == "other-key")
    }

    @Test("that are altered themselves, in any byte, are none")
    func altered() throws {
        defer { try? FileManager.default.removeItem(at: folder) }
        let file = try write("f", "some bytes")
        let text = Array(try FileSignature.sign(file, with: key).text.utf8)
        #expect(try FileSignature(text, name: "s").key == key.verifyingKey)
        for place in text.indices {
            for bit in [0, 3, 5] {
                var altered = text
                altered[place] ^= 1 << bit
                #expect(error { _ = try FileSignature(altered, name: "s") }?.code == "invalid-signature", "\(place)")
            }
        }
        for length in 0..<text.count {
            #expect(error { _ = try FileSignature(Array(text.prefix(length)), name: "s") } != nil)
        }
        // One whose key was exchanged for another is consistent in itself, and not trusted.
        let other = SigningKey()
        let forged = try FileSignature.sign(file, with: other)
        let caught = error { try forged.verify(FileSource(path: file), trusting: key.verifyingKey) }
        #expect(caught?.code == "other-key")
    }

    @Test("of files of several pieces say which piece was altered, with one thread and with several")
    func pieces() throws {
        defer { try? FileManager.default.removeItem(at: folder) }
        var bytes = [UInt8](repeating: 7, count: 40 << 20)
        try Data(bytes).write(to: URL(fileURLWithPath: path))
        let signature = try FileSignature.sign(path, with: key, threads: 3)
        #expect(try FileSignature.sign(path, with: key, threads: 1).text.contains("size 41943040"))
        bytes[20 << 20] = 8
        let found = error {
            try signature.verify(MemorySource(bytes, name: "x"), trusting: key.verifyingKey, threads: 2)
        }
        #expect(found == .altered(file: "x", offset: 16 << 20, byteCount: 16 << 20))
        let empty = try write("empty", "")
        try FileSignature.sign(empty, with: key).verify(FileSource(path: empty), trusting: key.verifyingKey)
    }

    @Test("are made and checked by the tool, with OpenSSL's keys")
    func tool() throws {
        defer { try? FileManager.default.removeItem(at: folder) }
        try Checkpoint.save(["n": 1], to: path)
        let (secret, open) = (
            try write("private.pem", SigningTests.privatePEM), try write("public.pem", SigningTests.publicPEM)
        )
        let signed = try Tool.run("sign", path, "--key", secret)
        #expect(signed.status == 0 && signed.output.contains("m.nnck.sig: signed"), "\(signed.error)")
        #expect(try Tool.run("sign", path, "--key", secret).status == 2, "there is one already")
        #expect(try Tool.run("sign", path, "--key", secret, "--force", "--json").json["signed"] as? [Any] != nil)
        let verified = try Tool.run("verify", path, "--key", open)
        #expect(verified.status == 0 && verified.output.contains("every byte is as the owner of"), "\(verified.error)")
        // Saved anew with other contents, sound in itself, and not what was signed.
        try Checkpoint.save(["n": 2], to: path, options: SaveOptions(existing: .replace))
        #expect(try Tool.run("verify", path).status == 0)
        let exchanged = try Tool.run("verify", path, "--key", open)
        #expect(
            exchanged.status == 1 && exchanged.error.contains("are not those that were signed"), "\(exchanged.error)")
        // Mistakes.
        #expect(try Tool.run("verify", path, "--key", secret).error.contains("no PEM block PUBLIC KEY"))
        #expect(try Tool.run("sign", path, "--key", open, "--force").error.contains("no PEM block PRIVATE KEY"))
        #expect(try Tool.run("verify", path, "--signature", path + ".sig").status == 2)
        let unsigned = folder.appendingPathComponent("u.nnck").path
        try Checkpoint.save(["n": 2], to: unsigned)
        let missing = try Tool.run("verify", unsigned, "--key", open)
        #expect(missing.status == 2 && missing.error.contains("u.nnck.sig"), "\(missing.error)")
        // Keys may come through a pipe.
        let piped = try Tool.start(
            "/bin/bash", ["-c", "'\(Tool.path)' sign '\(unsigned)' --key <(cat '\(secret)')"])
        #expect(piped.status == 0, "\(piped.error)")
        #expect(try Tool.run("verify", unsigned, "--key", open, "--json").json["signed_by"] as? String != nil)
        // An index of shards would be signed without the shards.
        let index = try write("m.safetensors.index.json", "{\"metadata\": {}, \"weight_map\": {}}")
        let refused = try Tool.run("sign", index, "--key", secret)
        #expect(refused.status == 1 && refused.error.contains("index of shards"), "\(refused.error)")
        #expect(try Tool.run("verify", index, "--key", open).status == 1)
    }
}
