import ArgumentParser
import NNInterop
import NNSigning
import NNStore

extension VerificationLevel: ExpressibleByArgument {}

struct VerifyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify",
        abstract: "Checks a checkpoint and reports everything that is wrong with it.",
        discussion: """
            Levels: structure checks the index, checksums also the bytes as they are stored, full decodes everything. \
            Formats without checksums are checked for their rules and that every byte can be read.

            Checksums guard against accidents, not against malice: who alters a file can alter them too. With --key the \
            file's signature is checked first: that every byte is one that the key's owner signed (ckpt-tool sign).

            Examples:
              ckpt-tool verify model.nnck
              ckpt-tool verify model.nnck --key public.pem
              ckpt-tool verify model.nnck --level checksums --json
            """)

    @Argument(help: "The checkpoint.", completion: .file())
    var file: String

    @Option(help: "How much to check.")
    var level = VerificationLevel.full

    @Option(
        help: ArgumentHelp("Check the file's signature by this public key, a PEM file.", valueName: "file"),
        completion: .file(extensions: ["pem"]))
    var key: String?

    @Option(
        help: ArgumentHelp("The signature, FILE.sig unless given.", valueName: "file"),
        completion: .file(extensions: ["sig"]))
    var signature: String?

    @OptionGroup var reading: SourceOptions

    @Flag(help: "Print one JSON object.")
    var json = false

    func validate() throws {
        guard signature == nil || key != nil else {
            throw ValidationError("--signature needs --key: a signature alone says nothing about who made it")
        }
    }

    func run() throws {
        let signed = try key.map(signedFile)
        let progress = ProgressLine("verify \(printable(file))", quiet: json)
        defer { progress.finish() }
        let update: @Sendable (Int, Int?) -> Void = { progress.update($0, $1) }
        let result =
            if let signed {
                try FileVerification.run(signed.source, level: level, options: reading.options, progress: update)
            } else {
                try FileVerification.run(file, level: level, options: reading.options, progress: update)
            }
        progress.finish()
        if json {
            printJSON(result, signed?.signer)
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
            if result.isRecoverable { Terminal.print("  ckpt-tool recover saves what is sound of it") }
        }
        if !result.problems.isEmpty { throw ExitCode(Failure.badFile) }
    }

    /// The file, if the owner of the key signed it. It is opened once, so what is verified next is what was signed, whatever
    /// stands at the path meanwhile.
    private func signedFile(_ key: String) throws -> (source: FileSource, signer: VerifyingKey) {
        let source = try FileSource(path: file)
        let trusted = try VerifyingKey(path: key)
        try SignCommand.requireWhole(source)
        let path = signature ?? file + ".sig"
        guard try signature != nil || SystemCall.status(path) != nil else {
            throw Failure(
                message: "\(printable(path)): there is no signature; --signature says where it is, if it is elsewhere",
                exitCode: Failure.badCommand)
        }
        let progress = ProgressLine("signature of \(printable(file))", quiet: json)
        defer { progress.finish() }
        try FileSignature(path: path).verify(source, trusting: trusted) { progress.update($0, $1) }
        progress.finish()
        if !json { Terminal.print("\(printable(file)): every byte is as the owner of \(printable(key)) signed it") }
        return (source, trusted)
    }

    private func printJSON(_ result: FileVerification, _ signer: VerifyingKey?) {
        JSONOutput.print([
            "file": .string(file), "ok": .bool(result.problems.isEmpty), "level": .string(level.rawValue),
            "signed_by": JSONOutput.text(signer?.description),
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
