import NNStore

/// A safetensors file that is open for reading.
///
/// Opening reads and validates the header; the data of a tensor are read when they are used. The state is a dictionary
/// from the tensors' names to the tensors, in the order of the header; a name with dots is one key. Stricter than the
/// reference where that is laxer than its own specification: duplicate names, unknown fields, entries written as
/// arrays and white space before the header are refused.
///
/// A note that ``Safetensors`` left about shared storages is followed: those tensors come back as views of one
/// storage. Whatever is read of such a storage is compared with the data of every tensor over the same bytes, and a
/// file in which they differ is refused then.
public struct SafetensorsFile: CheckpointFile {
    private let source: any ByteSource
    private let version: SourceVersion
    /// Where the data begin, in bytes from the start of the file.
    private let dataOffset: Int
    private let header: SafetensorsHeader
    private let headerBytes: [UInt8]
    private let options: OpenOptions
    /// `nil` if there is no note, or if it is to be passed over.
    private let aliases: [AliasGroup]?

    /// The key of ``sourceFacts`` for the original header.
    static let headerFact = "safetensors.header"

    /// Opens the file at `path`.
    ///
    /// - Throws: ``InteropError`` if it is no valid safetensors file; ``NNStore/StoreError`` if it can't be read.
    public static func open(_ path: String, options: OpenOptions = OpenOptions()) throws -> SafetensorsFile {
        try open(FileSource(path: path), options: options)
    }

    /// Opens the file that `source` holds.
    ///
    /// - Throws: as ``open(_:options:)-(String,_)`` does.
    public static func open(_ source: any ByteSource, options: OpenOptions = OpenOptions()) throws -> SafetensorsFile {
        try SafetensorsFile(source, options)
    }

    private init(_ source: any ByteSource, _ options: OpenOptions) throws {
        self.source = source
        self.options = options
        (_, version) = try source.readEnd(0)
        let validation = SafetensorsValidation(file: source.name)
        let start = try source.bytes(0..<min(8, version.byteCount), of: version)
        let size = try validation.headerSize(start, byteCount: version.byteCount)
        dataOffset = 8 + size
        headerBytes = try source.bytes(8..<dataOffset, of: version)
        header = try validation.header(headerBytes, dataSize: version.byteCount - dataOffset)
        aliases = options.ignoresAliasNote ? nil : try header.aliasGroups(file: source.name)
    }

    /// The path.
    public var name: String { source.name }
    /// `safetensors`
    public var formatName: String { "safetensors" }
    /// Nothing: the format has no versions.
    public var formatVersion: Int? { nil }
    /// The size of the file in bytes.
    public var byteCount: Int { version.byteCount }
    /// Unknown, unless a note says what is shared: the format itself can't express it.
    public var sharing: Sharing { aliases == nil ? .unknown : .known }

    /// The header as it is, if ``Safetensors`` would write another one for the same tensors.
    public var sourceFacts: [String: [UInt8]] {
        get throws {
            let usual = try SafetensorsHeader(
                arranging: header.entries.map { ($0.name, $0.layout) }, metadata: header.keptMetadata,
                aliases: try AliasGroup.normalised(aliases ?? []), file: name
            ).encoded()
            return usual == headerBytes ? [:] : [SafetensorsFile.headerFact: headerBytes]
        }
    }

    /// The metadata: strings in the order of the header, without the note about shared storages and without keys
    /// beginning with `nnck.`, which a container keeps for itself; what is noted there of a model's modules is as in a
    /// container.
    public func metadata() -> StateTree {
        var entries = StateDictionary(header.userMetadata.map { ($0.key, .string($0.value)) })
        if let note = header.metadata.first(where: { $0.key == ModuleVersions.key }) {
            ModuleVersions.write(ModulesNote.modules(note.value), to: &entries)
        }
        return .dictionary(entries)
    }

    /// The tensors by name, over storages that are read when they are used.
    ///
    /// - Throws: ``NNStore/StoreError`` where memory is short.
    public func state() throws -> StateTree {
        var tensors: [Int: StateTensor] = [:]
        for group in aliases ?? [] {
            let members = group.members.map { member in
                AliasBacking.Member(
                    name: header.entries[member.entry].name, layout: member.layout, start: start(of: member.entry))
            }
            let storage = Storage(
                backing: AliasBacking(
                    source, version, members, byteCount: group.byteCount,
                    limit: options.limits.maximumBytesInMemory))
            for member in group.members {
                tensors[member.entry] = try StateTensor(storage: storage, layout: member.layout)
            }
        }
        var entries: [(String, StateTree)] = []
        for (number, entry) in header.entries.enumerated() {
            let tensor =
                try tensors[number]
                ?? StateTensor(
                    storage: Storage(
                        backing: FileSpan(source, version, start: start(of: number), byteCount: entry.span.count)),
                    layout: entry.layout)
            entries.append((entry.name, .tensor(tensor)))
        }
        return .dictionary(entries)
    }

    private func start(of entry: Int) -> Int { dataOffset + header.entries[entry].span.lowerBound }
}

extension SafetensorsHeader {
    /// The groups that the header's note tells of; `nil` without a note.
    func aliasGroups(file: String) throws(InteropError) -> [AliasGroup]? {
        guard let note = metadata.first(where: { $0.key == AliasNote.key }) else { return nil }
        return try AliasNote.groups(note.value, for: entries, file: file)
    }
}
