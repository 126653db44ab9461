import Crypto
import NNStore

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// An Ed25519 private key (RFC 8032): who has it can sign.
///
/// `openssl genpkey -algorithm ed25519 -out private.pem` makes one.
public struct SigningKey: Sendable {
    let key: Curve25519.Signing.PrivateKey

    /// A new key, of the system's random numbers.
    public init() { key = Curve25519.Signing.PrivateKey() }

    /// The key in a PEM file (PKCS #8, RFC 8410), not encrypted.
    ///
    /// - Throws: ``SigningError/invalidKey(file:reason:)``; `StoreError` if the file can't be read.
    public init(path: String) throws {
        let bytes = try PEM.bytes(path, label: "PRIVATE KEY")
        let prefix: [UInt8] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20]
        key = try PEM.key(bytes, after: prefix, path, "private") {
            try Curve25519.Signing.PrivateKey(rawRepresentation: $0)
        }
    }

    /// The key that verifies what this one signs.
    public var verifyingKey: VerifyingKey { VerifyingKey(key: key.publicKey) }
}

/// An Ed25519 public key: who trusts it can verify.
///
/// `openssl pkey -in private.pem -pubout -out public.pem` gives that of a private key.
public struct VerifyingKey: Sendable, Hashable, CustomStringConvertible {
    let key: Curve25519.Signing.PublicKey

    init(key: Curve25519.Signing.PublicKey) { self.key = key }

    /// The key in a PEM file (SubjectPublicKeyInfo, RFC 8410).
    ///
    /// - Throws: ``SigningError/invalidKey(file:reason:)``; `StoreError` if the file can't be read.
    public init(path: String) throws {
        let bytes = try PEM.bytes(path, label: "PUBLIC KEY")
        let prefix: [UInt8] = [0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0]
        key = try PEM.key(bytes, after: prefix, path, "public") {
            try Curve25519.Signing.PublicKey(rawRepresentation: $0)
        }
    }

    /// The 32 bytes of the key, in base64.
    public var description: String { key.rawRepresentation.base64EncodedString() }

    /// Keys are equal if their bytes are.
    public static func == (left: VerifyingKey, right: VerifyingKey) -> Bool {
        left.key.rawRepresentation == right.key.rawRepresentation
    }

    /// Hashes the key's bytes.
    public func hash(into hasher: inout Hasher) { hasher.combine(key.rawRepresentation) }
}

/// The text form that OpenSSL and others give keys (RFC 7468).
private enum PEM {
    private static let maximumSize = 1 << 16

    /// What stands between the lines `-----BEGIN label-----` and `-----END label-----`, decoded.
    static func bytes(_ path: String, label: String) throws -> [UInt8] {
        // A pipe will do too: keys often come out of another program.
        let bytes = try SystemCall.contents(of: path, atMost: maximumSize + 1)
        guard bytes.count <= maximumSize else {
            throw SigningError.invalidKey(file: path, reason: "is too large for a key; a PEM file was expected")
        }
        let text = String(decoding: bytes, as: UTF8.self)
        let lines = text.split(whereSeparator: \.isNewline).map { $0.trimmingPrefix { $0 == " " } }
        guard let begin = lines.firstIndex(of: "-----BEGIN \(label)-----"),
            let end = lines[begin...].firstIndex(of: "-----END \(label)-----"),
            let data = Data(base64Encoded: lines[(begin + 1)..<end].joined())
        else {
            let found = lines.first { $0.hasPrefix("-----BEGIN ") }.map { ", its first line is \($0)" } ?? ""
            throw SigningError.invalidKey(
                file: path,
                reason: "no PEM block \(label) was found\(found)"
                    + (text.contains("ENCRYPTED") ? "; decrypt it with openssl pkey -in \(path) -out FILE" : ""))
        }
        return Array(data)
    }

    /// The key whose bytes follow `prefix`, which says that it is one of Ed25519.
    static func key<Key>(
        _ bytes: [UInt8], after prefix: [UInt8], _ path: String, _ kind: String, _ make: (Data) throws -> Key
    ) throws -> Key {
        guard bytes.starts(with: prefix), bytes.count == prefix.count + 32,
            let key = try? make(Data(bytes.dropFirst(prefix.count)))
        else {
            throw SigningError.invalidKey(
                file: path, reason: "is no Ed25519 \(kind) key; openssl genpkey -algorithm ed25519 makes one")
        }
        return key
    }
}
