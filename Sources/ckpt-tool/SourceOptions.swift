import ArgumentParser
import NNInterop
import NNStore

/// How a file is read.
struct SourceOptions: ParsableArguments {
    @Flag(help: "Pass over NNStore's note in a safetensors file about tensors that share memory.")
    var ignoreAliasNote = false

    @Flag(help: "Keep objects of unknown types, which PyTorch files have, as records. Nothing is run either way.")
    var opaque = false

    @Option(
        help: ArgumentHelp(
            "The most bytes that the tensors of a PyTorch file may stand for, expanded ones at full length.",
            valueName: "bytes"))
    var maxLogicalBytes: ByteSizeArgument?

    @Option(
        help: ArgumentHelp(
            "The most bytes that the compressed entries of an archive may decode to.", valueName: "bytes"))
    var maxDecodedBytes: ByteSizeArgument?

    @Option(
        help: ArgumentHelp(
            "The most values that a PyTorch file may stand for, shared lists written out wherever they are used.",
            valueName: "count"))
    var maxValues: Int?

    @Flag(help: "Pass over what no tensor can be in a NumPy archive, such as texts, instead of refusing the file.")
    var skipUnsupported = false

    @Option(
        help: ArgumentHelp(
            "What the bytes of a NumPy array are that NumPy has no type for, as BF16; for an .npy file without the name.",
            valueName: "name=dtype"))
    var dtype: [DTypeArgument] = []

    var options: OpenOptions {
        OpenOptions(
            ignoresAliasNote: ignoreAliasNote, keepsUnknownTypes: opaque,
            maximumLogicalByteCount: maxLogicalBytes?.byteCount,
            maximumDecodedByteCount: maxDecodedBytes?.byteCount, maximumExpandedValues: maxValues,
            dtypes: Dictionary(dtype.map { ($0.name, $0.dtype) }, uniquingKeysWith: { $1 }),
            skipsUnsupported: skipUnsupported)
    }

    func open(_ path: String) throws -> any CheckpointFile {
        let file = try CheckpointFiles.open(path, options: options)
        for line in (file as? NumPyArchive)?.skipped ?? [] {
            Terminal.error("\(printable(path)): passed over \(printable(line))")
        }
        return file
    }
}

/// `weights=BF16`, or `BF16` alone.
struct DTypeArgument: ExpressibleByArgument {
    let name: String
    let dtype: DType

    init?(argument: String) {
        let parts = argument.split(separator: "=", omittingEmptySubsequences: false)
        guard let dtype = parts.last.flatMap({ DType(named: String($0)) }) else { return nil }
        name = parts.dropLast().joined(separator: "=")
        self.dtype = dtype
    }
}
