import NNStore

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
        _ state: StateTree, metadata: StateTree = [:], to path: String, options: ExportOptions = ExportOptions()
    ) throws -> ExportReport {
        try PyTorchExport(state, metadata: metadata, file: path, options)
            .save(to: path, options)
    }

    /// Saves a tree as a PyTorch file to a sink.
    ///
    /// - Returns: what could not be written as it was.
    /// - Throws: as ``save(_:metadata:to:options:)-(_,_,String,_)`` does; the sink was given up then.
    @discardableResult
    public static func save(
        _ state: StateTree, metadata: StateTree = [:], to sink: any ByteSink,
        options: ExportOptions = ExportOptions()
    ) throws -> ExportReport {
        try PyTorchExport.save(to: sink) { try PyTorchExport(state, metadata: metadata, file: $0, options) }
    }
}
