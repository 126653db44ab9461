import NNStore

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
        options: ExportOptions = ExportOptions()
    ) throws -> ExportReport {
        try SafetensorsExport(state, metadata: metadata, file: path, options)
            .save(to: path, options)
    }

    /// Saves a tree as a safetensors file to a sink.
    ///
    /// - Returns: what could not be written as it was.
    /// - Throws: as ``save(_:metadata:to:options:)-(_,_,String,_)`` does; the sink was given up then.
    @discardableResult
    public static func save(
        _ state: StateTree, metadata: StateTree = [:], to sink: any ByteSink,
        options: ExportOptions = ExportOptions()
    ) throws -> ExportReport {
        try SafetensorsExport.save(to: sink) { try SafetensorsExport(state, metadata: metadata, file: $0, options) }
    }
}
