import ArgumentParser
import NNInterop
import NNStore

struct DiffCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "diff",
        abstract: "Compares two checkpoints of any formats: entries, values, shared memory and metadata.",
        discussion: """
            Returns 0 if they are equal and 1 if they differ. What has equal digests is not read; of tensors that differ \
            it is said how many elements do, and by how much at most. Entries are matched by their paths; by their names \
            alone if one file is no container. The order of entries, strides and compression are no differences.

            --json prints an object: "first" and "second" (the files), "equal", "entries" and "metadata" (of each entry \
            "name", "path", "change": added, removed or changed, "first" and "second": what it was and is, or null, \
            "differs": kind, tag, dtype, shape, requires_grad, values, value, and "values": counts and largest \
            differences, or null), "aliases" ("only_first" and "only_second": groups of names).

            Examples:
              ckpt-tool diff before.nnck after.nnck
              ckpt-tool diff model.safetensors model.nnck --ignore-metadata --json
            """)

    @Argument(help: "A checkpoint.", completion: .file())
    var first: String

    @Argument(help: "The checkpoint to compare it with.", completion: .file())
    var second: String

    @Flag(help: "Leave out the metadata.")
    var ignoreMetadata = false

    @Option(help: "The most rows to print of each section; all unless it is given.")
    var limit: Int?

    @Option(help: "The most bytes to go through; expanded tensors can stand for any number of them.")
    var maxBytes: ByteSizeArgument?

    @OptionGroup var reading: SourceOptions

    @Flag(help: "Print one JSON object.")
    var json = false

    func validate() throws {
        if let limit, limit < 0 { throw ValidationError("--limit \(limit): a number of rows can't be negative") }
    }

    func run() throws {
        let files = (try reading.open(first), try reading.open(second))
        let (size, overflow) = files.0.byteCount.addingReportingOverflow(files.1.byteCount)
        let progress = ProgressLine("diff \(printable(first)) \(printable(second))", quiet: json)
        defer { progress.finish() }
        let comparison = try CheckpointComparison(
            files.0, files.1,
            options: ComparisonOptions(
                ignoresMetadata: ignoreMetadata,
                maximumByteCount: maxBytes?.byteCount ?? LogicalSizeLimit.bytes(fileSize: overflow ? .max : size),
                progress: { progress.update($0, $1) }))
        progress.finish()
        if json {
            JSONOutput.print(ComparisonJSON.object(comparison, first, second))
        } else {
            let text = ComparisonText(comparison, limit: limit ?? .max)
            text.lines.forEach(Terminal.print)
            Terminal.print("\(printable(first)) and \(printable(second)) \(text.summary)")
        }
        if !comparison.isEqual { throw ExitCode(Failure.badFile) }
    }
}
