import Crypto
import NNStore

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// A signature over every byte of a file: the SHA-256 of its pieces, signed with Ed25519 (spec/SIGNATURE.md).
///
/// Checksums inside a file guard against accidents: who alters it can alter them too. A signature guards against whoever does
/// not have the private key. It stands in a file beside the signed one.
///
/// ```swift
/// let signature = try FileSignature.sign("model.nnck", with: SigningKey(path: "private.pem"))
/// try signature.save(to: "model.nnck.sig")
///
/// let source = try FileSource(path: "model.nnck")
/// try FileSignature(path: "model.nnck.sig").verify(source, trusting: VerifyingKey(path: "public.pem"))
/// let checkpoint = try Checkpoint.open(source)
/// ```
public struct FileSignature: Sendable, Hashable {
    /// The size of the signed file in bytes.
    public let byteCount: Int
    /// The key that it was signed with, which nobody has said to trust.
    public let key: VerifyingKey
    /// The signature as its file has it.
    public let text: String
    /// What messages call it.
    private let name: String
    /// The SHA-256 of each piece.
    private let digests: [[UInt8]]

    /// The bytes of a piece; the last one may have fewer.
    private static let pieceSize = 16 << 20
    private static let firstLine = "NNStore file signature 1"
    /// Of the file of a signature: enough for terabytes of pieces.
    private static let maximumTextSize = 64 << 20

    private init(byteCount: Int, key: VerifyingKey, text: String, name: String, digests: [[UInt8]]) {
        self.byteCount = byteCount
        self.key = key
        self.text = text
        self.name = name
        self.digests = digests
    }

    // MARK: Signing

    /// Signs the file at `path`: its own bytes. Of other files that it names, as an index of shards does, the signature says
    /// nothing.
    ///
    /// - Parameter progress: called with the bytes done and their number.
    /// - Throws: `StoreError` if the file can't be read.
    public static func sign(
        _ path: String, with key: SigningKey, threads: Int? = nil, progress: ((Int, Int?) -> Void)? = nil
    ) throws -> FileSignature {
        try sign(FileSource(path: path), with: key, threads: threads, progress: progress)
    }

    /// Signs the file that `source` holds.
    public static func sign(
        _ source: any ByteSource, with key: SigningKey, threads: Int? = nil, progress: ((Int, Int?) -> Void)? = nil
    ) throws -> FileSignature {
        let (_, version) = try source.readEnd(0)
        var digests: [[UInt8]] = []
        try forEachDigest(of: source, version, threads, progress) { _, digest in digests.append(digest) }
        return try FileSignature(
            byteCount: version.byteCount, digests: digests, with: key, name: source.name + ".sig")
    }

    private init(byteCount: Int, digests: [[UInt8]], with key: SigningKey, name: String) throws {
        var text = FileSignature.firstLine + "\nsize \(byteCount)\n"
        for digest in digests { text += "sha256 \(hexadecimal(digest))\n" }
        text += "key \(key.verifyingKey)\n"
        let signature = try key.key.signature(for: Data(text.utf8))
        text += "signature \(signature.base64EncodedString())\n"
        self.init(byteCount: byteCount, key: key.verifyingKey, text: text, name: name, digests: digests)
    }

    /// Writes the signature to a file, which appears whole or not at all.
    ///
    /// - Throws: what saving a file throws.
    public func save(to path: String, existing: ExistingDestination = .refuse) throws {
        let output = BufferedOutput(try Destination.sink(for: path, existing, isDurable: true))
        try output.append(Array(text.utf8))
        try output.finish(existing)
    }

    // MARK: Verifying

    /// Reads the signature in the file at `path`, and checks that it is one by the key that it names. Whether that key is to be
    /// trusted is for ``verify(_:trusting:threads:progress:)``.
    ///
    /// - Throws: ``SigningError/invalidSignature(file:reason:)``; `StoreError` if the file can't be read.
    public init(path: String) throws {
        let source = try FileSource(path: path)
        guard source.version.byteCount <= FileSignature.maximumTextSize else {
            throw SigningError.invalidSignature(
                file: path, reason: "it has \(source.version.byteCount) bytes, far too many")
        }
        try self.init(source.bytes(0..<source.version.byteCount, of: source.version), name: path)
    }

    /// The signature that `bytes`, the contents of its file, are.
    public init(_ bytes: [UInt8], name: String) throws(SigningError) {
        func invalid(_ reason: String) -> SigningError { .invalidSignature(file: name, reason: reason) }
        let newline = UInt8(ascii: "\n")
        guard bytes.last == newline, bytes.allSatisfy({ $0 == newline || $0 > 31 && $0 < 127 }) else {
            throw invalid("it is no text of complete lines")
        }
        // Line by line: a hostile text is not taken apart any further than it is right.
        var rest = bytes[...]
        var number = 0
        func line() throws(SigningError) -> String {
            guard let end = rest.firstIndex(of: newline) else { throw invalid("it ends after \(number) lines") }
            defer { rest = rest[(end + 1)...] }
            number += 1
            return String(decoding: rest[..<end], as: UTF8.self)
        }
        func value(_ word: String) throws(SigningError) -> String {
            let line = try line()
            guard line.hasPrefix(word + " ") else { throw invalid("line \(number) is not \"\(word) ...\"") }
            return String(line.dropFirst(word.count + 1))
        }
        guard try line() == FileSignature.firstLine else {
            throw invalid("it does not begin with \"\(FileSignature.firstLine)\"")
        }
        let size = try value("size")
        guard let byteCount = Int(size), byteCount >= 0, "\(byteCount)" == size else {
            throw invalid("its size is no number")
        }
        let pieceCount = byteCount == 0 ? 0 : (byteCount - 1) / FileSignature.pieceSize + 1
        var digests: [[UInt8]] = []
        for _ in 0..<pieceCount {
            guard let digest = fromHexadecimal(try value("sha256")) else {
                throw invalid("line \(number) has no SHA-256")
            }
            digests.append(digest)
        }
        let keyText = try value("key")
        guard let keyBytes = Data(base64Encoded: keyText), keyBytes.base64EncodedString() == keyText,
            let key = try? Curve25519.Signing.PublicKey(rawRepresentation: keyBytes)
        else { throw invalid("it has no Ed25519 key") }
        let signed = Data(bytes[..<rest.startIndex])
        let signatureText = try value("signature")
        guard rest.isEmpty else { throw invalid("something stands behind its line \(number)") }
        guard let signature = Data(base64Encoded: signatureText), signature.base64EncodedString() == signatureText,
            key.isValidSignature(signature, for: signed)
        else { throw invalid("it does not agree with its own key, so it was altered") }
        self.init(
            byteCount: byteCount, key: VerifyingKey(key: key), text: String(decoding: bytes, as: UTF8.self), name: name,
            digests: digests)
    }

    /// Checks that the signature was made with `key`, and that `source` holds the very bytes that were signed.
    ///
    /// What is read from the source afterwards is what was signed as long as nobody writes into the file in place.
    ///
    /// - Parameter progress: called with the bytes done and their number.
    /// - Throws: ``SigningError``: another key, another size, or the first piece that was altered; `StoreError` if the file
    ///   can't be read.
    public func verify(
        _ source: any ByteSource, trusting key: VerifyingKey, threads: Int? = nil,
        progress: ((Int, Int?) -> Void)? = nil
    ) throws {
        guard self.key == key else {
            throw SigningError.otherKey(file: name, trusted: "\(key)", found: "\(self.key)")
        }
        let (_, version) = try source.readEnd(0)
        guard version.byteCount == byteCount else {
            throw SigningError.otherSize(file: source.name, signed: byteCount, found: version.byteCount)
        }
        try FileSignature.forEachDigest(of: source, version, threads, progress) { range, digest in
            guard digest == digests[range.lowerBound / FileSignature.pieceSize] else {
                throw SigningError.altered(file: source.name, offset: range.lowerBound, byteCount: range.count)
            }
        }
    }

    // MARK: Digests

    /// Calls `body` with the range and the SHA-256 of each piece, in order.
    private static func forEachDigest(
        of source: any ByteSource, _ version: SourceVersion, _ threads: Int?, _ progress: ((Int, Int?) -> Void)?,
        _ body: (Range<Int>, [UInt8]) throws -> Void
    ) throws {
        let threads = Workers.count(threads)
        func range(_ piece: Int) -> Range<Int> {
            piece * pieceSize..<min(version.byteCount, (piece + 1) * pieceSize)
        }
        let count = version.byteCount == 0 ? 0 : (version.byteCount - 1) / pieceSize + 1
        try Workers.pipeline(count, threads: threads, window: 2 * threads) {
            try Memory.allocate(1 << 20)
        } produce: { piece, buffer in
            var hash = SHA256()
            var start = piece * pieceSize
            let end = min(version.byteCount, (piece + 1) * pieceSize)
            while start < end {
                let size = min(buffer.byteCount, end - start)
                try buffer.withMutableBytes(in: 0..<size) { (bytes) throws(StoreError) in
                    try source.read(start..<start + size, of: version, into: &bytes)
                }
                buffer.withBytes(in: 0..<size) { bytes in
                    // Sound: the bytes are read while the buffer is borrowed.
                    unsafe bytes.withUnsafeBytes { unsafe hash.update(bufferPointer: $0) }
                }
                start += size
            }
            return Array(hash.finalize())
        } consume: { piece, digest in
            try body(range(piece), digest)
            progress?(range(piece).upperBound, version.byteCount)
        }
    }
}

private let digits = Array("0123456789abcdef".utf8)

private func hexadecimal(_ bytes: [UInt8]) -> String {
    String(decoding: bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
}

/// The 32 bytes that 64 lowercase digits stand for.
private func fromHexadecimal(_ text: String) -> [UInt8]? {
    let values = text.utf8.map { digits.firstIndex(of: $0) }
    guard values.count == 64, values.allSatisfy({ $0 != nil }) else { return nil }
    return stride(from: 0, to: 64, by: 2).map { UInt8(values[$0]! << 4 | values[$0 + 1]!) }
}
