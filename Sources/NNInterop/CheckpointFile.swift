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

/// What opening a file of any format can be told.
public struct OpenOptions: Sendable {
    /// How much the file may ask for.
    public var limits: ReadLimits
    /// Whether NNStore's note in a safetensors file about shared storages is passed over, so that every tensor has a
    /// storage of its own.
    public var ignoresAliasNote: Bool

    /// The usual limits, and notes observed.
    public init(limits: ReadLimits = ReadLimits(), ignoresAliasNote: Bool = false) {
        self.limits = limits
        self.ignoresAliasNote = ignoresAliasNote
    }
}

/// Opens files of all formats.
public enum CheckpointFiles {
    /// Opens the file at `path` in the format that its contents say; its name does not matter.
    ///
    /// - Throws: ``InteropError/unknownFormat(file:found:)`` if it is in none that is known; ``NNStore/StoreError`` if it
    ///   can't be read or is a broken container; what the format's reader throws.
    public static func open(_ path: String, options: OpenOptions = OpenOptions()) throws -> any CheckpointFile {
        try open(FileSource(path: path), options: options)
    }

    /// Opens the file that `source` holds.
    public static func open(_ source: any ByteSource, options: OpenOptions = OpenOptions()) throws -> any CheckpointFile
    {
        let (_, version) = try source.readEnd(0)
        let start = try source.bytes(0..<min(version.byteCount, FormatRecognition.byteCount), of: version)
        switch FormatRecognition.format(of: start) {
        case .container: return ContainerFile(try Checkpoint.open(source, limits: options.limits))
        case .safetensors: return try SafetensorsFile.open(source, options: options)
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
            for key in [SafetensorsFile.headerFact] {
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
