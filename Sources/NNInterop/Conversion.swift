import NNStore

extension CheckpointFile {
    /// Saves the file as a container at `path`, with what it knows about sharing and what an export back needs.
    ///
    /// - Parameter options: as for ``NNStore/Checkpoint/save(_:metadata:to:options:)-(_,_,String,_)``; what they say
    ///   about sharing is replaced.
    /// - Throws: what reading the file and saving throw.
    public func saveAsContainer(to path: String, options: SaveOptions = SaveOptions()) throws {
        try Checkpoint.save(state(), metadata: metadata(), to: path, options: completed(options))
    }

    /// Saves the file as a container to a sink, as ``saveAsContainer(to:options:)-(String,_)`` does.
    public func saveAsContainer(to sink: any ByteSink, options: SaveOptions = SaveOptions()) throws {
        try Checkpoint.save(state(), metadata: metadata(), to: sink, options: completed(options))
    }

    private func completed(_ options: SaveOptions) throws -> SaveOptions {
        var options = options
        options.sharing = try sharing
        options.sourceFacts = try sourceFacts
        return options
    }

    /// Saves the file as a safetensors file at `path`. What was a safetensors file and is unchanged comes out with
    /// the same bytes.
    ///
    /// - Parameter options: as for ``Safetensors``; their source facts are replaced by the file's.
    /// - Returns: what could not be written as it was.
    /// - Throws: what reading the file and saving throw.
    @discardableResult
    public func saveAsSafetensors(
        to path: String, options: ExportOptions = ExportOptions()
    ) throws -> ExportReport {
        try Safetensors.save(state(), metadata: metadata(), to: path, options: completed(options))
    }

    /// Saves the file as a safetensors file to a sink, as ``saveAsSafetensors(to:options:)-(String,_)`` does.
    @discardableResult
    public func saveAsSafetensors(
        to sink: any ByteSink, options: ExportOptions = ExportOptions()
    ) throws -> ExportReport {
        try Safetensors.save(state(), metadata: metadata(), to: sink, options: completed(options))
    }

    private func completed(_ options: ExportOptions) throws -> ExportOptions {
        var options = options
        options.sourceFacts = try sourceFacts
        return options
    }

    /// Saves the file as a PyTorch file at `path`.
    ///
    /// - Returns: what could not be written as it was.
    /// - Throws: what reading the file and saving throw.
    @discardableResult
    public func saveAsPyTorch(to path: String, options: ExportOptions = ExportOptions()) throws -> ExportReport {
        try PyTorch.save(state(), metadata: metadata(), to: path, options: options)
    }

    /// Saves the file as a PyTorch file to a sink, as ``saveAsPyTorch(to:options:)-(String,_)`` does.
    @discardableResult
    public func saveAsPyTorch(
        to sink: any ByteSink, options: ExportOptions = ExportOptions()
    ) throws -> ExportReport {
        try PyTorch.save(state(), metadata: metadata(), to: sink, options: options)
    }

    /// Saves the file as a NumPy file at `path`.
    ///
    /// - Returns: what could not be written as it was.
    /// - Throws: what reading the file and saving throw.
    @discardableResult
    public func saveAsNumPy(
        to path: String, as kind: NumPy.Kind = .archive, writesBF16AsF32: Bool = false,
        options: ExportOptions = ExportOptions()
    ) throws -> ExportReport {
        try NumPy.save(
            state(), metadata: metadata(), to: path, as: kind, writesBF16AsF32: writesBF16AsF32, options: options)
    }

    /// Saves the file as a NumPy file to a sink, as ``saveAsNumPy(to:as:writesBF16AsF32:options:)-(String,_,_,_)`` does.
    @discardableResult
    public func saveAsNumPy(
        to sink: any ByteSink, as kind: NumPy.Kind = .archive, writesBF16AsF32: Bool = false,
        options: ExportOptions = ExportOptions()
    ) throws -> ExportReport {
        try NumPy.save(
            state(), metadata: metadata(), to: sink, as: kind, writesBF16AsF32: writesBF16AsF32, options: options)
    }

    /// Saves the file as a GGUF file at `path`. What was a GGUF file and is unchanged comes out with the same bytes.
    ///
    /// - Parameter options: their source facts are replaced by the file's.
    /// - Returns: what could not be written as it was.
    /// - Throws: what reading the file and saving throw.
    @discardableResult
    public func saveAsGGUF(to path: String, options: ExportOptions = ExportOptions()) throws -> ExportReport {
        try GGUF.save(state(), metadata: metadata(), to: path, options: completed(options))
    }

    /// Saves the file as a GGUF file to a sink, as ``saveAsGGUF(to:options:)-(String,_)`` does.
    @discardableResult
    public func saveAsGGUF(to sink: any ByteSink, options: ExportOptions = ExportOptions()) throws -> ExportReport {
        try GGUF.save(state(), metadata: metadata(), to: sink, options: completed(options))
    }
}
