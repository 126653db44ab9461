import NNStore

/// What writing a file of another format can be told.
public struct ExportOptions: Sendable {
    /// What to do with tensors that share a storage, in formats that can't express it.
    public enum Aliases: Sendable, Hashable {
        /// Write the data for each name. safetensors files note in their metadata who shares what, so that ``SafetensorsFile``
        /// gives back one storage; of other formats the report says it.
        case note
        /// Throw ``InteropError/sharedStorages(file:groups:)``.
        case fail
    }

    /// What to do if the destination exists.
    public var existing: ExistingDestination
    /// Whether saving returns only when the file is on stable storage.
    public var isDurable: Bool
    /// What to do with tensors that share a storage. PyTorch files keep it.
    public var aliases: Aliases
    /// Whether what the format can't hold is an error instead of being converted or left out.
    public var isStrict: Bool
    /// The most bytes of data to write, in formats that write each tensor for itself: expanded tensors can stand for any number
    /// of them. By default 1,024 times the bytes of the storages and 64 GiB more.
    public var maximumDataSize: Int?
    /// Asks the save to stop.
    public var cancellation: Cancellation?
    /// Called on the saving thread with the bytes of data done so far and the total.
    public var progress: (@Sendable (_ done: Int, _ total: Int) -> Void)?
    /// What an import left (``CheckpointFile/sourceFacts``): with it a safetensors or GGUF file becomes the original one, byte for
    /// byte, as long as the original describes the tensors and metadata that are saved.
    public var sourceFacts: [String: [UInt8]]

    /// The usual options: nothing replaced, durable, aliases noted, what can't be held is converted or left out.
    public init(
        existing: ExistingDestination = .refuse, isDurable: Bool = true, aliases: Aliases = .note,
        isStrict: Bool = false, maximumDataSize: Int? = nil, cancellation: Cancellation? = nil,
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

/// A file that is about to be written: everything was decided and checked before the first byte.
protocol FileExport {
    /// What could not be written as it was.
    var report: ExportReport { get }

    /// Writes the file and puts it in place.
    func write(to output: BufferedOutput) throws
}

extension FileExport {
    /// Writes the file at `path`. The sink is made only now: what can't be written must not cost a temporary file.
    func save(to path: String, _ options: ExportOptions) throws -> ExportReport {
        try write(to: BufferedOutput(try Destination.sink(for: path, options.existing, isDurable: options.isDurable)))
        return report
    }

    /// Writes what `make` decides on to a sink, which is given up if that throws.
    static func save(to sink: any ByteSink, _ make: (String) throws -> Self) throws -> ExportReport {
        let output = BufferedOutput(sink)
        let export = try make(sink.name)
        try export.write(to: output)
        return export.report
    }
}
