import NNStore

/// Writes NumPy's files: arrays (`.npy`) and archives of them (`.npz`, stored).
///
/// Tensors get their flat names, in the order of the tree. Plain numbers become arrays without dimensions, typed arrays those of
/// one; other leaves and metadata are left out; tensors that share memory are written each for itself. The report says so for
/// each. Types that NumPy has not are written as bytes: BF16 as `<V2`, as the Python module ml_dtypes does, 8-bit floats as `|V1`.
public enum NumPy {
    /// The two kinds of files.
    public enum Kind: Sendable, Hashable {
        /// One array.
        case array
        /// Any number of arrays by name.
        case archive
    }

    /// Saves a tree as a NumPy file at `path`: a file that appears when it is whole, or a pipe or device that is there.
    ///
    /// - Parameters:
    ///   - state: what to save; for ``Kind/array`` with just one tensor in it.
    ///   - metadata: is left out.
    ///   - writesBF16AsF32: whether BF16 becomes F32, which NumPy has, instead of bytes of which NumPy does not know what they are.
    /// - Returns: what could not be written as it was.
    /// - Throws: ``InteropError`` if the format can't hold the tree; ``NNStore/StoreError``, or what reading a storage
    ///   throws. The destination is then as it was before.
    @discardableResult
    public static func save(
        _ state: StateTree, metadata: StateTree = [:], to path: String, as kind: Kind = .archive,
        writesBF16AsF32: Bool = false, options: ExportOptions = ExportOptions()
    ) throws -> ExportReport {
        try NumPyExport(state, metadata: metadata, file: path, kind, widens: writesBF16AsF32, options)
            .save(to: path, options)
    }

    /// Saves a tree as a NumPy file to a sink.
    ///
    /// - Returns: what could not be written as it was.
    /// - Throws: as ``save(_:metadata:to:as:writesBF16AsF32:options:)-(_,_,String,_,_,_)`` does; the sink was given up then.
    @discardableResult
    public static func save(
        _ state: StateTree, metadata: StateTree = [:], to sink: any ByteSink, as kind: Kind = .archive,
        writesBF16AsF32: Bool = false, options: ExportOptions = ExportOptions()
    ) throws -> ExportReport {
        try NumPyExport.save(to: sink) {
            try NumPyExport(state, metadata: metadata, file: $0, kind, widens: writesBF16AsF32, options)
        }
    }
}
