import NNStore

/// An open checkpoint file of any format, as the tool sees it.
///
/// Opening reads and validates the description; bytes of tensors are read when they are used. A file may be used from
/// several threads at once.
public protocol CheckpointFile: Sendable {
    /// What messages call the file: its path.
    var name: String { get }
    /// The format's short name, in small letters (`nnck`, `safetensors`).
    var formatName: String { get }
    /// The format's version, if it has versions.
    var formatVersion: Int? { get }
    /// The size of the file in bytes.
    var byteCount: Int { get }
    /// The format in the words of a person (`PyTorch (zip)`).
    var formatDescription: String { get }
    /// Whether the format has checksums of the tensors' bytes, which are compared when these are read.
    var hasChecksums: Bool { get }
    /// What the file knows about sharing: ``NNStore/Sharing/known`` if tensors over one storage in ``state()`` are
    /// all that were shared.
    var sharing: Sharing { get throws }
    /// What a container has to keep so that an export to this format gives back the same bytes, by its key in
    /// the container's `extra` (spec section 8).
    var sourceFacts: [String: [UInt8]] { get throws }

    /// The metadata: a dictionary without tensors.
    func metadata() throws -> StateTree
    /// The state tree over storages that are read when they are first used or saved elsewhere. Each call gives
    /// storages of its own.
    func state() throws -> StateTree
}

extension CheckpointFile {
    /// The short name, with the version if there is one.
    public var formatDescription: String { formatVersion.map { "\(formatName) \($0)" } ?? formatName }

    /// None: most formats trust whatever carries them.
    public var hasChecksums: Bool { false }
}

/// What opening a file of any format can be told.
public struct OpenOptions: Sendable {
    /// How much the file may ask for.
    public var limits: ReadLimits
    /// Whether NNStore's note in a safetensors file about shared storages is passed over, so that every tensor has a
    /// storage of its own.
    public var ignoresAliasNote: Bool
    /// Whether objects of types that are not known, which PyTorch files have, are kept as records instead of refusing the file.
    /// Nothing is run either way.
    public var keepsUnknownTypes: Bool
    /// The most bytes that the tensors of a PyTorch file may stand for, expanded ones at full length, and the most that its texts may.
    /// Unless set, 1,024 times the size of the file and at least 64 GiB for tensors, 64 times that of the pickle and 64 MiB more
    /// for texts.
    public var maximumLogicalByteCount: Int?
    /// The most values that the pickle of a PyTorch file may stand for, with shared lists and dictionaries written out wherever
    /// they are used. Unless set, 8 for each of its bytes and 65,536 more, and ``NNStore/ReadLimits/maximumNodes`` at most.
    public var maximumExpandedValues: Int?
    /// The most bytes that compressed entries of an archive may decode to, in all. Unless set, 256 times the size of the file and
    /// 16 MiB more.
    public var maximumDecodedByteCount: Int?

    /// What arrays of a NumPy file are to be read as whose bytes NumPy has no type for, by their names; by the empty name that of
    /// an `.npy` file.
    public var dtypes: [String: DType]
    /// Whether members of an archive that no tensor can be are passed over instead of refusing the file.
    public var skipsUnsupported: Bool

    /// The usual limits, and notes observed.
    public init(
        limits: ReadLimits = ReadLimits(), ignoresAliasNote: Bool = false, keepsUnknownTypes: Bool = false,
        maximumLogicalByteCount: Int? = nil, maximumDecodedByteCount: Int? = nil,
        maximumExpandedValues: Int? = nil, dtypes: [String: DType] = [:], skipsUnsupported: Bool = false
    ) {
        self.limits = limits
        self.ignoresAliasNote = ignoresAliasNote
        self.keepsUnknownTypes = keepsUnknownTypes
        self.maximumLogicalByteCount = maximumLogicalByteCount
        self.maximumDecodedByteCount = maximumDecodedByteCount
        self.maximumExpandedValues = maximumExpandedValues
        self.dtypes = dtypes
        self.skipsUnsupported = skipsUnsupported
    }

    func maximumDecodedByteCount(fileSize: Int) -> Int {
        if let maximumDecodedByteCount { return maximumDecodedByteCount }
        let (product, overflow) = fileSize.multipliedReportingOverflow(by: 256)
        return overflow ? .max : product.addingReportingOverflow(16 << 20).overflow ? .max : product + 16 << 20
    }

    func maximumLogicalByteCount(fileSize: Int) -> Int {
        if let maximumLogicalByteCount { return maximumLogicalByteCount }
        let (product, overflow) = fileSize.multipliedReportingOverflow(by: 1024)
        return overflow ? .max : max(64 << 30, product)
    }
}

/// Opens files of all formats.
public enum CheckpointFiles {
    /// Opens the file at `path` in the format that its contents say; its name does not matter. The path of a folder stands for
    /// the index of shards that is in it.
    ///
    /// - Throws: ``InteropError/unknownFormat(file:found:)`` if it is in none that is known; ``NNStore/StoreError`` if it
    ///   can't be read or is a broken container; what the format's reader throws.
    public static func open(_ path: String, options: OpenOptions = OpenOptions()) throws -> any CheckpointFile {
        let isFolder = try SystemCall.status(path)?.kind == .folder
        return try open(FileSource(path: (isFolder ? ModelFolder.index(in: path) : nil) ?? path), options: options)
    }

    /// Opens the file that `source` holds.
    public static func open(_ source: any ByteSource, options: OpenOptions = OpenOptions()) throws -> any CheckpointFile
    {
        try open(source, options, isShard: false)
    }

    /// Whether a file begins as an index of shards does, which is of no use without the files that it names.
    public static func isIndexOfShards(_ source: any ByteSource) throws -> Bool {
        let (_, version) = try source.readEnd(0)
        if case .json = try format(of: source, version) { return true }
        return false
    }

    private static func format(
        of source: any ByteSource, _ version: SourceVersion
    ) throws -> FormatRecognition.Format {
        FormatRecognition.format(
            of: try source.bytes(0..<min(version.byteCount, FormatRecognition.byteCount), of: version))
    }

    /// - Parameter isShard: whether it is named by an index, so that it can't be one.
    static func open(_ source: any ByteSource, _ options: OpenOptions, isShard: Bool) throws -> any CheckpointFile {
        let (_, version) = try source.readEnd(0)
        switch try format(of: source, version) {
        case .container: return ContainerFile(try Checkpoint.open(source, limits: options.limits))
        case .safetensors: return try SafetensorsFile.open(source, options: options)
        case .archive:
            let archive = try ZipArchive(source, version, options: options)
            return ZipTorchFile.looksLikePyTorch(archive)
                ? try PyTorchFile(archive, source, version, options)
                : try NumPyArchive(archive, source, version, options)
        case .numPyArray: return try NumPyFile.open(source, options: options)
        case .gguf: return try GGUFFile.open(source, options: options)
        case .json:
            if isShard { throw InteropError.invalidShards(file: source.name, problem: "a shard is an index itself") }
            guard let file = source as? FileSource else {
                throw InteropError.unsupported(
                    file: source.name, what: "an index of shards by itself",
                    advice: "open it by its path, beside its shards")
            }
            return try ShardedModel(file, options)
        case .pickle: return try PyTorchFile(legacy: source, version, options)
        case .unknown(let found): throw InteropError.unknownFormat(file: source.name, found: found)
        }
    }
}

/// An NNStore container among the files of other formats.
public struct ContainerFile: CheckpointFile {
    /// The container.
    public let checkpoint: Checkpoint

    /// The container as a checkpoint file.
    public init(_ checkpoint: Checkpoint) { self.checkpoint = checkpoint }

    /// The path.
    public var name: String { checkpoint.name }
    /// `nnck`
    public var formatName: String { "nnck" }
    /// The container format's major version.
    public var formatVersion: Int? { checkpoint.version.major }
    /// `container 2.0, saved with fast`
    public var formatDescription: String {
        let compression = (try? checkpoint.compression).flatMap { $0?.rawValue } ?? "an unknown compression"
        return "container \(checkpoint.version), saved with \(compression)"
    }
    /// Of every page and every chunk.
    public var hasChecksums: Bool { true }
    /// The size of the file in bytes.
    public var byteCount: Int { checkpoint.byteCount }
    /// What the container says.
    public var sharing: Sharing {
        get throws { try checkpoint.sharing }
    }
    /// What importers left in the container.
    public var sourceFacts: [String: [UInt8]] {
        get throws {
            var facts: [String: [UInt8]] = [:]
            for key in [SafetensorsFile.headerFact, GGUFFile.headerFact, GGUFFile.endFact] {
                if let fact = try checkpoint.sourceFact(key) { facts[key] = fact }
            }
            return facts
        }
    }

    /// The metadata tree.
    public func metadata() throws -> StateTree { try checkpoint.metadata }
    /// The state tree, read lazily.
    public func state() throws -> StateTree { try checkpoint.state() }
}
