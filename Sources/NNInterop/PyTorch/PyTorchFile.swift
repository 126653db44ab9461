import NNStore

/// A file of PyTorch's (`.pt`, `.pth`, `.bin`, `.ckpt`) that is open for reading: of the zip format, or of the one before it.
///
/// Such a file is a pickle, a program that makes values. Here it is data: what it would call is recognised by name and made by this
/// library, or the file is refused with the name and its place. Opening reads the pickle; the bytes of tensors are read when
/// they are used.
///
/// Of a TorchScript program the parameters, buffers and other attributes are read, not its code. Tensors over one storage are aliases, as they were. Conjugated and negated tensors, and those of files of the other byte order,
/// get the values that they stand for when they are read.
public struct PyTorchFile: CheckpointFile {
    private let source: any ByteSource
    private let version: SourceVersion
    private let graph: PickleGraph
    private let expansion: PickleExpansion
    private let pickleName: String
    private let storages: any TorchStorages
    /// `PyTorch (zip)`, `PyTorch (legacy)` or `PyTorch (TorchScript)`.
    public let formatDescription: String
    /// Whether there are checksums: in archives, unless whoever wrote them left them away.
    public let hasChecksums: Bool
    private let options: OpenOptions
    private let modules: [ModuleVersions.Module]
    private let attributes: StateDictionary
    /// The tree that opening made, for whoever asks first.
    private let first: FirstTree

    /// Opens the file at `path`.
    ///
    /// - Throws: ``InteropError`` if it is no file of PyTorch's, is damaged, or asks for what is not read;
    ///   ``NNStore/StoreError`` if it can't be read.
    public static func open(_ path: String, options: OpenOptions = OpenOptions()) throws -> PyTorchFile {
        try open(FileSource(path: path), options: options)
    }

    /// Opens the file that `source` holds.
    ///
    /// - Throws: as ``open(_:options:)-(String,_)`` does.
    public static func open(_ source: any ByteSource, options: OpenOptions = OpenOptions()) throws -> PyTorchFile {
        let (_, version) = try source.readEnd(0)
        let start = try source.bytes(0..<min(4, version.byteCount), of: version)
        guard start.starts(with: Array("PK".utf8)) else {
            return try PyTorchFile(legacy: source, version, options)
        }
        return try PyTorchFile(ZipArchive(source, version, options: options), source, version, options)
    }

    init(_ archive: ZipArchive, _ source: any ByteSource, _ version: SourceVersion, _ options: OpenOptions) throws {
        let file = try ZipTorchFile(archive, source, version, options)
        try self.init(
            source, version, options, file.graph, file.expansion, file.storages, pickleName: file.pickleName,
            description: file.isScript ? "TorchScript" : "zip",
            hasChecksums: archive.hasChecksums)
    }

    init(legacy source: any ByteSource, _ version: SourceVersion, _ options: OpenOptions) throws {
        let file = try LegacyTorchFile(source, version, options)
        try self.init(
            source, version, options, file.graph, file.expansion, file.storages, pickleName: source.name,
            description: "legacy",
            hasChecksums: false)
    }

    private init(
        _ source: any ByteSource, _ version: SourceVersion, _ options: OpenOptions, _ graph: PickleGraph,
        _ expansion: PickleExpansion, _ storages: any TorchStorages, pickleName: String, description: String,
        hasChecksums: Bool
    ) throws {
        self.source = source
        self.version = version
        self.options = options
        self.graph = graph
        self.expansion = expansion
        self.storages = storages
        self.pickleName = pickleName
        formatDescription = "PyTorch (\(description))"
        self.hasChecksums = hasChecksums
        var interpreter = TorchInterpreter(
            graph, name: pickleName, expansion: expansion, storages: storages, options: options,
            fileSize: version.byteCount)
        first = FirstTree(try interpreter.tree())
        modules = interpreter.modules
        attributes = interpreter.attributes
    }

    /// The path.
    public var name: String { source.name }
    /// `pytorch`
    public var formatName: String { "pytorch" }
    /// Nothing: the versions of the format say nothing about a file.
    public var formatVersion: Int? { nil }
    /// The size of the file in bytes.
    public var byteCount: Int { version.byteCount }
    /// Known: the format says which tensors lie over which storage.
    public var sharing: Sharing { .known }
    /// Nothing: another file would be written.
    public var sourceFacts: [String: [UInt8]] { [:] }

    /// The key in the metadata of what dictionaries were given as objects and is more than versions of modules.
    static let attributesKey = "pytorch.attributes"

    /// The versions of modules that state dicts have beside their entries (`_metadata`); under `pytorch.attributes`, by the paths of
    /// the dictionaries, what else they have there.
    public func metadata() -> StateTree {
        var entries = StateDictionary()
        if !attributes.isEmpty { entries[PyTorchFile.attributesKey] = .dictionary(attributes) }
        ModuleVersions.write(modules, to: &entries)
        return .dictionary(entries)
    }

    /// The values, over storages that are read when they are used.
    ///
    /// - Throws: ``NNStore/StoreError`` where memory is short.
    public func state() throws -> StateTree {
        if let made = first.take() { return made }
        var interpreter = TorchInterpreter(
            graph, name: pickleName, expansion: expansion, storages: storages, options: options,
            fileSize: version.byteCount)
        return try interpreter.tree()
    }

    /// What ``metadata()`` noted of dictionaries.
    static func attributes(in metadata: StateDictionary) -> StateDictionary {
        if case .dictionary(let noted)? = metadata[attributesKey] { noted } else { StateDictionary() }
    }
}
