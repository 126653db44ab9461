import ArgumentParser
import NNStore

/// The program: parses, runs one command, and maps what went wrong to an exit code.
@main
struct CheckpointTool: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ckpt-tool",
        abstract:
            "Looks into neural-network checkpoints, checks them and converts them, without running anything in them.",
        discussion: """
            Reads and writes NNStore containers (.nnck), safetensors, PyTorch, NumPy and GGUF files, whole and in shards; what \
            a file is, is told by its contents.

            Exit codes:
              0  fine
              1  the file is bad (damaged, cut, no checkpoint, refused), or differs
              2  the command was wrong, or the system refused (missing file, no permission, disk full)

            Completions: ckpt-tool --generate-completion-script bash|zsh|fish
            """,
        version: "ckpt-tool \(Library.version), container format \(Library.formatVersion)",
        subcommands: [
            ListCommand.self, ShowCommand.self, VerifyCommand.self, ImportCommand.self, ExportCommand.self,
            DiffCommand.self, MigrateCommand.self, RecoverCommand.self, SignCommand.self, SQLCommand.self,
            DevicesCommand.self,
        ])

    static func main() {
        // A reader that has seen enough (head) is no failure of ours; without this the signal would end the program.
        Terminal.setSignals()
        do {
            var command = try parseAsRoot()
            try command.run()
        } catch {
            exit(after: error)
        }
    }

    private static func exit(after error: any Error) -> Never {
        if let exit = error as? ExitCode { Self.exit(withError: exit) }
        if let failure = Failure(error) {
            Terminal.error("error: \(failure.message)")
            Self.exit(withError: ExitCode(failure.exitCode))
        }
        // Help, version and completion scripts are no failures; mistakes in the arguments are.
        if exitCode(for: error).isSuccess { Self.exit(withError: error) }
        Terminal.error(fullMessage(for: error))
        Self.exit(withError: ExitCode(2))
    }
}
