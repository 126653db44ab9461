import ArgumentParser
import NNInterop
import NNStore

extension Compression: ExpressibleByArgument {}

struct ImportCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "import",
        abstract: "Saves a checkpoint of any format as an NNStore container.",
        discussion: """
            The container is read back and verified before it takes its place; nothing is left half-written. \
            Memory stays bounded whatever the checkpoint's size.

            Examples:
              ckpt-tool import model.safetensors -o model.nnck
              ckpt-tool import training.pt -o training.nnck
              ckpt-tool import model.safetensors -o - | ssh host 'cat > model.nnck'
              ckpt-tool import old.nnck -o small.nnck --compression smallest
            """)

    @Argument(help: "The checkpoint to import.", completion: .file())
    var source: String

    @Option(
        name: .shortAndLong, help: ArgumentHelp("The container to write; - is standard output.", valueName: "file"),
        completion: .file(extensions: ["nnck"]))
    var output: String

    @Option(help: "How to compress: none (can be mapped), fast or smallest.")
    var compression = Compression.fast

    @OptionGroup var destination: DestinationOptions

    @Flag(help: "Write each tensor contiguous and alone, sharing nothing.")
    var noSharing = false

    @Option(help: "The most bytes that --no-sharing may write out; expanded tensors can stand for any number of them.")
    var maxBytes: ByteSizeArgument?

    @Flag(help: "Do not read the container back.")
    var noVerify = false

    @OptionGroup var reading: SourceOptions

    @Flag(help: "Print one JSON object.")
    var json = false

    func validate() throws {
        if let format = WritableFormat(ending: output), format != .nnck {
            let name = output.split(separator: ".").dropLast().joined(separator: ".")
            throw ValidationError(
                "\(output): import writes NNStore containers; name it \(name).nnck, or use export to write \(format.rawValue)"
            )
        }
        if output == "-", Terminal.outputIsTerminal {
            throw ValidationError("standard output is a terminal; a container is no text")
        }
    }

    func run() throws {
        let opened = try reading.open(source)
        let listing = CheckpointListing(try opened.state())
        let progress = ProgressLine("import \(printable(source))", quiet: json)
        var options = SaveOptions(compression: compression, existing: destination.existing, verifies: !noVerify) {
            progress.update($0, $1)
        }
        options.keepsSharing = !noSharing
        if noSharing {
            try LogicalSizeLimit.check(
                listing, maxBytes, fileSize: opened.byteCount, file: source,
                what: "the bytes that --no-sharing writes out")
        }
        defer { progress.finish() }
        // What goes through standard output can't be read back, and leaves no room for a report.
        if output == "-" { return try opened.saveAsContainer(to: StandardOutput.sink, options: options) }
        try opened.saveAsContainer(to: output, options: options)
        progress.finish()
        try report(opened, listing, seconds: progress.seconds)
    }

    private func report(_ opened: any CheckpointFile, _ listing: CheckpointListing, seconds: Double) throws {
        let logical = listing.storageByteCount
        // The file is written: that its size can't be told is no failure any more.
        let status = try? SystemCall.status(output)
        // A pipe or a device keeps nothing that could have been read back.
        guard let status, status.kind == .file else { return }
        let written = status.byteCount
        if json {
            JSONOutput.print([
                "source": .string(source), "file": .string(output), "format": .string(opened.formatName),
                "tensors": .integer(listing.tensors.count), "storages": .integer(listing.storageCount),
                "logical_bytes": .integer(logical), "file_bytes": .integer(written), "seconds": JSONValue(seconds),
                "verified": .bool(!noVerify),
            ])
            return
        }
        Terminal.print(
            "\(printable(source)): \(opened.formatDescription), \(Quantities.count(listing.tensors.count, "tensor")) in "
                + "\(Quantities.count(listing.storageCount, "storage")), \(Quantities.bytes(opened.byteCount))")
        var size = Quantities.bytes(written)
        var rate = ""
        if logical >= 1 << 16 {
            size += " (\(Quantities.fixed(100 * Double(written) / Double(logical), 1)) %)"
            rate = ", \(Quantities.rate(logical, seconds: seconds))"
        }
        Terminal.print(
            "\(printable(output)): \(size), \(Quantities.seconds(seconds))\(rate)\(noVerify ? "" : ", verified")")
    }
}
