/// What a migration can be told.
public struct MigrationOptions: Sendable {
    /// The format version to go to.
    public var version: FormatVersion
    /// What to do if the destination exists; for a migration in place, ``ExistingDestination/replace``.
    public var existing: ExistingDestination
    /// Whether migrating returns only when the file is on stable storage.
    public var isDurable: Bool
    /// How many threads work; the processors that the process may use, unless set.
    public var threads: Int?
    /// Asks the migration to stop.
    public var cancellation: Cancellation?
    /// Other names for the entries, if they are to get any.
    public var renaming: PathRenaming?
    /// Called with the logical bytes done so far and the total.
    public var progress: (@Sendable (_ done: Int, _ total: Int?) -> Void)?

    /// The usual options: to the newest version, nothing replaced, durable.
    public init(
        version: FormatVersion = Library.formatVersion, existing: ExistingDestination = .refuse, isDurable: Bool = true,
        threads: Int? = nil, cancellation: Cancellation? = nil, renaming: PathRenaming? = nil,
        progress: (@Sendable (_ done: Int, _ total: Int?) -> Void)? = nil
    ) {
        self.version = version
        self.existing = existing
        self.isDurable = isDurable
        self.threads = threads
        self.cancellation = cancellation
        self.renaming = renaming
        self.progress = progress
    }
}

/// What a migration did.
public struct MigrationReport: Sendable, Hashable {
    /// The version that the container had.
    public let from: FormatVersion
    /// The version that the new one has.
    public let to: FormatVersion
    /// The chunks in all, and those of them that were copied as they were encoded.
    public let chunkCount: Int, copiedChunkCount: Int
}

extension Checkpoint {
    /// Why this container can't be migrated to `version` without a loss, in words; `nil` if it can.
    ///
    /// - Throws: ``StoreError/invalidArgument(reason:)`` if this library does not write that version.
    public func obstacle(toMigrating version: FormatVersion) throws(StoreError) -> String? {
        let path = try MigrationPath(from: self.version, to: version, file: name)
        let unknown = tail.optionalFeatures & ~Tail.knownOptionalFeatures
        if unknown != 0 {
            return "it has the optional feature \(unknown.trailingZeroBitCount), which this library does not know, and "
                + "what that feature added would be lost"
        }
        return try path.loss(self)
    }

    /// Writes this container in another format version to `path`, which may be its own.
    ///
    /// Trees, storages, ids of storages, digests and the content id stay (but for a renaming, if one is asked for); so does
    /// the compression, as the other version has it. Every chunk is checked on the way: those that are encoded anew
    /// against their digests, those that are copied against their checksums. The new file is read back and verified in full
    /// before it takes its place in one step; until then the destination is as it was. The step is added to the history.
    ///
    /// - Throws: ``StoreError``: this container is damaged, the destination can't be written, something would be lost
    ///   (``obstacle(toMigrating:)``), or a rule of the renaming is about no entry.
    @discardableResult
    public func migrate(to path: String, options: MigrationOptions = MigrationOptions()) throws -> MigrationReport {
        let way = try MigrationPath(from: version, to: options.version, file: name)
        if let obstacle = try obstacle(toMigrating: options.version) {
            throw StoreError.invalidArgument(
                reason: "\(name): can't become a container of format \(options.version): \(obstacle)")
        }
        let compression = try self.compression ?? .fast
        var save = SaveOptions(
            compression: compression, existing: options.existing, isDurable: options.isDurable, verifies: true,
            isReferencedByOthers: isReferencedByOthers, sharing: try sharing, formatVersion: options.version,
            threads: options.threads, cancellation: options.cancellation, progress: options.progress)
        save.history = try history + way.history(from: version)
        save.carriedFacts = try carriedFacts()
        if options.renaming == nil {
            save.expectedContentID = contentID
        } else if version == options.version {
            save.history.append(
                HistoryStep(
                    action: "migrated", fromVersion: version.description, toVersion: version.description,
                    by: Library.name))
        }

        let rows = try index.storages()
        let chunks = try ChunkReader(self).chunks(of: rows).map { try $0.get() }
        let storages = rows.map { Storage(backing: ContainerBacking(self, $0)) }
        let ids = Dictionary(uniqueKeysWithValues: storages.enumerated().map { ($1, $0 + 1) })
        var (state, metadata) = (try tree(over: storages), try self.metadata)
        if let renaming = options.renaming {
            // Before anything is written.
            (state, metadata) = try renaming.applied(state: state, metadata: metadata, file: name)
        }
        var dtypes = [Set<DType>](repeating: [], count: rows.count)
        for (_, tensor) in state.tensors where !tensor.layout.isEmpty {
            dtypes[ids[tensor.storage]! - 1].insert(tensor.layout.dtype)
        }
        let reader = MigrationReader(self)
        let sources = zip(zip(rows, chunks), dtypes).map { storage, dtypes in
            MigratedStorage(
                row: storage.0, chunks: storage.1, transforms: PlaneTransform.all(for: dtypes), path: way,
                compression: compression, reader: reader)
        }
        let writing = try StorageWriting(sources, save)
        let output = try ContainerOutput(path: path, save)
        try writing.write(to: output)
        try output.finish(state: state, metadata: metadata, ids: ids)
        return MigrationReport(
            from: version, to: options.version, chunkCount: chunks.reduce(0) { $0 + $1.count },
            copiedChunkCount: reader.copiedCount)
    }

    /// The facts of `extra` that every version has, known to this library or not, with the large values they name.
    func carriedFacts() throws(StoreError) -> [String: CarriedFact] {
        var facts: [String: CarriedFact] = [:]
        for (key, value) in try index.extra() where key != "compression" && key != "sharing" {
            if case .integer(let id) = value {
                facts[key] = .large(try index.large(id))
            } else {
                facts[key] = .plain(value)
            }
        }
        return facts
    }
}

/// A fact of `extra` that goes from one container to another.
enum CarriedFact: Sendable {
    case plain(Statement.Value)
    /// One that stands in the table of large values.
    case large(Statement.Value)
}
