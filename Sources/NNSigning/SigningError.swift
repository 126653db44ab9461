/// What signing and verifying signatures throws, beside `StoreError` for the files themselves.
public enum SigningError: Error, Sendable, Equatable {
    /// The file holds no Ed25519 key of the kind that was asked for.
    case invalidKey(file: String, reason: String)
    /// The signature's file is none, or was altered itself.
    case invalidSignature(file: String, reason: String)
    /// The signature was made with another key than the trusted one.
    case otherKey(file: String, trusted: String, found: String)
    /// The file has another size than the one that was signed.
    case otherSize(file: String, signed: Int, found: Int)
    /// The bytes of a range are not those that were signed.
    case altered(file: String, offset: Int, byteCount: Int)

    /// A short name for the kind of error that will not change between versions.
    public var code: String {
        switch self {
        case .invalidKey: "invalid-key"
        case .invalidSignature: "invalid-signature"
        case .otherKey: "other-key"
        case .otherSize: "other-size"
        case .altered: "altered"
        }
    }
}

extension SigningError: CustomStringConvertible {
    /// The message for a person.
    public var description: String {
        switch self {
        case .invalidKey(let file, let reason): "\(file): \(reason)"
        case .invalidSignature(let file, let reason):
            "\(file): not a valid signature: \(reason); get it again from who signed, and trust neither it nor the file until then"
        case .otherKey(let file, let trusted, let found):
            "\(file): was signed with the key \(found), not with the trusted one, \(trusted)"
        case .otherSize(let file, let signed, let found):
            "\(file): has \(found) bytes, \(signed) were signed: it is not the file that was signed"
        case .altered(let file, let offset, let byteCount):
            "\(file): the \(byteCount) bytes from offset \(offset) are not those that were signed"
        }
    }
}
