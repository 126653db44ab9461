import ArgumentParser
import NNInterop
import NNStore

struct ListCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "Lists the tensors of a checkpoint: names, dtypes, shapes, sizes, and who shares memory with whom.",
        discussion: """
            Examples:
              ckpt-tool list model.nnck
              ckpt-tool list model.safetensors --json --digest
              ckpt-tool list training.nnck --tree
            """)

    @Argument(help: "The checkpoint.", completion: .file())
    var file: String

    @Flag(help: "Show the whole tree: nesting, scalars, strings and metadata too.")
    var tree = false

    @OptionGroup var reading: SourceOptions

    @Flag(help: "Print one JSON object.")
    var json = false

    @Flag(help: "Add the SHA-256 of each tensor's elements (row-major, little-endian) to the JSON or the table.")
    var digest = false

    @Option(help: "The most bytes that --digest may go through; expanded tensors can stand for any number of them.")
    var maxBytes: ByteSizeArgument?

    func run() throws {
        let opened = try reading.open(file)
        let state = try opened.state()
        let listing = CheckpointListing(state)
        let digests = digest ? try self.digests(listing, opened) : nil
        if json {
            try printJSON(opened, listing, digests)
        } else if tree {
            try TreeText(opened, state).lines.forEach(Terminal.print)
            try printRecovery(opened)
        } else {
            try printTable(opened, listing, digests)
        }
    }

    private func digests(_ listing: CheckpointListing, _ opened: any CheckpointFile) throws -> [String] {
        let total = try LogicalSizeLimit.check(
            listing, maxBytes, fileSize: opened.byteCount, file: file, what: "the bytes that --digest goes through")
        let progress = ProgressLine("digest \(printable(file))")
        defer { progress.finish() }
        var done = 0
        return try listing.tensors.map { tensor in
            let digest = try tensor.tensor.sha256()
            done += tensor.layout.byteCount
            progress.update(done, total)
            return digest
        }
    }

    private func printJSON(_ opened: any CheckpointFile, _ listing: CheckpointListing, _ digests: [String]?) throws {
        let tensors = listing.tensors.enumerated().map { index, tensor in
            var members = [
                JSONMember("name", .string(tensor.name)), JSONMember("dtype", .string(tensor.layout.dtype.name)),
                JSONMember("shape", .array(tensor.layout.shape.map { .integer($0) })),
                JSONMember("strides", .array(tensor.layout.strides.map { .integer($0) })),
                JSONMember("offset", .integer(tensor.layout.offset)), JSONMember("storage", .integer(tensor.storage)),
                JSONMember("nbytes", .integer(tensor.layout.byteCount)),
            ]
            if let digests { members.append(JSONMember("sha256", .string(digests[index]))) }
            return JSONValue.object(members)
        }
        let groups = listing.aliasGroups.map { group in
            JSONValue.array(group.map { listing.tensors[$0].name }.sorted(by: byBytes).map { .string($0) })
        }
        JSONOutput.print([
            "file": .string(file), "format": .string(opened.formatName),
            "version": JSONOutput.integer(opened.formatVersion),
            "metadata": try metadata(opened), "modules": .array(try modules(opened)), "tensors": .array(tensors),
            "aliases": .array(groups),
            "recovered": try LibraryMetadata.lostTensors(opened.metadata()).map { lost in
                .object([JSONMember("lost", .array(lost.map { .string($0) }))])
            } ?? .null,
        ])
    }

    private func modules(_ opened: any CheckpointFile) throws -> [JSONValue] {
        ModuleVersions.read(from: try opened.metadata()).map { module in
            .object([
                JSONMember("path", .string(module.path)), JSONMember("type", .string(module.type)),
                JSONMember("version", .integer(module.version)),
            ])
        }
    }

    /// How many modules there are of each type and version, in the order of the first ones: `Linear 1 (3)`.
    private func moduleSummary(_ opened: any CheckpointFile) throws -> String? {
        var names: [String] = []
        var counts: [String: Int] = [:]
        for module in ModuleVersions.read(from: try opened.metadata()) {
            let name = "\(module.type.isEmpty ? "version" : printable(module.type)) \(module.version)"
            if counts[name] == nil { names.append(name) }
            counts[name, default: 0] += 1
        }
        if names.isEmpty { return nil }
        let texts = names.prefix(8).map { counts[$0]! == 1 ? $0 : "\($0) (\(counts[$0]!))" }
        let more = names.count > 8 ? ", ... (--tree shows all)" : ""
        return "modules, with versions: \(texts.joined(separator: ", "))\(more)"
    }

    /// Always an object: an integer key beside the same text is told apart by brackets.
    private func metadata(_ opened: any CheckpointFile) throws -> JSONValue {
        let entries = try opened.visibleMetadata()
        return .object(
            try entries.map { key, value in
                let name = key.description
                let isTaken = key.text == nil && entries[name] != nil
                return JSONMember(isTaken ? "[\(name)]" : name, try JSONValue(value))
            })
    }

    private func byBytes(_ left: String, _ right: String) -> Bool { left.utf8.lexicographicallyPrecedes(right.utf8) }

    private func printTable(_ opened: any CheckpointFile, _ listing: CheckpointListing, _ digests: [String]?) throws {
        let stored = try storedSizes(opened, listing)
        var heading = "\(printable(file))  \(opened.formatDescription), \(Quantities.bytes(opened.byteCount))"
        if stored != nil {
            let logical = listing.storageByteCount
            heading += " of \(Quantities.bytes(logical))"
            // Of a few bytes the index is the most; a ratio would say nothing.
            if logical >= 1 << 16 { heading += " (\(Quantities.percent(opened.byteCount, of: logical)))" }
        }
        Terminal.print(heading)
        var columns: [(heading: String, alignment: Table.Alignment)] = [
            ("NAME", .left), ("DTYPE", .left), ("SHAPE", .left), ("SIZE", .right),
        ]
        if stored != nil { columns += [("STORED", .right), ("", .right)] }
        if digests != nil { columns.append(("SHA-256", .left)) }
        if !listing.aliasGroups.isEmpty { columns.append(("ALIAS", .left)) }
        var places: [Int: (group: Int, place: Int)] = [:]
        for (group, members) in listing.aliasGroups.enumerated() {
            for (place, member) in members.enumerated() { places[member] = (group, place) }
        }
        var table = Table(columns)
        for (index, tensor) in listing.tensors.enumerated() {
            let isFollower = places[index].map { $0.place > 0 } ?? false
            var row = [
                tensor.name.isEmpty ? "(root)" : printable(tensor.name), tensor.layout.dtype.name,
                "\(tensor.layout.shape)", isFollower ? "–" : Quantities.bytes(tensor.layout.byteCount),
            ]
            if let stored {
                let size = stored[tensor.storage] ?? 0
                let percent = Quantities.percent(size, of: tensor.tensor.storage.byteCount)
                row += isFollower || size == 0 ? ["–", ""] : [Quantities.bytes(size), percent]
            }
            if let digests { row.append(digests[index]) }
            if let place = places[index] {
                let owner = listing.tensors[listing.aliasGroups[place.group][0]]
                let relation = CheckpointListing.relation(
                    of: tensor.layout, to: owner.layout, named: printable(owner.name))
                row.append("▸ \(letter(place.group))\(isFollower ? "  \(relation)" : "")")
            } else if !listing.aliasGroups.isEmpty {
                row.append("")
            }
            table.add(row)
        }
        table.lines.forEach(Terminal.print)
        let metadata = try opened.visibleMetadata().keys.map { printable($0.description) }
        if !metadata.isEmpty {
            let more = metadata.count > 5 ? ", ... (--tree shows all)" : ""
            Terminal.print("metadata: \(metadata.prefix(5).joined(separator: ", "))\(more)")
        }
        if let summary = try moduleSummary(opened) { Terminal.print(summary) }
        try printRecovery(opened)
        let names = listing.aliasGroups.reduce(0) { $0 + $1.count }
        Terminal.print(
            "\(Quantities.count(listing.tensors.count, "tensor")), \(Quantities.count(listing.storageCount, "storage"))"
                + (names == 0
                    ? ""
                    : ", \(Quantities.count(listing.aliasGroups.count, "alias group")) (\(Quantities.count(names, "name")))")
        )
    }

    private func printRecovery(_ opened: any CheckpointFile) throws {
        guard let lost = LibraryMetadata.lostTensors(try opened.metadata()) else { return }
        let names = lost.isEmpty ? "no tensor" : lost.prefix(5).map(printable).joined(separator: ", ")
        let more = lost.count > 5 ? " and \(lost.count - 5) more" : ""
        Terminal.print("what could be saved of a damaged container; lost: \(names)\(more)")
    }

    /// What each storage takes in a container, by the listing's numbers.
    private func storedSizes(_ opened: any CheckpointFile, _ listing: CheckpointListing) throws -> [Int: Int]? {
        guard let checkpoint = (opened as? ContainerFile)?.checkpoint else { return nil }
        let byID = try checkpoint.storedByteCounts
        var sizes: [Int: Int] = [:]
        for (entry, tensor) in zip(try checkpoint.tensors, listing.tensors) {
            sizes[tensor.storage] = byID[entry.storage]
        }
        return sizes
    }

    /// `a`, `b`, ... `z`, `aa`, ...
    private func letter(_ number: Int) -> String {
        let letter = String(UnicodeScalar(UInt8(97 + number % 26)))
        return number < 26 ? letter : self.letter(number / 26 - 1) + letter
    }
}
