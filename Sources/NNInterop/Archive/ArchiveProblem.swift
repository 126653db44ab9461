/// What is wrong with a zip archive. Offsets are in bytes from the start of the file.
public enum ArchiveProblem: Sendable, Equatable {
    /// There is no end record at the end: the file was cut, or is no archive.
    case noEnd
    /// There are several places that could be the end record, and which one counts is not defined.
    case severalEnds(offset: Int, other: Int)
    /// The archive is one of several parts.
    case severalParts
    /// A record of the archive's own does not begin as it should, or reaches outside of the file.
    case structure(offset: Int, problem: String)
    /// An entry has a flag set that changes what its bytes mean.
    case flag(entry: String, offset: Int, flags: UInt16)
    /// An entry is compressed in a way that is not read.
    case method(entry: String, offset: Int, method: UInt16)
    /// A name is no UTF-8.
    case name(offset: Int)
    /// Two entries have one name.
    case duplicate(entry: String)
    /// The directory and the entry itself do not say the same.
    case contradiction(entry: String, offset: Int, field: String)
    /// An entry lies over another one, or over the directory.
    case overlap(entry: String, other: String, offset: Int)
    /// A stored entry has two sizes.
    case storedSize(entry: String, offset: Int, encoded: Int, decoded: Int)
    /// The compressed bytes are none, or give more or fewer bytes than the directory says.
    case deflate(entry: String, offset: Int, problem: String)
    /// The bytes have another checksum than the directory says.
    case checksum(entry: String, offset: Int, expected: UInt32, found: UInt32)

    /// A short name for the rule that will not change between versions.
    public var code: String {
        switch self {
        case .noEnd: "no-end"
        case .severalEnds: "several-ends"
        case .severalParts: "several-parts"
        case .structure: "structure"
        case .flag: "flag"
        case .method: "method"
        case .name: "name"
        case .duplicate: "duplicate"
        case .contradiction: "contradiction"
        case .overlap: "overlap"
        case .storedSize: "stored-size"
        case .deflate: "deflate"
        case .checksum: "checksum"
        }
    }
}

extension ArchiveProblem: CustomStringConvertible {
    /// The message for a person, without the file's name.
    public var description: String {
        switch self {
        case .noEnd:
            "no end record is at the end of the file; it was cut, or something was appended to it"
        case .severalEnds(let offset, let other):
            "both byte \(offset) and byte \(other) could be its end record; readers would see different archives in it"
        case .severalParts: "it is one of several parts of an archive, and the others are not here"
        case .structure(let offset, let problem): "\(problem) (byte \(offset)); the file is damaged"
        case .flag(let entry, let offset, let flags):
            "\(quoted(entry)) (byte \(offset)) is \(ArchiveProblem.meaning(of: flags)), which is not read"
        case .method(let entry, let offset, let method):
            "\(quoted(entry)) (byte \(offset)) is compressed by method \(method); stored (0) and deflated (8) are read"
        case .name(let offset): "the name at byte \(offset) is no UTF-8"
        case .duplicate(let entry):
            "two entries are called \(quoted(entry)); which one counts is not defined, so the file has to be written anew without one of them"
        case .contradiction(let entry, let offset, let field):
            "the \(field) of \(quoted(entry)) in the directory is not that of the entry itself (byte \(offset)); "
                + "the file is damaged, or was made to look different to different readers"
        case .overlap(let entry, let other, let offset):
            "\(quoted(entry)) (byte \(offset)) lies over \(other.isEmpty ? "the directory" : quoted(other))"
        case .storedSize(let entry, let offset, let encoded, let decoded):
            "\(quoted(entry)) (byte \(offset)) is stored as it is, with \(encoded) bytes, and is said to have \(decoded)"
        case .deflate(let entry, let offset, let problem):
            "the compressed bytes of \(quoted(entry)) (from byte \(offset) on) \(problem); the file is damaged"
        case .checksum(let entry, let offset, let expected, let found):
            "\(quoted(entry)) (byte \(offset)) is damaged: its checksum is \(hexadecimal(found)), the directory says \(hexadecimal(expected)); "
                + "get the file anew"
        }
    }

    private static func meaning(of flags: UInt16) -> String {
        switch flags {
        case _ where flags & 0x41 != 0: "encrypted"
        case _ where flags & 0x20 != 0: "a patch of another file"
        case _ where flags & 0x2000 != 0: "hidden by an encrypted directory"
        default: "flagged 0x\(String(flags, radix: 16))"
        }
    }
}

private func hexadecimal(_ word: UInt32) -> String {
    let digits = String(word, radix: 16)
    return String(repeating: "0", count: 8 - digits.count) + digits
}
