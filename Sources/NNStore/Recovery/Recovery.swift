/// What was saved of a damaged container, and what was not.
public struct RecoveryReport: Sendable {
    /// A tensor that could not be saved.
    public struct LostTensor: Sendable {
        /// The flat name.
        public let name: String
        /// dtype, shape, strides and offset.
        public let layout: TensorLayout
        /// What is wrong with its bytes.
        public let reason: String
    }

    /// How many tensors the damaged container names.
    public let tensorCount: Int
    /// The ones that could not be saved, in the container's order.
    public let lost: [LostTensor]
    /// Whether the metadata could not be read, and is lost as well.
    public let isMetadataLost: Bool
    /// What of header, index and tail was damaged or cut off, and is whole again: the file says it twice.
    public let mended: [Problem]
    /// What full verification found beyond that, and why the copy of the index could not help, if it could not.
    public let problems: [Problem]
    /// Whether nothing was lost.
    public var isLossless: Bool { lost.isEmpty && !isMetadataLost }
    /// Whether the new container's metadata says that it was recovered: not where only the copy of the index or padding was
    /// damaged, which no reader has seen, so that the content is what it was.
    public var isMarked: Bool { problems.contains { $0.kind != .indexCopy && $0.kind != .padding } }
}

extension Checkpoint {
    /// Saves what is sound of the damaged container at `damaged` as a new one, which is verified before it takes its place.
    ///
    /// Every tensor whose bytes are what they should be is saved, with the sharing that it had; of a storage that several
    /// tensors look at, those whose part is sound. Lost tensors are left out of dictionaries and records, and are null in lists
    /// and tuples, so that what follows keeps its place. The metadata of the result says what it is, under `nnck.recovered` (spec
    /// section 8). Header, tail and index are mended by what the file says twice (spec section 2.5), also when it was cut; what
    /// a disk can't read is taken for lost. Where the index can't be had at all, nothing is written.
    ///
    /// - Parameters:
    ///   - path: where the new container goes; another file than the damaged one.
    ///   - options: as for saving, but for the compression, which is the damaged container's, and verifying, which is always
    ///     done.
    /// - Returns: what was lost; nothing, if the container is sound.
    /// - Throws: ``StoreError``: the index can't be had or no tensor is left; `path` is the damaged container itself
    ///   (``StoreError/invalidArgument(reason:)``); and what saving throws.
    @discardableResult
    public static func recover(
        _ damaged: String, to path: String, options: SaveOptions = SaveOptions(), limits: ReadLimits = ReadLimits()
    ) throws -> RecoveryReport {
        if let there = try SystemCall.status(path), let own = try SystemCall.status(damaged),
            there.device == own.device, there.inode == own.inode
        {
            throw StoreError.invalidArgument(
                reason: "\(path) is the damaged container itself, which stays as it is; name another file")
        }
        let source = try MendedSource(FileSource(path: damaged))
        let checkpoint = try Checkpoint.open(source, limits: limits)
        let sound = try checkpoint.soundPart(source, options)
        let options = checkpoint.options(forRecovering: sound.report, options)
        try Checkpoint.save(sound.state, metadata: sound.metadata, to: path, options: options)
        return sound.report
    }

    /// How what was saved is written: with all that the damaged container says of itself, as far as it can be read and still
    /// holds.
    private func options(forRecovering report: RecoveryReport, _ given: SaveOptions) -> SaveOptions {
        var options = given
        options.compression = (try? compression) ?? options.compression
        options.verifies = true
        options.sharing = (try? sharing) ?? .unknown
        options.isReferencedByOthers = options.isReferencedByOthers || isReferencedByOthers
        options.history = (try? history) ?? []
        options.history.append(
            HistoryStep(
                action: "recovered", fromVersion: version.description, toVersion: options.formatVersion.description,
                by: Library.name))
        options.carriedFacts = (try? carriedFacts()) ?? [:]
        if !report.isLossless {
            // What other formats' files began with names tensors that are lost.
            options.carriedFacts = options.carriedFacts.filter {
                !$0.key.hasPrefix("safetensors.") && !$0.key.hasPrefix("gguf.")
            }
        }
        if !report.isMarked { options.expectedContentID = contentID }
        return options
    }

    /// What ``recover(_:to:options:limits:)`` saves.
    func soundPart(
        _ mended: MendedSource, _ options: SaveOptions = SaveOptions()
    ) throws -> (state: StateTree, metadata: StateTree, report: RecoveryReport) {
        let verification = try verify(.full, threads: options.threads, cancellation: options.cancellation)
        let (entries, state, isStateAlone) = try readTree()
        let tensors = state.tensors.map(\.tensor)
        let reasons = try TensorDamage.reasons(
            verification, entries, tensors, maximumChunkCount: index.maximumChunkCount)
        guard entries.isEmpty || reasons.count < entries.count else {
            throw StoreError.damaged(
                file: source.name,
                problem: Problem(.chunk, "none of its \(entries.count) tensors is sound, so there is nothing to save"))
        }
        var metadata = StateDictionary()
        var isMetadataLost = isStateAlone
        do throws(StoreError) {
            if !isStateAlone, case .dictionary(let read) = try self.metadata { metadata = read }
        } catch {
            guard case .damaged = error else { throw error }
            isMetadataLost = true
        }
        let found = Set(verification.problems)
        let report = RecoveryReport(
            tensorCount: entries.count,
            lost: entries.enumerated().compactMap { number, entry in
                reasons[number].map { RecoveryReport.LostTensor(name: entry.name, layout: entry.layout, reason: $0) }
            },
            isMetadataLost: isMetadataLost, mended: mended.mended,
            problems: mended.problems.filter { !found.contains($0) } + verification.problems)
        if report.isMarked {
            LibraryMetadata.noteRecovery(report, of: contentID, in: &metadata)
        }
        var next = 0
        let damaged = Set(reasons.keys.map { tensors[$0].storage })
        let kept = try (state.without(Set(reasons.keys), &next) ?? .null).readingOnlyWhatIsSeen(of: damaged)
        return (kept, .dictionary(metadata), report)
    }

    /// The names and the tree, with an error that says what their damage means.
    private func readTree() throws(StoreError) -> ([TensorEntry], StateTree, isStateAlone: Bool) {
        func read(_ part: TreeReader.Part) throws(StoreError) -> ([TensorEntry], StateTree, isStateAlone: Bool) {
            let storages = try index.storages().map { Storage(backing: ContainerBacking(self, $0)) }
            let entries = try TreeReader(index, part).entries()
            return (entries, try tree(over: storages, reading: part), part == .state)
        }
        do throws(StoreError) {
            do throws(StoreError) {
                return try read(.both)
            } catch {
                guard case .damaged = error else { throw error }
                // Damage of the metadata alone costs no tensor.
                return try read(.state)
            }
        } catch {
            guard case .damaged(let file, let problem) = error else { throw error }
            throw StoreError.damaged(
                file: file,
                problem: Problem(
                    problem.kind,
                    problem.message
                        + "; without it nobody knows which bytes are which tensor's, so nothing can be recovered",
                    tensor: problem.tensor, offset: problem.offset))
        }
    }
}

/// Which tensors of a container can't be read as they were saved.
private enum TensorDamage {
    /// What is wrong with tensors, by their numbers. Each damaged storage is read once, however many tensors look at it.
    static func reasons(
        _ verification: VerificationReport, _ entries: [TensorEntry], _ tensors: [StateTensor], maximumChunkCount: Int
    ) throws -> [Int: String] {
        var damage: [Int: [(range: Range<Int>, reason: String)]] = [:]
        var reasons: [Int: String] = [:]
        for (number, entry) in entries.enumerated() where verification.damagedStorages.contains(entry.storage) {
            let parts = try damage[entry.storage] ?? damagedParts(of: tensors[number].storage, maximumChunkCount)
            damage[entry.storage] = parts
            if parts.isEmpty {
                // Every byte can be read, and yet verification found something: nobody knows which bytes are the right ones.
                reasons[number] = "its storage is not what the index says of it"
            } else {
                let range = tensors[number].layout.byteRange
                reasons[number] = parts.first { $0.range.overlaps(range) }?.reason
            }
        }
        return reasons
    }

    /// The chunks of a storage that can't be read, and why.
    private static func damagedParts(
        of storage: Storage, _ maximumChunkCount: Int
    ) throws -> [(range: Range<Int>, reason: String)] {
        var parts: [(range: Range<Int>, reason: String)] = []
        // One that claims more chunks than the index has room for has not all of them.
        guard FileLayout.chunkCount(storageSize: storage.byteCount) <= maximumChunkCount else {
            return [
                (0..<storage.byteCount, "the index has not all chunks of its storage of \(storage.byteCount) bytes")
            ]
        }
        var bytes = [UInt8](repeating: 0, count: min(FileLayout.chunkSize, storage.byteCount))
        for sequence in 0..<FileLayout.chunkCount(storageSize: storage.byteCount) {
            let range = FileLayout.chunkRange(sequence, storageSize: storage.byteCount)
            if range.count < bytes.count { bytes.removeLast(bytes.count - range.count) }
            do {
                try bytes.withMutableRawSpan { try storage.read(range, into: &$0) }
            } catch let error as StoreError {
                guard case .damaged(_, let problem) = error else { throw error }
                parts.append((range, problem.message))
            }
        }
        return parts
    }
}

extension StateTree {
    /// The tree without the tensors of the given numbers, in the order of ``tensors``; `nil` if it is one of them.
    fileprivate func without(_ lost: Set<Int>, _ next: inout Int) -> StateTree? {
        func kept(_ entries: StateDictionary, _ next: inout Int) -> StateDictionary {
            var kept: [(StateKey, StateTree)] = []
            for (key, child) in entries {
                if let child = child.without(lost, &next) { kept.append((key, child)) }
            }
            return StateDictionary(keyed: kept, tag: entries.tag)
        }
        func placed(_ elements: [StateTree], _ next: inout Int) -> [StateTree] {
            elements.map { $0.without(lost, &next) ?? .null }
        }
        switch self {
        case .dictionary(let entries): return .dictionary(kept(entries, &next))
        case .record(let type, let entries): return .record(type: type, kept(entries, &next))
        case .list(let elements, let tag): return .list(placed(elements, &next), tag: tag)
        case .tuple(let elements, let tag): return .tuple(placed(elements, &next), tag: tag)
        case .tensor:
            defer { next += 1 }
            return lost.contains(next) ? Optional.none : self
        default: return self
        }
    }
}

extension StateTree {
    /// The tree over storages of which, if they are among `damaged`, only the bytes that tensors span are read.
    fileprivate func readingOnlyWhatIsSeen(of damaged: Set<Storage>) throws -> StateTree {
        var seen: [Storage: RangeSet<Int>] = [:]
        for (_, tensor) in tensors where damaged.contains(tensor.storage) {
            seen[tensor.storage, default: RangeSet()].insert(contentsOf: tensor.layout.byteRange)
        }
        let partial = Dictionary(
            uniqueKeysWithValues: seen.map { ($0, Storage(backing: SeenBytes(storage: $0, seen: $1))) })
        return try mapTensors { (tensor) throws(StoreError) in
            var tensor = tensor
            tensor.storage = partial[tensor.storage] ?? tensor.storage
            return tensor
        }
    }
}

/// The bytes of a storage that tensors span, and zeros instead of the others.
private struct SeenBytes: StorageBacking {
    let storage: Storage
    let seen: RangeSet<Int>

    var byteCount: Int { storage.byteCount }

    func read(_ range: Range<Int>, into destination: inout MutableRawSpan) throws {
        try Memory.withBorrowed(&destination) { memory in
            memory.withMutableBytes(in: 0..<range.count) { $0.zero() }
            for part in seen.intersection(RangeSet(range)).ranges {
                let place = part.lowerBound - range.lowerBound
                try memory.withMutableBytes(in: place..<place + part.count) { try storage.read(part, into: &$0) }
            }
        }
    }
}
