import ArgumentParser
import NNInterop
import NNStore

struct RecoverCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "recover",
        abstract: "Saves what is sound of a damaged container as a new one, and says what is lost.",
        discussion: """
            Every tensor whose bytes have their checksums is saved, with the sharing that it had. Lost ones are left out of \
            dictionaries, and are null in lists; the new container's metadata names them under nnck.recovered. The new file is \
            read back and verified before it takes its place; the damaged one is not touched. A damaged index or a file \
            that was cut a little is mended by the copy that containers since format 2.1 have of their index.

            Exits with 1 if something was lost, also when the rest was saved.

            Examples:
              ckpt-tool recover damaged.nnck -o sound.nnck
              ckpt-tool recover damaged.nnck -o sound.nnck --json
            """)

    @Argument(help: "The damaged container.", completion: .file(extensions: ["nnck"]))
    var file: String

    @Option(
        name: .shortAndLong, help: ArgumentHelp("The container to write.", valueName: "destination"),
        completion: .file(extensions: ["nnck"]))
    var output: String

    @OptionGroup var destination: DestinationOptions

    @Flag(help: "Print one JSON object.")
    var json = false

    func validate() throws {
        guard output != "-" else {
            throw ValidationError(
                "what is saved is read back and verified, so it goes to a file, not to standard output")
        }
    }

    /// What can't be read back can't be verified.
    private func requireFile() throws {
        switch try SystemCall.status(output)?.kind {
        case .pipe, .device:
            throw ValidationError(
                "\(printable(output)) is a pipe or a device; what is saved is read back and verified, so it goes to a file"
            )
        default: break
        }
    }

    func run() throws {
        try requireFile()
        let progress = ProgressLine("recover \(printable(file))", quiet: json)
        let options = SaveOptions(existing: destination.existing, verifies: true) { progress.update($0, $1) }
        defer { progress.finish() }
        let report: RecoveryReport
        do {
            report = try Checkpoint.recover(file, to: output, options: options)
        } catch {
            // Whoever is here already need not be told to come.
            throw Failure(error, advisesRecovery: false) ?? error
        }
        progress.finish()
        if json { printJSON(report) } else { print(report) }
        if !report.isLossless { throw ExitCode(Failure.badFile) }
    }

    private static let shownProblems = 20

    private func print(_ report: RecoveryReport) {
        let saved = report.tensorCount - report.lost.count
        if report.problems.isEmpty && report.mended.isEmpty {
            return Terminal.print(
                "\(printable(file)) is sound; \(printable(output)) has its tensors and metadata, verified")
        }
        Terminal.print(
            "\(printable(output)): \(saved) of \(Quantities.count(report.tensorCount, "tensor")) saved, verified")
        for problem in report.mended { Terminal.print("  mended: \(printable(problem.message))") }
        for tensor in report.lost {
            Terminal.print(
                "  lost: \(printable(tensor.name))  \(tensor.layout.dtype.name) \(tensor.layout.shape): "
                    + printable(tensor.reason))
        }
        if report.isMetadataLost { Terminal.print("  lost: the metadata") }
        // What is wrong with chunks was said of their tensors.
        let others = report.problems.filter { $0.tensor == nil }
        for problem in others.prefix(RecoverCommand.shownProblems) {
            Terminal.print("  found: \(printable(problem.message))")
        }
        if others.count > RecoverCommand.shownProblems {
            Terminal.print("  found: \(others.count - RecoverCommand.shownProblems) more; ckpt-tool verify shows all")
        }
    }

    private func printJSON(_ report: RecoveryReport) {
        JSONOutput.print([
            "file": .string(file), "output": .string(output), "tensors": .integer(report.tensorCount),
            "lost": .array(
                report.lost.map { tensor in
                    .object([
                        "name": .string(tensor.name), "dtype": .string(tensor.layout.dtype.name),
                        "shape": .array(tensor.layout.shape.map { .integer($0) }), "reason": .string(tensor.reason),
                    ])
                }),
            "metadata_lost": .bool(report.isMetadataLost), "mended": .array(report.mended.map { .string($0.message) }),
            "problems": .array(report.problems.map { .string($0.message) }),
        ])
    }
}
