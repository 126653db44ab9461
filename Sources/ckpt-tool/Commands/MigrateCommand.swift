import ArgumentParser
import NNInterop
import NNStore

struct MigrateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "migrate",
        abstract: "Rewrites containers in another version of the container format, or with other names.",
        discussion: """
            Values, names, sharing, digests and the content id stay. Each new file is read back and verified before it \
            takes its place in one step, so a run that is stopped loses nothing: start it again, and files that have the \
            version already are passed over. A folder stands for the containers in it and in its folders, and for \
            all else there whose name ends in .nnck.

            Rules for names are paths, OLD=NEW: what is at the old one, and all below it, goes to the new one. * stands for \
            one part between dots, ** for any number of them. Several rules are applied one after another. Data is copied \
            as it is. A file in which no rule matches anything is passed over.

            Examples:
              ckpt-tool migrate old.nnck -o new.nnck
              ckpt-tool migrate --in-place checkpoints/
              ckpt-tool migrate --in-place --to 1 --dry-run *.nnck
              ckpt-tool migrate old.nnck -o new.nnck --rename 'encoder.attn=encoder.attention,layers.*.fc=layers.*.linear'
              ckpt-tool migrate old.nnck -o new.nnck --rename @rules.txt
            """)

    @Argument(help: "Containers, or folders of them.", completion: .file())
    var files: [String]

    @Option(
        name: .shortAndLong,
        help: ArgumentHelp(
            "The new container; with several files or a folder, the folder for them.", valueName: "destination"),
        completion: .file())
    var output: String?

    @Flag(help: "Replace each file by the new one.")
    var inPlace = false

    @Option(help: ArgumentHelp("The version to go to, the newest unless given.", valueName: "version"))
    var to: String?

    @Option(
        help: ArgumentHelp(
            "Give entries other names: OLD=NEW, several with commas between them; or @FILE with one on each line.",
            valueName: "rules"))
    var rename: [RenamingArgument] = []

    @Flag(help: "Only say what would be done.")
    var dryRun = false

    @OptionGroup var destination: DestinationOptions

    @Flag(help: "Print one JSON object.")
    var json = false

    private var target: FormatVersion? {
        guard let to else { return Library.formatVersion }
        if let version = FormatVersion(to) { return version }
        return Library.writtenFormatVersions.last { String($0.major) == to } ?? FormatVersion(to + ".0")
    }

    func validate() throws {
        guard !inPlace || output == nil else {
            throw ValidationError("the new files go either to -o or in the places of the old ones, not both")
        }
        guard output != "-" else {
            throw ValidationError("a migration is read back and verified, so it goes to a file, not to standard output")
        }
        guard inPlace || output != nil || dryRun else {
            throw ValidationError("say where the new files go: either -o or --in-place")
        }
        guard target != nil else { throw ValidationError("--to \(to!): is no version; 1, 2, 2.0 and 2.1 are") }
    }

    private var renaming: PathRenaming? { rename.isEmpty ? nil : PathRenaming(rename.flatMap(\.rules)) }

    /// What became of a file.
    private enum Outcome {
        case migrated(MigrationReport, before: Int, after: Int)
        case wouldMigrate(FormatVersion)
        case hasVersion
        /// No rule is about any of its entries.
        case nothingToRename
        /// An earlier run has put the new file there.
        case isThere
        case failed(message: String, exitCode: Int32)
    }

    func run() throws {
        var found: [ContainerFiles.Found] = []
        for file in files { found += try ContainerFiles.at(file, followsLinks: !inPlace) }
        if found.isEmpty { throw ValidationError("there are no containers in \(files.joined(separator: ", "))") }
        let destinations = try destinations(of: found)
        var results: [(file: String, destination: String, outcome: Outcome)] = []
        for (file, path) in zip(found, destinations) {
            let outcome = try migrate(file.path, to: path)
            results.append((file.path, path, outcome))
            if !json { print(file.path, path, outcome) }
        }
        if json { printJSON(results) }
        if results.allSatisfy({ if case .nothingToRename = $0.outcome { true } else { false } }) {
            throw ValidationError("no rule is about any entry; `ckpt-tool list` shows their names")
        }
        let failures = results.compactMap { if case .failed(_, let code) = $0.outcome { code } else { nil } }
        if let worst = failures.max() { throw ExitCode(worst) }
    }

    /// Where each file goes. No two go to one place, and none lies where the new ones are put: what one run wrote would
    /// be lost, or taken for more to do by the next.
    private func destinations(of found: [ContainerFiles.Found]) throws -> [String] {
        guard let output else { return found.map(\.path) }
        let isFolder = files.count > 1 || found.first?.isInFolder == true
        let destinations = found.map { isFolder ? ContainerFiles.join(output, $0.relativePath) : output }
        var sources: [String: String] = [:]
        for (file, path) in zip(found, destinations) {
            if let other = sources.updateValue(file.path, forKey: path) {
                throw ValidationError("\(other) and \(file.path) would both become \(path); migrate them apart")
            }
        }
        if isFolder, let place = try? SystemCall.resolve(output),
            let folder = try files.first(where: { file in
                try SystemCall.status(file)?.kind == .folder
                    && "\(place)/".hasPrefix(try SystemCall.resolve(file) + "/")
            })
        {
            throw ValidationError("\(output) lies in \(folder), whose containers are migrated; choose another folder")
        }
        return destinations
    }

    private func migrate(_ file: String, to path: String) throws -> Outcome {
        do {
            let checkpoint = try Checkpoint.open(file)
            if let renaming {
                let counts = try renaming.applied(to: checkpoint.state()).counts
                if counts.allSatisfy({ $0 == 0 }) { return .nothingToRename }
                if let unused = zip(renaming.rules, counts).first(where: { $0.1 == 0 })?.0 {
                    return .failed(
                        message: "\(file): the rule \(unused) is about no entry of it", exitCode: Failure.badFile)
                }
            } else if checkpoint.version == target!, inPlace || output == nil {
                return .hasVersion
            }
            if renaming == nil, !inPlace, !dryRun, let there = try earlierResult(for: checkpoint, path) {
                if try there.verify(.checksums).isSound { return .isThere }
                // With --force it is written anew.
                guard destination.existing != .refuse else {
                    return .failed(
                        message: "\(path): is there already, with format \(target!), but damaged. "
                            + "`ckpt-tool verify` says where; --force writes it anew",
                        exitCode: Failure.badFile)
                }
            }
            if let obstacle = try checkpoint.obstacle(toMigrating: target!) {
                return .failed(
                    message: "\(file): can't become a container of format \(target!): \(obstacle)",
                    exitCode: Failure.badFile)
            }
            if inPlace, checkpoint.isReferencedByOthers, !destination.forceReferenced {
                throw StoreError.destinationReferenced(path: file)
            }
            if dryRun { return .wouldMigrate(checkpoint.version) }
            let existing: ExistingDestination =
                inPlace ? (destination.forceReferenced ? .replaceReferenced : .replace) : destination.existing
            if !inPlace { try ContainerFiles.createFolder(of: path) }
            let progress = ProgressLine("migrate \(printable(file))", quiet: json)
            defer { progress.finish() }
            let options = MigrationOptions(version: target!, existing: existing, renaming: renaming) {
                progress.update($0, $1)
            }
            let report = try checkpoint.migrate(to: path, options: options)
            return .migrated(
                report, before: checkpoint.byteCount, after: (try? SystemCall.status(path))?.byteCount ?? 0)
        } catch {
            guard let failure = Failure(error) else { throw error }
            return .failed(message: failure.message, exitCode: failure.exitCode)
        }
    }

    /// What an earlier run has put there.
    private func earlierResult(for checkpoint: Checkpoint, _ path: String) throws -> Checkpoint? {
        guard try SystemCall.status(path) != nil, let there = try? Checkpoint.open(path) else { return nil }
        return there.version == target! && there.contentID == checkpoint.contentID ? there : nil
    }

    private func print(_ file: String, _ path: String, _ outcome: Outcome) {
        let name = printable(file)
        switch outcome {
        case .migrated(let report, let before, let after):
            let place = file == path ? "" : " to \(printable(path))"
            let step =
                report.from == report.to
                ? (renaming == nil ? "written anew" : "renamed") : "\(report.from) → \(report.to)"
            Terminal.print(
                "\(name): \(step)\(place), \(Quantities.bytes(before)) → \(Quantities.bytes(after)), "
                    + "verified")
        case .wouldMigrate(let version):
            let step = version == target! ? "would get other names" : "\(version) → \(target!)"
            Terminal.print("\(name): \(step), nothing would be lost if its data is sound")
        case .hasVersion: Terminal.print("\(name): has format \(target!) already")
        case .nothingToRename: Terminal.print("\(name): no rule is about an entry of it, left as it is")
        case .isThere: Terminal.print("\(name): \(printable(path)) is there already, with format \(target!)")
        case .failed(let message, _): Terminal.error("error: \(message)")
        }
    }

    private func printJSON(_ results: [(file: String, destination: String, outcome: Outcome)]) {
        let rows = results.map { file, path, outcome -> JSONValue in
            var members: [(String, JSONValue)] = [("file", .string(file)), ("destination", .string(path))]
            members.append(("to", .string(target!.description)))
            switch outcome {
            case .migrated(let report, let before, let after):
                members += [
                    ("status", .string("migrated")), ("from", .string(report.from.description)),
                    ("chunks", .integer(report.chunkCount)), ("copied_chunks", .integer(report.copiedChunkCount)),
                    ("bytes_before", .integer(before)), ("bytes_after", .integer(after)),
                ]
            case .wouldMigrate(let version):
                members += [("status", .string("would migrate")), ("from", .string(version.description))]
            case .hasVersion: members.append(("status", .string("has the version")))
            case .nothingToRename: members.append(("status", .string("nothing to rename")))
            case .isThere: members.append(("status", .string("is there")))
            case .failed(let message, _):
                members += [("status", .string("failed")), ("error", .string(message))]
            }
            return .object(members.map { JSONMember($0, $1) })
        }
        JSONOutput.print(["dry_run": .bool(dryRun), "files": .array(rows)])
    }
}
