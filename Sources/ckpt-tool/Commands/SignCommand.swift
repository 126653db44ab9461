import ArgumentParser
import NNInterop
import NNSigning
import NNStore

struct SignCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "sign",
        abstract: "Signs checkpoints with an Ed25519 key, so that others can tell that they are the ones you gave out.",
        discussion: """
            The signature of FILE goes to FILE.sig: the SHA-256 of every piece of the file, signed. It holds for these very \
            bytes, so saving, migrating or recompressing a checkpoint needs a new one. ckpt-tool verify --key checks it.

            Keys are those of OpenSSL:
              openssl genpkey -algorithm ed25519 -out private.pem
              openssl pkey -in private.pem -pubout -out public.pem

            Examples:
              ckpt-tool sign model.nnck --key private.pem
              ckpt-tool verify model.nnck --key public.pem
            """)

    @Argument(help: "The files to sign.", completion: .file())
    var files: [String]

    @Option(
        help: ArgumentHelp("The private key, a PEM file.", valueName: "file"), completion: .file(extensions: ["pem"]))
    var key: String

    @Flag(name: .shortAndLong, help: "Replace a signature that is there.")
    var force = false

    @Flag(help: "Print one JSON object.")
    var json = false

    func run() throws {
        let key = try SigningKey(path: key)
        var written: [JSONValue] = []
        // Those that were signed before something failed are signed.
        defer {
            if json { JSONOutput.print(["key": .string("\(key.verifyingKey)"), "signed": .array(written)]) }
        }
        for file in files {
            let path = file + ".sig"
            // Said before a large file is read.
            if try !force && SystemCall.status(path) != nil { throw StoreError.destinationExists(path: path) }
            let source = try FileSource(path: file)
            try SignCommand.requireWhole(source)
            let progress = ProgressLine("sign \(printable(file))", quiet: json)
            defer { progress.finish() }
            let signature = try FileSignature.sign(source, with: key) { progress.update($0, $1) }
            progress.finish()
            try signature.save(to: path, existing: force ? .replace : .refuse)
            if json {
                written.append(
                    .object([
                        "file": .string(file), "signature": .string(path), "bytes": .integer(signature.byteCount),
                    ]))
            } else {
                Terminal.print("\(printable(path)): signed \(Quantities.bytes(signature.byteCount))")
            }
        }
    }

    /// A signature says nothing of other files that the signed one names.
    static func requireWhole(_ source: FileSource) throws {
        guard try CheckpointFiles.isIndexOfShards(source) else { return }
        throw Failure(
            message: "\(printable(source.name)): is an index of shards, and a signature of it would say nothing of the "
                + "shards themselves; import them into one container, and sign that",
            exitCode: Failure.badFile)
    }
}
