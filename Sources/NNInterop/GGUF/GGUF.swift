import NNStore

/// What writing a GGUF file can be told.
public struct GGUFOptions: Sendable {
    /// What to do if the destination exists.
    public var existing: ExistingDestination
    /// Whether saving returns only when the file is on stable storage.
    public var isDurable: Bool
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

    /// The usual options: nothing replaced, durable, what can't be held is converted or left out.
    public init(
        existing: ExistingDestination = .refuse, isDurable: Bool = true, isStrict: Bool = false,
        maximumDataSize: Int? = nil, cancellation: Cancellation? = nil,
        progress: (@Sendable (_ done: Int, _ total: Int) -> Void)? = nil, sourceFacts: [String: [UInt8]] = [:]
    ) {
        self.existing = existing
        self.isDurable = isDurable
        self.isStrict = isStrict
        self.maximumDataSize = maximumDataSize
        self.cancellation = cancellation
        self.progress = progress
        self.sourceFacts = sourceFacts
    }
}

/// Writes GGUF files of version 3.
///
/// Tensors get their flat names, in the order of the tree. Metadata keep their types: typed scalars, typed arrays, strings and
/// booleans as they are; other integers become 64-bit ones, doubles `f64`, lists of one kind arrays. Other values, and leaves of
/// the state that are no tensors, are left out; tensors that share memory are written each for itself. The report says so for each.
/// What a model has to say of itself for llama.cpp to run it (`general.architecture` and more) is not made up.
public enum GGUF {
    /// Saves a tree as a GGUF file at `path`: a file that appears when it is whole, or a pipe or device that is there.
    ///
    /// - Parameters:
    ///   - state: what to save.
    ///   - metadata: a dictionary without tensors.
    /// - Returns: what could not be written as it was.
    /// - Throws: ``InteropError`` if the format can't hold the tree; ``NNStore/StoreError``, or what reading a storage
    ///   throws. The destination is then as it was before.
    @discardableResult
    public static func save(
        _ state: StateTree, metadata: StateTree = [:], to path: String, options: GGUFOptions = GGUFOptions()
    ) throws -> ExportReport {
        let export = try GGUFExport(state, metadata: metadata, file: path, options)
        let sink = try Destination.sink(for: path, options.existing, isDurable: options.isDurable)
        try export.write(to: BufferedOutput(sink))
        return export.report
    }

    /// Saves a tree as a GGUF file to a sink.
    ///
    /// - Returns: what could not be written as it was.
    /// - Throws: as ``save(_:metadata:to:options:)-(_,_,String,_)`` does; the sink was given up then.
    @discardableResult
    public static func save(
        _ state: StateTree, metadata: StateTree = [:], to sink: any ByteSink, options: GGUFOptions = GGUFOptions()
    ) throws -> ExportReport {
        let output = BufferedOutput(sink)
        let export = try GGUFExport(state, metadata: metadata, file: sink.name, options)
        try export.write(to: output)
        return export.report
    }
}
