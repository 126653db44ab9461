import NNStore

/// What writing a safetensors file can be told.
public struct SafetensorsOptions: Sendable {
    /// What to do with tensors that share a storage, which the format can't express.
    public enum Aliases: Sendable, Hashable {
        /// Write the data for each name, and note in the metadata who shares what, so that ``SafetensorsFile`` gives
        /// back one storage.
        case note
        /// Throw ``InteropError/sharedStorages(file:groups:)``.
        case fail
    }

    /// What to do if the destination exists.
    public var existing: ExistingDestination
    /// Whether saving returns only when the file is on stable storage.
    public var isDurable: Bool
    /// What to do with tensors that share a storage.
    public var aliases: Aliases
    /// Whether what the format can't hold is an error instead of being converted or left out.
    public var isStrict: Bool
    /// The most bytes of data to write. Expanded tensors can stand for any number of them; by default 1,024 times the
    /// bytes of the storages and 64 GiB more.
    public var maximumDataSize: Int?
    /// Asks the save to stop.
    public var cancellation: Cancellation?
    /// Called on the saving thread with the bytes of data done so far and the total.
    public var progress: (@Sendable (_ done: Int, _ total: Int) -> Void)?
    /// What an import left (``CheckpointFile/sourceFacts``): with the original header in it, the file becomes the
    /// original one, byte for byte, as long as it describes the tensors and metadata that are saved.
    public var sourceFacts: [String: [UInt8]]

    /// The usual options: nothing replaced, durable, aliases noted, what can't be held is converted or left out.
    public init(
        existing: ExistingDestination = .refuse, isDurable: Bool = true, aliases: Aliases = .note,
        isStrict: Bool = false,
        maximumDataSize: Int? = nil, cancellation: Cancellation? = nil,
        progress: (@Sendable (_ done: Int, _ total: Int) -> Void)? = nil, sourceFacts: [String: [UInt8]] = [:]
    ) {
        self.existing = existing
        self.isDurable = isDurable
        self.aliases = aliases
        self.isStrict = isStrict
        self.maximumDataSize = maximumDataSize
        self.cancellation = cancellation
        self.progress = progress
        self.sourceFacts = sourceFacts
    }
}

/// Writes safetensors files.
///
/// Tensors get their flat names, in the order of the tree; that they were nested, their tags and whether they want
/// gradients is not written. The format holds no other leaves: those of the state are left out, metadata that is no
/// string becomes its nearest text, and the report says so for each.
public enum Safetensors {
    /// Saves a tree as a safetensors file at `path`: a file that appears when it is whole, or a pipe or device that
    /// is there.
    ///
    /// Memory is needed for a few megabytes and, one at a time, for the storages of tensors that are not contiguous.
    ///
    /// - Parameters:
    ///   - state: what to save.
    ///   - metadata: a dictionary without tensors.
    /// - Returns: what could not be written as it was.
    /// - Throws: ``InteropError`` if the format can't hold the tree; ``NNStore/StoreError``, or what reading a storage
    ///   throws. The destination is then as it was before.
    @discardableResult
    public static func save(
        _ state: StateTree, metadata: StateTree = [:], to path: String,
        options: SafetensorsOptions = SafetensorsOptions()
    ) throws -> ExportReport {
        try SafetensorsExport(state, metadata: metadata, file: path, options)
            .save(to: path, options.existing, isDurable: options.isDurable)
    }

    /// Saves a tree as a safetensors file to a sink.
    ///
    /// - Returns: what could not be written as it was.
    /// - Throws: as ``save(_:metadata:to:options:)-(_,_,String,_)`` does; the sink was given up then.
    @discardableResult
    public static func save(
        _ state: StateTree, metadata: StateTree = [:], to sink: any ByteSink,
        options: SafetensorsOptions = SafetensorsOptions()
    ) throws -> ExportReport {
        try NNInterop.save(to: sink) { try SafetensorsExport(state, metadata: metadata, file: $0, options) }
    }
}
