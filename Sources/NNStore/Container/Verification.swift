/// How much verification does.
public enum VerificationLevel: String, Sendable, CaseIterable {
    /// Header, tail, every page of the index, every row, and that they fit together.
    case structure
    /// The checksums of all encoded bytes too, without decoding them.
    case checksums
    /// Everything: all chunks are decoded and compared with their digests, padding is checked, and SQLite checks the
    /// index.
    case full
}

/// What verification found.
public struct VerificationReport: Sendable {
    /// How much was done.
    public let level: VerificationLevel
    /// Everything that is wrong, in the order it was found.
    public fileprivate(set) var problems: [Problem] = []
    /// How many storages the index names.
    public fileprivate(set) var storageCount = 0
    /// The ids of those that have a problem of their own.
    package fileprivate(set) var damagedStorages: Set<Int> = []
    /// How many of them have no problem of their own.
    public fileprivate(set) var soundStorageCount = 0

    /// Whether nothing is wrong.
    public var isSound: Bool { problems.isEmpty }
}

extension Checkpoint {
    /// Verifies the container and reports every problem, not only the first.
    ///
    /// - Parameters:
    ///   - progress: called with the bytes of the chunk area that were checked, and their total.
    /// - Throws: ``StoreError`` where the file can't be read at all; damage is reported, not thrown.
    public func verify(
        _ level: VerificationLevel = .full, threads: Int? = nil, cancellation: Cancellation? = nil,
        progress: (@Sendable (_ done: Int, _ total: Int?) -> Void)? = nil
    ) throws -> VerificationReport {
        var verification = Verification(
            self, level, threads: Workers.count(threads), cancellation: cancellation, progress: progress)
        try verification.run()
        return verification.report
    }
}

private struct Verification {
    private let checkpoint: Checkpoint
    private let level: VerificationLevel
    private let threads: Int
    private let cancellation: Cancellation?
    private let progress: (@Sendable (Int, Int?) -> Void)?
    private(set) var report: VerificationReport
    private var unsound: Set<Int> = []
    /// What ``report`` has, to be searched.
    private var reported: Set<Problem> = []

    /// How many chunks are fetched before they are asked for.
    private static let chunksAhead = 32

    private struct Chunk: Sendable {
        let storage: StorageRow
        let row: ChunkRow
    }

    init(
        _ checkpoint: Checkpoint, _ level: VerificationLevel, threads: Int, cancellation: Cancellation?,
        progress: (@Sendable (Int, Int?) -> Void)?
    ) {
        self.checkpoint = checkpoint
        self.level = level
        self.threads = threads
        self.cancellation = cancellation
        self.progress = progress
        report = VerificationReport(level: level)
    }

    private var index: Index { checkpoint.index }

    mutating func run() throws {
        try checkPages()
        // With a bad page the rest is still tried, but what it can't read was reported already.
        var storages: [StorageRow] = []
        try collecting { this throws(StoreError) in _ = try this.checkpoint.tensors }
        try collecting { this throws(StoreError) in
            for problem in try this.index.nodeProblems() { this.add(problem) }
        }
        // Where a row of a storage or chunk can't be read, what belongs to nothing can't be told either.
        var hasAllChunks = try collecting { this throws(StoreError) in storages = try this.index.storages() }
        var chunks: [Chunk] = []
        var rows: [Result<[ChunkRow], StoreError>] = []
        let couldRead = try collecting { this throws(StoreError) in
            rows = try ChunkReader(this.checkpoint).chunks(of: storages)
        }
        if !couldRead {
            // A page of the table is bad; the storages whose chunks stand on others can still be checked.
            rows = storages.map { storage in
                do throws(StoreError) { return try ChunkReader(checkpoint).chunks(of: [storage])[0] } catch {
                    return .failure(error)
                }
            }
        }
        hasAllChunks = hasAllChunks && couldRead
        for (storage, rows) in zip(storages, rows) {
            let hasChunks = try collecting(storage.id) { _ throws(StoreError) in
                chunks += try rows.get().map { Chunk(storage: storage, row: $0) }
            }
            hasAllChunks = hasAllChunks && hasChunks
        }
        if hasAllChunks {
            try collecting { this throws(StoreError) in try this.checkTables(storages, chunks.count) }
        }
        try collecting { this throws(StoreError) in
            if try this.checkpoint.compression == Compression.none { this.checkAdjacent(chunks) }
        }
        checkExtents(chunks, areAll: hasAllChunks)
        var annexUsed: Range<Int>?
        if level != .structure { try checkChunks(chunks) }
        if checkpoint.tail.hasIndexCopy {
            try collecting { this throws(StoreError) in
                let copy = try IndexCopy(
                    this.checkpoint.source, this.checkpoint.sourceVersion,
                    at: FileLayout.blockEnd(this.checkpoint.tail.chunkAreaEnd))
                annexUsed = copy.offset..<copy.end
                try this.checkIndexCopy(copy)
            }
        }
        if level == .full {
            if hasAllChunks { try checkPadding(chunks, annexUsed: annexUsed) }
            try collecting { this throws(StoreError) in
                for problem in try this.index.integrityProblems() {
                    this.add(Problem(.index, "SQLite's integrity check: \(problem)"))
                }
            }
        }
        report.storageCount = storages.count
        report.damagedStorages = unsound
        report.soundStorageCount = storages.count - unsound.count
    }

    /// Reports a problem, once.
    private mutating func add(_ problem: Problem) {
        if reported.insert(problem).inserted { report.problems.append(problem) }
    }

    /// Runs a step and reports damage that it throws, once.
    ///
    /// - Returns: whether the step ran to its end.
    @discardableResult
    private mutating func collecting(
        _ storage: Int? = nil, _ step: (inout Verification) throws(StoreError) -> Void
    ) throws(StoreError) -> Bool {
        do throws(StoreError) {
            try step(&self)
            return true
        } catch .damaged(_, let problem) {
            if let storage { unsound.insert(storage) }
            add(problem)
            return false
        }
    }

    private mutating func checkPages() throws {
        let digest = try DigestBuilder()
        for number in 1...index.pages.pageCount {
            try cancellation?.check()
            try collecting { this throws(StoreError) in
                try this.index.pages.page(number).withRawSpan { digest.update($0) }
            }
        }
        if report.problems.isEmpty, digest.digest() != checkpoint.tail.indexDigest {
            add(
                Problem(
                    .index, "the digest of the index is not the one in the tail", offset: checkpoint.tail.indexOffset))
        }
    }

    private mutating func checkTables(_ storages: [StorageRow], _ chunkCount: Int) throws(StoreError) {
        func require(_ rule: Bool, _ kind: Problem.Kind, _ message: String) {
            if !rule { add(Problem(kind, message)) }
        }
        _ = try checkpoint.compression
        _ = try checkpoint.sharing
        let history = try checkpoint.history
        require(
            history.last?.toVersion == checkpoint.version.description, .row,
            "the history's last step does not lead to format \(checkpoint.version)")
        require(
            try index.integer("SELECT count(*) FROM chunk") == chunkCount, .row,
            "there are chunks of storages that do not exist")
        let nodesLarge = try TreeReader(index).largeValueCount()
        require(
            try index.integer(
                "SELECT count(*) FROM large WHERE (id > \(nodesLarge) OR id < 1) AND id NOT IN "
                    + "(SELECT value FROM extra WHERE typeof(value) = 'integer')") == 0, .row,
            "there are large values that nothing uses")
        _ = try checkpoint.sourceFact("safetensors.header")
        require(
            try index.integer("SELECT count(*) FROM dtype")
                == index.integer("SELECT count(DISTINCT dtype) FROM node WHERE dtype IS NOT NULL"), .row,
            "the table of dtypes has some that no node uses")

        let state = try checkpoint.state()
        let metadata = try checkpoint.metadata
        // The tree's storages are new objects; the order of first use tells which row each one is.
        var rows: [Storage: StorageRow] = [:]
        for (entry, tensor) in zip(try checkpoint.tensors, state.tensors) {
            rows[tensor.tensor.storage] = storages[entry.storage - 1]
        }
        let contentID = try ContentID.of(state: state, metadata: metadata) { (storage) throws(StoreError) in
            rows[storage]!
        }
        require(
            contentID == checkpoint.contentID, .digest,
            "the content id is \(contentID), the tail says \(checkpoint.contentID)")
    }

    /// That a container saved with `none` can be mapped (spec section 7).
    private mutating func checkAdjacent(_ chunks: [Chunk]) {
        for chunk in chunks where !chunk.row.encoding.isStored {
            report(chunk, .row, "it is compressed in a container that was saved with none")
        }
        for (chunk, next) in zip(chunks, chunks.dropFirst())
        where chunk.storage.id == next.storage.id && chunk.row.extent.upperBound != next.row.extent.lowerBound {
            report(next, .row, "it does not follow its predecessor in a container that was saved with none")
        }
    }

    private mutating func checkExtents(_ chunks: [Chunk], areAll: Bool) {
        let sorted = chunks.sorted { $0.row.extent.lowerBound < $1.row.extent.lowerBound }
        for (chunk, next) in zip(sorted, sorted.dropFirst())
        where next.row.extent.lowerBound < chunk.row.extent.upperBound {
            let isShared =
                chunk.row.extent == next.row.extent && chunk.row.encoding == next.row.encoding
                && chunk.row.digest == next.row.digest && chunk.row.logicalSize == next.row.logicalSize
            if !isShared {
                report(
                    next, .row,
                    "its bytes overlap those of chunk \(chunk.row.sequence) of storage \(chunk.storage.id)")
            }
        }
        let end = chunks.reduce(FileLayout.block) { max($0, $1.row.extent.upperBound) }
        if end != checkpoint.tail.chunkAreaEnd, areAll {
            add(
                Problem(.tail, "the chunk area ends at \(checkpoint.tail.chunkAreaEnd), the last chunk at \(end)"))
        }
    }

    private mutating func report(_ chunk: Chunk, _ kind: Problem.Kind, _ reason: String) {
        let tensor = checkpoint.ownerName(of: chunk.storage.id)
        unsound.insert(chunk.storage.id)
        let offset = chunk.row.extent.lowerBound
        add(
            Problem(
                kind,
                "chunk \(chunk.row.sequence) of \(tensor ?? "storage \(chunk.storage.id)") (file offset \(offset)): \(reason)",
                tensor: tensor, offset: offset))
    }

    private mutating func checkChunks(_ chunks: [Chunk]) throws {
        let (source, version, decodes) = (checkpoint.source, checkpoint.sourceVersion, level == .full)
        let total = chunks.reduce(0) { $0 + $1.row.extent.count }
        let prefetching = source as? any PrefetchingSource
        for chunk in chunks.prefix(Verification.chunksAhead) { prefetching?.willRead(chunk.row.extent) }
        var done = 0
        try Workers.pipeline(
            chunks.count, threads: threads, window: 2 * threads, cancellation: cancellation
        ) {
            try ChunkVerifier(source, version)
        } produce: { number, verifier in
            // Several threads read in turn, which the system does not take for reading from front to back.
            if number + Verification.chunksAhead < chunks.count {
                prefetching?.willRead(chunks[number + Verification.chunksAhead].row.extent)
            }
            return try verifier.problem(of: chunks[number].row, decodes: decodes)
        } consume: { number, problem in
            if let problem { report(chunks[number], problem.kind, problem.message) }
            done += chunks[number].row.extent.count
            progress?(done, total)
        }
    }

    /// Checks the copy of the index, as thoroughly as the level says: that it belongs to this tail, that its groups have
    /// their checksums, and that they decode to the pages of the index.
    private mutating func checkIndexCopy(_ copy: IndexCopy) throws(StoreError) {
        let tail = checkpoint.tail
        let tailOffset = tail.indexOffset - FileLayout.block
        let annexEnd =
            tail.hasUnknownAnnex ? copy.end...tailOffset : FileLayout.blockEnd(copy.end)...FileLayout.blockEnd(copy.end)
        guard copy.tailFields == tail.fields, copy.end <= tailOffset, annexEnd.contains(tailOffset) else {
            throw .damaged(
                file: checkpoint.name,
                problem: Problem(.indexCopy, "the copy of the index is of another index", offset: copy.offset))
        }
        if level == .structure { return }
        let reader = try IndexCopy.Reader(copy, checkpoint.source, checkpoint.sourceVersion)
        for group in 0..<copy.groupCount {
            try collecting { this throws(StoreError) in
                if this.level == .checksums {
                    _ = try reader.encoded(group: group)
                    return
                }
                let range = copy.pages(ofGroup: group)
                let pages = try this.checkpoint.source.bytes(
                    tail.indexOffset + range.lowerBound..<tail.indexOffset + range.upperBound,
                    of: this.checkpoint.sourceVersion)
                guard try reader.pages(group: group) == pages else {
                    throw .damaged(
                        file: this.checkpoint.name,
                        problem: Problem(
                            .indexCopy,
                            "group \(group) of the copy of the index has other pages than the index",
                            offset: copy.offset))
                }
            }
        }
    }

    /// Checks that what belongs to no chunk is zero: the gaps of the chunk area, and what no feature claims of the annex.
    private mutating func checkPadding(_ chunks: [Chunk], annexUsed: Range<Int>?) throws(StoreError) {
        let tail = checkpoint.tail
        var position = FileLayout.block
        var gaps: [Range<Int>] = []
        for chunk in chunks.sorted(by: { $0.row.extent.lowerBound < $1.row.extent.lowerBound }) {
            if chunk.row.extent.lowerBound > position { gaps.append(position..<chunk.row.extent.lowerBound) }
            position = max(position, chunk.row.extent.upperBound)
        }
        if position < tail.chunkAreaEnd { gaps.append(position..<tail.chunkAreaEnd) }
        let tailOffset = tail.indexOffset - FileLayout.block
        if !tail.hasIndexCopy {
            if !tail.hasUnknownAnnex { gaps.append(tail.chunkAreaEnd..<tailOffset) }
        } else if let annexUsed, annexUsed.upperBound <= tailOffset {
            gaps.append(tail.chunkAreaEnd..<annexUsed.lowerBound)
            if !tail.hasUnknownAnnex { gaps.append(annexUsed.upperBound..<tailOffset) }
        }
        for gap in gaps {
            for start in stride(from: gap.lowerBound, to: gap.upperBound, by: FileLayout.chunkSize) {
                let part = start..<min(gap.upperBound, start + FileLayout.chunkSize)
                let bytes = try checkpoint.source.bytes(part, of: checkpoint.sourceVersion)
                if let place = bytes.withRawSpan({ $0.firstNonZero }) {
                    add(
                        Problem(
                            .padding, "byte \(part.lowerBound + place) of the file belongs to nothing and is not zero",
                            offset: part.lowerBound + place))
                    break
                }
            }
        }
    }
}

/// Checks one chunk after another; one a thread.
private final class ChunkVerifier {
    private let decoder: ChunkDecoder
    private let buffer: Memory
    /// The last digest of a constant chunk: a container of a few pages may have a million chunks of zeros.
    private var constant: (byte: UInt8, size: Int, digest: Digest)?

    init(_ source: any ByteSource, _ version: SourceVersion) throws(StoreError) {
        decoder = try ChunkDecoder(source, version)
        buffer = try Memory.allocate(FileLayout.chunkSize)
    }

    /// What is wrong with a chunk, if anything is.
    func problem(of chunk: ChunkRow, decodes: Bool) throws(StoreError) -> Problem? {
        do throws(ChunkDecoder.Failure) {
            if !decodes {
                try buffer.withMutableBytes(in: 0..<chunk.extent.count) { (bytes) throws(ChunkDecoder.Failure) in
                    try decoder.readEncoded(chunk, into: &bytes)
                }
                return nil
            }
            let digest = try digest(of: chunk)
            if digest == chunk.digest { return nil }
            return Problem(.digest, "its digest is \(digest), the index says \(chunk.digest)")
        } catch {
            switch error {
            case .source(let error): throw error
            case .damaged(let reason): return Problem(.chunk, reason)
            }
        }
    }
    private func digest(of chunk: ChunkRow) throws(ChunkDecoder.Failure) -> Digest {
        if let byte = chunk.encoding.constant, let constant, constant.byte == byte, constant.size == chunk.logicalSize {
            return constant.digest
        }
        let digest = try buffer.withMutableBytes(in: 0..<chunk.logicalSize) {
            (bytes) throws(ChunkDecoder.Failure) in
            try decoder.decode(chunk, into: &bytes)
            return Digest(of: bytes.bytes)
        }
        if let byte = chunk.encoding.constant { constant = (byte, chunk.logicalSize, digest) }
        return digest
    }
}
