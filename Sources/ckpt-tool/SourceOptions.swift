import ArgumentParser
import NNInterop

/// How a file is read.
struct SourceOptions: ParsableArguments {
    @Flag(help: "Pass over NNStore's note in a safetensors file about tensors that share memory.")
    var ignoreAliasNote = false

    var options: OpenOptions { OpenOptions(ignoresAliasNote: ignoreAliasNote) }

    func open(_ path: String) throws -> any CheckpointFile { try CheckpointFiles.open(path, options: options) }
}
