import NNStore

/// An archive of NumPy arrays (`.npz`) that is open for reading: its state is a dictionary from the arrays' names, without `.npy`,
/// to the arrays.
public struct NumPyArchive: CheckpointFile {
    private struct Member {
        let name: String
        let entry: ZipArchive.Entry
        let header: NumPyHeader
    }

    private let source: any ByteSource
    private let version: SourceVersion
    private let archive: ZipArchive
    private let members: [Member]

    /// What was passed over: members that are no arrays of numbers, if ``OpenOptions/skipsUnsupported`` asks for it, and those whose
    /// name another member has as well; one sentence each.
    public let skipped: [String]

    /// Opens the file at `path`.
    ///
    /// - Throws: ``InteropError`` if it is no archive of arrays of numbers; ``NNStore/StoreError`` if it can't be read.
    public static func open(_ path: String, options: OpenOptions = OpenOptions()) throws -> NumPyArchive {
        try open(FileSource(path: path), options: options)
    }

    /// Opens the file that `source` holds.
    ///
    /// - Throws: as ``open(_:options:)-(String,_)`` does.
    public static func open(_ source: any ByteSource, options: OpenOptions = OpenOptions()) throws -> NumPyArchive {
        let (_, version) = try source.readEnd(0)
        return try NumPyArchive(try ZipArchive(source, version, options: options), source, version, options)
    }

    init(_ archive: ZipArchive, _ source: any ByteSource, _ version: SourceVersion, _ options: OpenOptions) throws {
        self.archive = archive
        self.source = source
        self.version = version
        var members: [Member] = []
        var skipped: [String] = []
        for entry in archive.entries {
            let name = entry.name.hasSuffix(".npy") ? String(entry.name.dropLast(4)) : entry.name
            // NumPy gives the name to the member that has it whole.
            if name != entry.name, archive.entry(named: name) != nil {
                skipped.append(
                    "\(quoted(entry.name)): another member is called \(quoted(name)), which is the one that NumPy gives"
                )
                continue
            }
            let place = "\(source.name), \(entry.name)"
            do {
                let start = try archive.bytes(of: entry, upTo: NumPyHeader.maximumStart)
                guard start.starts(with: NumPyHeader.magic) else {
                    throw InteropError.unsupported(
                        file: place, what: "no NumPy array",
                        advice: "pass over it and the like (ckpt-tool: --skip-unsupported)")
                }
                let header = try NumPyHeader(start, file: place, dtype: options.dtypes[name])
                let available = entry.byteCount - header.dataOffset
                guard header.layout.byteCount <= available else {
                    throw InteropError.invalidNumPy(
                        file: place, .cut(expected: header.layout.byteCount, found: available))
                }
                members.append(Member(name: name, entry: entry, header: header))
            } catch let error as InteropError where options.skipsUnsupported && error.isOfUnsupportedContent {
                skipped.append("\(quoted(entry.name)): \(error.description)")
            }
        }
        try NumPyHeader.checkUsed(options.dtypes, of: members.map { ($0.name, $0.header) }, file: source.name)
        self.members = members
        self.skipped = skipped
    }

    /// The path.
    public var name: String { source.name }
    /// `npz`
    public var formatName: String { "npz" }
    /// Nothing: the format has no versions.
    public var formatVersion: Int? { nil }
    /// `NumPy archive`
    public var formatDescription: String { "NumPy archive" }
    /// Whether there are checksums: unless whoever wrote the archive left them away.
    public var hasChecksums: Bool { archive.hasChecksums }
    /// The size of the file in bytes.
    public var byteCount: Int { version.byteCount }
    /// Unknown: the format can't express it.
    public var sharing: Sharing { .unknown }
    /// Nothing: another file would be written.
    public var sourceFacts: [String: [UInt8]] { [:] }

    /// None: the format has no metadata.
    public func metadata() -> StateTree { [:] }

    /// The arrays by name, over storages that are read when they are used.
    public func state() throws -> StateTree {
        var entries = StateDictionary()
        for member in members {
            let bytes = BackingPart(
                base: archive.backing(of: member.entry),
                range: member.header.dataOffset..<member.header.dataOffset + member.header.layout.byteCount)
            entries[member.name] = .tensor(try member.header.tensor(over: bytes))
        }
        return .dictionary(entries)
    }
}

extension InteropError {
    /// Whether a part of a file is whole and of a kind that no tensor is.
    fileprivate var isOfUnsupportedContent: Bool {
        switch self {
        case .unsupported, .invalidNumPy(_, .dtype): true
        default: false
        }
    }
}
