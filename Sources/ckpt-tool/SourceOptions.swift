import ArgumentParser
import NNInterop

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
    var maxLogicalBytes: Int?

    var options: OpenOptions {
        OpenOptions(
            ignoresAliasNote: ignoreAliasNote, keepsUnknownTypes: opaque, maximumLogicalByteCount: maxLogicalBytes)
    }

    func open(_ path: String) throws -> any CheckpointFile { try CheckpointFiles.open(path, options: options) }
}
