import ArgumentParser
import NNInterop
import NNStore

extension VerificationLevel: ExpressibleByArgument {}

struct VerifyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify",
        abstract: "Checks a checkpoint and reports everything that is wrong with it.",
        discussion: """
            Levels: structure checks the index, checksums also the bytes as they are stored, full decodes everything. \
            Formats without checksums are checked for their rules and that every byte can be read.

            Examples:
              ckpt-tool verify model.nnck
              ckpt-tool verify model.nnck --level checksums --json
            """)

    @Argument(help: "The checkpoint.", completion: .file())
    var file: String

    @Option(help: "How much to check.")
    var level = VerificationLevel.full

    @OptionGroup var reading: SourceOptions

    @Flag(help: "Print one JSON object.")
    var json = false

    func run() throws {
        let progress = ProgressLine("verify \(printable(file))", quiet: json)
        let result = try FileVerification.run(file, level: level, options: reading.options) { progress.update($0, $1) }
        progress.finish()
        if json {
            printJSON(result)
        } else if result.problems.isEmpty {
            Terminal.print("\(printable(file)): \(result.summary)")
        } else {
            Terminal.print("\(printable(file)): \(result.isDamaged ? "damaged" : "not sound")")
            for problem in result.problems {
                // The heading has named the file.
                let message =
                    problem.message.hasPrefix(file + ": ")
                    ? String(problem.message.dropFirst(file.count + 2)) : problem.message
                Terminal.print("  \(printable(message))")
            }
            if !result.summary.isEmpty { Terminal.print("  \(result.summary)") }
        }
        if !result.problems.isEmpty { throw ExitCode(Failure.badFile) }
    }

    private func printJSON(_ result: FileVerification) {
        JSONOutput.print([
            "file": .string(file), "ok": .bool(result.problems.isEmpty), "level": .string(level.rawValue),
            "problems": .array(
                result.problems.map { problem in
                    .object([
                        "kind": .string(problem.kind), "message": .string(problem.message),
                        "tensor": JSONOutput.text(problem.tensor), "offset": JSONOutput.integer(problem.offset),
                    ])
                }),
        ])
    }
}
