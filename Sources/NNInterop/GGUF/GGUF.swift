import NNStore

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
        _ state: StateTree, metadata: StateTree = [:], to path: String, options: ExportOptions = ExportOptions()
    ) throws -> ExportReport {
        try GGUFExport(state, metadata: metadata, file: path, options)
            .save(to: path, options)
    }

    /// Saves a tree as a GGUF file to a sink.
    ///
    /// - Returns: what could not be written as it was.
    /// - Throws: as ``save(_:metadata:to:options:)-(_,_,String,_)`` does; the sink was given up then.
    @discardableResult
    public static func save(
        _ state: StateTree, metadata: StateTree = [:], to sink: any ByteSink, options: ExportOptions = ExportOptions()
    ) throws -> ExportReport {
        try GGUFExport.save(to: sink) { try GGUFExport(state, metadata: metadata, file: $0, options) }
    }
}
