/// What NNStore throws.
///
/// Every case has a stable ``code`` and a ``description`` that names the file, the entry or the offset, what was
/// expected, what was found and, where there is something to do, what to do next.
public enum StoreError: Error, Sendable, Equatable {
    /// The file is no container (or whatever else was asked for); `found` says what it looks like instead.
    case notAContainer(file: String, found: String)
    /// The file is a container that was cut, or whose end was overwritten.
    case incomplete(file: String, reason: String)
    /// Something in the file breaks the format's rules, or does not have the checksum it should have.
    case damaged(file: String, problem: Problem)
    /// The file has a format version that this library does not know.
    case unsupportedVersion(file: String, version: FormatVersion, newestKnown: FormatVersion)
    /// The file needs a feature that this library does not know.
    case unsupportedFeature(file: String, feature: Int, version: FormatVersion)
    /// Reading on would take more than a limit allows.
    case limitExceeded(file: String, what: String, limit: Int, found: String)
    /// The file holds no such entry.
    case notFound(file: String, name: String, similar: [String])
    /// Two entries of the file have this flat name.
    case ambiguousName(file: String, name: String, paths: [String])
    /// A tensor's dtype, shape, strides and offset do not make sense, or not over its storage.
    case invalidLayout(reason: String)
    /// A state tree or a piece of it can't be stored.
    case invalidTree(path: String, reason: String)
    /// A call's arguments do not fit together.
    case invalidArgument(reason: String)
    /// The destination exists and was not to be replaced.
    case destinationExists(path: String)
    /// The destination is a container that other files were declared to refer to.
    case destinationReferenced(path: String)
    /// The new file is in place, but the folder could not be synced, so a power cut may still undo the replacement.
    case replacedNotDurable(path: String, errno: Int32)
    /// A system call failed.
    case system(operation: String, path: String, errno: Int32)
    /// SQLite or zstd failed in a way that no file can cause (out of memory, a library that does not fit).
    case library(name: String, operation: String, message: String)
    /// The storage's bytes can't be read: they were handed to a writer and are not kept.
    case bytesNotAvailable(reason: String)
    /// The caller asked to stop.
    case cancelled

    /// A short name for the kind of error that will not change between versions.
    public var code: String {
        switch self {
        case .notAContainer: "not-a-container"
        case .incomplete: "incomplete"
        case .damaged: "damaged"
        case .unsupportedVersion: "unsupported-version"
        case .unsupportedFeature: "unsupported-feature"
        case .limitExceeded: "limit-exceeded"
        case .notFound: "not-found"
        case .ambiguousName: "ambiguous-name"
        case .invalidLayout: "invalid-layout"
        case .invalidTree: "invalid-tree"
        case .invalidArgument: "invalid-argument"
        case .destinationExists: "destination-exists"
        case .destinationReferenced: "destination-referenced"
        case .replacedNotDurable: "replaced-not-durable"
        case .system: "system"
        case .library: "library"
        case .bytesNotAvailable: "bytes-not-available"
        case .cancelled: "cancelled"
        }
    }
}

extension StoreError: CustomStringConvertible {
    /// The message for a person.
    public var description: String {
        switch self {
        case .notAContainer(let file, let found):
            "\(file): not an NNStore container, \(found)"
        case .incomplete(let file, let reason):
            "\(file): incomplete container: \(reason). It was cut, or is still being copied; get it again from where it came from"
        case .damaged(let file, let problem):
            "\(file): damaged: \(problem.message)"
        case .unsupportedVersion(let file, let version, let known):
            "\(file): has container format \(version), this program knows formats up to \(known); "
                + "use a version of NNStore that reads format \(version.major)"
        case .unsupportedFeature(let file, let feature, let version):
            "\(file): needs feature \(feature), of container format \(version), which this program does not know; "
                + "use a version of NNStore that reads format \(version)"
        case .limitExceeded(let file, let what, let limit, let found):
            "\(file): \(what) is limited to \(limit), found \(found); raise the limit if you trust the file"
        case .notFound(let file, let name, let similar):
            "\(file): has no entry \"\(name)\""
                + (similar.isEmpty ? "" : "; similar: " + similar.map { "\"\($0)\"" }.joined(separator: ", "))
        case .ambiguousName(let file, let name, let paths):
            "\(file): \"\(name)\" is the name of \(paths.count) entries: \(paths.joined(separator: " and ")); "
                + "show them with --tree (ckpt-tool list), or take them by their path in a program"
        case .invalidLayout(let reason):
            "invalid tensor layout: \(reason)"
        case .invalidTree(let path, let reason):
            "can't store \(path.isEmpty ? "the root of the tree" : "\"\(path)\""): \(reason)"
        case .invalidArgument(let reason):
            reason
        case .destinationExists(let path):
            "\(path): exists already; choose another name, or save with existing: .replace"
        case .destinationReferenced(let path):
            "\(path): other files were declared to refer to it, so replacing it would break them; choose another name, or "
                + "save with existing: .replaceReferenced"
        case .replacedNotDurable(let path, let errno):
            "\(path): the new file is in place and whole, but syncing its folder failed (\(SystemCall.text(errno))), so a "
                + "power cut may still undo that"
        case .system(let operation, let path, let errno):
            "\(path): can't \(operation): \(SystemCall.text(errno))"
        case .library(let name, let operation, let message):
            "\(name) failed to \(operation): \(message)"
        case .bytesNotAvailable(let reason):
            reason
        case .cancelled:
            "cancelled"
        }
    }
}

/// Something that is wrong with a file, as verification reports it.
public struct Problem: Sendable, Hashable {
    /// What sort of thing is wrong.
    public enum Kind: String, Sendable, CaseIterable {
        /// The header at the file's start.
        case header
        /// The tail record or the end mark.
        case tail
        /// A page of the index, or the index as a database.
        case index
        /// A row of the index that the format does not allow.
        case row
        /// A chunk's bytes or their checksum.
        case chunk
        /// A storage's digest or the content id.
        case digest
        /// Bytes that should be zero are not.
        case padding
        /// The copy of the index, which only recovery needs.
        case indexCopy
    }

    /// What sort of thing is wrong.
    public let kind: Kind
    /// What is wrong, for a person.
    public let message: String
    /// The flat name of a tensor that it concerns.
    public let tensor: String?
    /// Where in the file, in bytes from its start.
    public let offset: Int?

    /// Describes something that is wrong.
    public init(_ kind: Kind, _ message: String, tensor: String? = nil, offset: Int? = nil) {
        self.kind = kind
        self.message = message
        self.tensor = tensor
        self.offset = offset
    }
}

/// A version of the container format.
public struct FormatVersion: Sendable, Hashable, Comparable, CustomStringConvertible {
    /// Readers of another major version can't read the file.
    public let major: Int
    /// Readers of an older minor version can read the file if they know its required features.
    public let minor: Int

    /// The version `major.minor`.
    public init(_ major: Int, _ minor: Int) {
        self.major = major
        self.minor = minor
    }

    /// The version that a text of the form `MAJOR.MINOR` names, in decimal without leading zeros.
    public init?(_ text: String) {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false).map { Int($0) }
        guard parts.count == 2, let major = parts[0], let minor = parts[1], major >= 0, minor >= 0,
            "\(major).\(minor)" == text
        else { return nil }
        self.init(major, minor)
    }

    /// `MAJOR.MINOR`
    public var description: String { "\(major).\(minor)" }

    /// Orders by major version, then by minor version.
    public static func < (left: FormatVersion, right: FormatVersion) -> Bool {
        (left.major, left.minor) < (right.major, right.minor)
    }
}
