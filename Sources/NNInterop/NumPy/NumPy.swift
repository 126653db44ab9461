import NNStore

/// What writing NumPy's files can be told.
public struct NumPyOptions: Sendable {
    /// What to do if the destination exists.
    public var existing: ExistingDestination
    /// Whether saving returns only when the file is on stable storage.
    public var isDurable: Bool
    /// Whether what the format can't hold is an error instead of being converted or left out.
    public var isStrict: Bool
    /// Whether BF16 becomes F32, which NumPy has, instead of bytes of which NumPy does not know what they are.
    public var writesBF16AsF32: Bool
    /// The most bytes of data to write. Expanded tensors can stand for any number of them; by default 1,024 times the
    /// bytes of the storages and 64 GiB more.
    public var maximumDataSize: Int?
    /// Asks the save to stop.
    public var cancellation: Cancellation?
    /// Called on the saving thread with the bytes of data done so far and the total.
    public var progress: (@Sendable (_ done: Int, _ total: Int) -> Void)?

    /// The usual options: nothing replaced, durable, what can't be held is converted or left out.
    public init(
        existing: ExistingDestination = .refuse, isDurable: Bool = true, isStrict: Bool = false,
        writesBF16AsF32: Bool = false, maximumDataSize: Int? = nil, cancellation: Cancellation? = nil,
        progress: (@Sendable (_ done: Int, _ total: Int) -> Void)? = nil
    ) {
        self.existing = existing
        self.isDurable = isDurable
        self.isStrict = isStrict
        self.writesBF16AsF32 = writesBF16AsF32
        self.maximumDataSize = maximumDataSize
        self.cancellation = cancellation
        self.progress = progress
    }
}

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
    /// - Returns: what could not be written as it was.
    /// - Throws: ``InteropError`` if the format can't hold the tree; ``NNStore/StoreError``, or what reading a storage
    ///   throws. The destination is then as it was before.
    @discardableResult
    public static func save(
        _ state: StateTree, metadata: StateTree = [:], to path: String, as kind: Kind = .archive,
        options: NumPyOptions = NumPyOptions()
    ) throws -> ExportReport {
        let export = try NumPyExport(state, metadata: metadata, file: path, kind, options)
        let sink = try Destination.sink(for: path, options.existing, isDurable: options.isDurable)
        try export.write(to: BufferedOutput(sink))
        return export.report
    }

    /// Saves a tree as a NumPy file to a sink.
    ///
    /// - Returns: what could not be written as it was.
    /// - Throws: as ``save(_:metadata:to:as:options:)-(_,_,String,_,_)`` does; the sink was given up then.
    @discardableResult
    public static func save(
        _ state: StateTree, metadata: StateTree = [:], to sink: any ByteSink, as kind: Kind = .archive,
        options: NumPyOptions = NumPyOptions()
    ) throws -> ExportReport {
        let output = BufferedOutput(sink)
        let export = try NumPyExport(state, metadata: metadata, file: sink.name, kind, options)
        try export.write(to: output)
        return export.report
    }
}
