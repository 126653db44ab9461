import NNStore

/// What writing a PyTorch file can be told.
public struct PyTorchOptions: Sendable {
    /// What to do if the destination exists.
    public var existing: ExistingDestination
    /// Whether saving returns only when the file is on stable storage.
    public var isDurable: Bool
    /// Whether what the format can't hold is an error instead of being converted or left out.
    public var isStrict: Bool
    /// Asks the save to stop.
    public var cancellation: Cancellation?
    /// Called on the saving thread with the bytes of storages done so far and the total.
    public var progress: (@Sendable (_ done: Int, _ total: Int) -> Void)?

    /// The usual options: nothing replaced, durable, what can't be held is converted or left out.
    public init(
        existing: ExistingDestination = .refuse, isDurable: Bool = true, isStrict: Bool = false,
        cancellation: Cancellation? = nil, progress: (@Sendable (_ done: Int, _ total: Int) -> Void)? = nil
    ) {
        self.existing = existing
        self.isDurable = isDurable
        self.isStrict = isStrict
        self.cancellation = cancellation
        self.progress = progress
    }
}

/// Writes PyTorch files, of the zip format, that `torch.load(path, weights_only=True)` opens.
///
/// Nesting, shared storages, views, dtypes, parameters and versions of modules are kept. What PyTorch's safe loader does not read
/// becomes its nearest plain value, and the report says so for each: typed scalars become numbers, typed arrays tensors, records
/// dictionaries. Blocks that PyTorch has no dtype for become their bytes.
public enum PyTorch {
    /// Saves a tree as a PyTorch file at `path`: a file that appears when it is whole, or a pipe or device that is there.
    ///
    /// - Parameters:
    ///   - state: what to save.
    ///   - metadata: a dictionary without tensors. Only the versions of modules can be kept.
    /// - Returns: what could not be written as it was.
    /// - Throws: ``InteropError`` if the format can't hold the tree; ``NNStore/StoreError``, or what reading a storage
    ///   throws. The destination is then as it was before.
    @discardableResult
    public static func save(
        _ state: StateTree, metadata: StateTree = [:], to path: String, options: PyTorchOptions = PyTorchOptions()
    ) throws -> ExportReport {
        let export = try PyTorchExport(state, metadata: metadata, file: path, options)
        let sink = try Destination.sink(for: path, options.existing, isDurable: options.isDurable)
        try export.write(to: BufferedOutput(sink))
        return export.report
    }

    /// Saves a tree as a PyTorch file to a sink.
    ///
    /// - Returns: what could not be written as it was.
    /// - Throws: as ``save(_:metadata:to:options:)-(_,_,String,_)`` does; the sink was given up then.
    @discardableResult
    public static func save(
        _ state: StateTree, metadata: StateTree = [:], to sink: any ByteSink,
        options: PyTorchOptions = PyTorchOptions()
    ) throws -> ExportReport {
        let output = BufferedOutput(sink)
        let export = try PyTorchExport(state, metadata: metadata, file: sink.name, options)
        try export.write(to: output)
        return export.report
    }
}
