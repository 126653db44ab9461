import ArgumentParser
import NNInterop
import NNStore

struct ExportCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "export",
        abstract: "Writes a checkpoint in another format: safetensors, PyTorch, NumPy, GGUF, or an NNStore container.",
        discussion: """
            The format follows the name's ending (.safetensors, .pt, .pth, .bin, .ckpt, .npz, .npy, .gguf, .nnck) unless --to gives it. What the format can't hold \
            is told on standard error.

            Examples:
              ckpt-tool export model.nnck -o model.safetensors
              ckpt-tool export model.nnck -o model.safetensors --aliases fail --strict
              ckpt-tool export training.nnck -o training.pt
              ckpt-tool export model.nnck -o model.safetensors --shard-size 5GB
            """)

    enum Aliases: String, ExpressibleByArgument, CaseIterable {
        case note
        case fail
    }

    enum BF16: String, ExpressibleByArgument, CaseIterable {
        case bytes
        case f32 = "F32"
    }

    @Argument(help: "The checkpoint to export.", completion: .file())
    var source: String

    @Option(
        name: .shortAndLong, help: ArgumentHelp("The file to write; - is standard output.", valueName: "file"),
        completion: .file())
    var output: String

    @Option(help: "The format, where the name's ending does not tell.")
    var to: WritableFormat?

    @OptionGroup var destination: DestinationOptions

    @Option(help: "Tensors that share memory, where the format can't express it: note it in the metadata, or fail.")
    var aliases = Aliases.note

    @Flag(help: "Refuse instead of leaving out or converting what the format can't hold.")
    var strict = false

    @Option(
        name: .customLong("bf16-as"),
        help: "How NumPy, which has no BF16, gets it: as bytes of which it does not know what they are, or as F32.")
    var bf16As = BF16.bytes

    @Option(
        help: ArgumentHelp(
            "Write several files of at most this size, with an index (safetensors and PyTorch).", valueName: "size"))
    var shardSize: ByteSizeArgument?

    @Option(help: "The most bytes to write; expanded tensors can stand for any number of them.")
    var maxBytes: ByteSizeArgument?

    @OptionGroup var reading: SourceOptions

    @Flag(help: "Print one JSON object.")
    var json = false

    mutating func validate() throws {
        if to == nil { to = WritableFormat(ending: output) }
        if output == "-", Terminal.outputIsTerminal {
            throw ValidationError("standard output is a terminal; a checkpoint is no text")
        }
        if shardSize != nil, output == "-" || to != .safetensors && to != .pytorch {
            throw ValidationError("--shard-size is for files of safetensors and PyTorch")
        }
        guard to != nil else {
            throw ValidationError(
                "\(output): its ending names no format that can be written (\(WritableFormat.allCases.flatMap(\.endings).map { "." + $0 }.joined(separator: ", "))); "
                    + "give one with --to")
        }
    }

    func run() throws {
        let opened = try reading.open(source)
        let listing = CheckpointListing(try opened.state())
        let progress = ProgressLine("export \(printable(source))", quiet: json)
        defer { progress.finish() }
        let report = try save(opened, progress)
        progress.finish()
        for line in report?.dropped ?? [] { Terminal.error("\(printable(output)): left out \(printable(line))") }
        for line in report?.converted ?? [] { Terminal.error("\(printable(output)): changed \(printable(line))") }
        if output == "-" { return }
        let index = output + ".index.json"
        let isSharded = try shardSize != nil && SystemCall.status(index) != nil
        let name = isSharded ? index : output
        let written =
            isSharded ? try CheckpointFiles.open(index).byteCount : (try? SystemCall.status(output))?.byteCount ?? 0
        if json {
            JSONOutput.print([
                "source": .string(source), "file": .string(name), "format": .string(to?.rawValue ?? ""),
                "tensors": .integer(listing.tensors.count), "file_bytes": .integer(written),
                "seconds": JSONValue(progress.seconds),
                "dropped": .array((report?.dropped ?? []).map { .string($0) }),
                "converted": .array((report?.converted ?? []).map { .string($0) }),
            ])
        } else {
            Terminal.print(
                "\(printable(name)): \(to?.rawValue ?? ""), \(Quantities.count(listing.tensors.count, "tensor")), "
                    + "\(Quantities.bytes(written)), \(Quantities.seconds(progress.seconds))")
        }
    }

    private func save(_ opened: any CheckpointFile, _ progress: ProgressLine) throws -> ExportReport? {
        let options = ExportOptions(
            existing: destination.existing, aliases: aliases == .fail ? .fail : .note, isStrict: strict,
            maximumDataSize: maxBytes?.byteCount ?? LogicalSizeLimit.bytes(fileSize: opened.byteCount),
            progress: { progress.update($0, $1) })
        if let shardSize {
            return try ShardedExport.save(
                opened.state(), metadata: opened.metadata(), to: output, as: to == .pytorch ? .pytorch : .safetensors,
                maximumShardSize: shardSize.byteCount, options: options)
        }
        switch to {
        case .nnck:
            var options = SaveOptions(existing: destination.existing, verifies: true) { progress.update($0, $1) }
            if let container = opened as? ContainerFile, let compression = try container.checkpoint.compression {
                options.compression = compression
            }
            if output == "-" {
                try opened.saveAsContainer(to: StandardOutput.sink, options: options)
            } else {
                try opened.saveAsContainer(to: output, options: options)
            }
            return nil
        case .pytorch:
            return output == "-"
                ? try opened.saveAsPyTorch(to: StandardOutput.sink, options: options)
                : try opened.saveAsPyTorch(to: output, options: options)
        case .npz, .npy:
            let kind: NumPy.Kind = to == .npy ? .array : .archive
            let widens = bf16As == .f32
            return output == "-"
                ? try opened.saveAsNumPy(
                    to: StandardOutput.sink, as: kind, writesBF16AsF32: widens, options: options)
                : try opened.saveAsNumPy(to: output, as: kind, writesBF16AsF32: widens, options: options)
        case .gguf:
            return output == "-"
                ? try opened.saveAsGGUF(to: StandardOutput.sink, options: options)
                : try opened.saveAsGGUF(to: output, options: options)
        case .safetensors, nil:
            return output == "-"
                ? try opened.saveAsSafetensors(to: StandardOutput.sink, options: options)
                : try opened.saveAsSafetensors(to: output, options: options)
        }
    }
}

extension WritableFormat: ExpressibleByArgument {}
