import Synchronization

/// Limits on what a file may ask for. Each is far above what honest files need; raise one if you trust the file.
public struct ReadLimits: Sendable {
    /// The most bytes of tensors that one call may put into memory. The machine's memory, unless set.
    public var maximumBytesInMemory: Int
    /// The most nodes that the trees may have.
    public var maximumNodes: Int
    /// The most bytes that a single string, bytes value or array of the index may have; at most 1,000,000,000, which
    /// is SQLite's own limit.
    public var maximumValueSize: Int

    /// Limits, by default the library's own.
    public init(
        maximumBytesInMemory: Int? = nil, maximumNodes: Int = 1 << 24,
        maximumValueSize: Int = 1_000_000_000
    ) {
        self.maximumBytesInMemory = maximumBytesInMemory ?? SystemCall.physicalMemory
        self.maximumNodes = maximumNodes
        self.maximumValueSize = maximumValueSize
    }

    /// Refuses what is more than may be in memory, before it is allocated.
    ///
    /// - Parameter byteCount: the greatest integer stands for more than there is.
    package func checkMemory(_ byteCount: Int, file: String) throws(StoreError) {
        guard byteCount <= maximumBytesInMemory else {
            throw .limitExceeded(
                file: file, what: "memory for tensors, in bytes,", limit: maximumBytesInMemory,
                found: byteCount == .max ? "more than 2^63" : String(byteCount))
        }
    }
}

/// The index of an open container: looks rows up and validates what it touches.
///
/// Connections are kept in a pool, one for each thread that reads at the same time. A child process after `fork`
/// opens its own.
final class Index: Sendable {
    let file: String
    let tail: Tail
    let validation: RowValidation
    let limits: ReadLimits
    let pages: PageReader
    private let pool = Mutex(Pool())

    private struct Pool {
        var databases: [Database] = []
        var process = SystemCall.processID
        /// By the bytes of their names, as the file compares them.
        var dtypes: [StateKey: DType] = [:]
    }

    /// More rows of `chunk` than there can be: each takes more than 32 bytes, with its digest, its parts and eight numbers.
    var maximumChunkCount: Int { pages.byteCount / 32 }

    /// Opens the index and compares its schema.
    init(_ pages: PageReader, tail: Tail, file: String, limits: ReadLimits) throws(StoreError) {
        self.pages = pages
        self.tail = tail
        self.file = file
        self.limits = limits
        validation = RowValidation(file: file, major: tail.version.major, chunkAreaEnd: tail.chunkAreaEnd)
        try pages.checkDatabaseHeader(version: tail.version)
        try withDatabase { (database: Database) throws(StoreError) in try checkSchema(database) }
    }

    private func checkSchema(_ database: Database) throws(StoreError) {
        var rows = try database.prepare("SELECT type, name, tbl_name, sql FROM sqlite_schema")
        var expected = Set(IndexSchema.objects)
        while try rows.step() {
            guard case .text(let type) = rows.value(0), case .text(let name) = rows.value(1),
                rows.value(2) == .text(name), case .text(let sql) = rows.value(3),
                expected.remove(IndexSchema.Object(type: type, name: name, sql: sql)) != nil
            else { throw schemaError() }
        }
        guard expected.isEmpty else { throw schemaError() }
    }

    private func schemaError() -> StoreError {
        .damaged(
            file: file,
            problem: Problem(
                .index, "the index's schema is not that of format \(tail.version.major)", offset: tail.indexOffset))
    }

    /// Lends `body` a connection that no other thread uses meanwhile.
    func withDatabase<Result>(_ body: (Database) throws(StoreError) -> Result) throws(StoreError) -> Result {
        let pooled: Database? = pool.withLock { pool in
            if pool.process != SystemCall.processID {
                // Connections of the parent process must not be touched here, not even to close them.
                for database in pool.databases { _ = unsafe Unmanaged.passRetained(database) }
                pool.databases = []
                pool.process = SystemCall.processID
            }
            return pool.databases.popLast()
        }
        let database: Database
        if let pooled {
            database = pooled
        } else {
            database = try Database.open(PageReader(pages), file: file, maximumValueSize: limits.maximumValueSize)
        }
        defer { pool.withLock { if $0.databases.count < 8 { $0.databases.append(database) } } }
        return try body(database)
    }

    // MARK: Single rows

    /// The dtype of a name, if the table has it.
    func dtype(_ name: String, _ database: Database) throws(StoreError) -> DType? {
        if let known = pool.withLock({ $0.dtypes[.text(name)] }) { return known }
        var row = try database.prepare("SELECT name, elements, bytes FROM dtype WHERE name = ?")
        try row.bind(.text(name), at: 1)
        guard try row.step() else { return nil }
        let dtype = try validation.dtype(row)
        pool.withLock { $0.dtypes[.text(name)] = dtype }
        return dtype
    }

    /// The children of a node with the given keys, in any order; those that are not there are left out.
    func children(of parent: Int, keys: [StateKey]) throws(StoreError) -> [NodeRow] {
        try withDatabase { (database: Database) throws(StoreError) in
            var found: [NodeRow] = []
            var rows = try database.prepare(
                "SELECT \(RowValidation.nodeColumns) FROM \(RowValidation.nodeTables) WHERE parent = ? AND key = ?")
            for key in keys {
                try rows.bind(.integer(parent), at: 1)
                switch key {
                case .integer(let value): try rows.bind(.integer(value), at: 2)
                case .text(let text): try rows.bind(.text(text), at: 2)
                }
                if try rows.step() { found.append(try node(rows, database).row) }
                rows.reset()
            }
            return found
        }
    }

    private func node(
        _ row: borrowing Statement, _ database: Database
    ) throws(StoreError) -> (parent: Int, row: NodeRow) {
        var last: RowValidation.LastTensor?
        return try validation.node(row, last: &last) { (name) throws(StoreError) in try dtype(name, database) }
    }

    /// The storage of an id.
    func storage(_ id: Int) throws(StoreError) -> StorageRow {
        try withDatabase { (database: Database) throws(StoreError) in
            var row = try database.prepare("SELECT id, nbytes, digest FROM storage WHERE id = ?")
            try row.bind(.integer(id), at: 1)
            guard try row.step() else { throw validation.damaged("storage \(id)", "it is missing") }
            return try validation.storage(row)
        }
    }

    /// The chunks of a storage whose numbers are in `range`, which lies inside what the storage has.
    func chunks(of storage: StorageRow, _ range: Range<Int>) throws(StoreError) -> [ChunkRow] {
        try withDatabase { (database: Database) throws(StoreError) in
            var rows = try database.prepare(
                "SELECT \(RowValidation.chunkColumns) FROM chunk WHERE storage = ? AND seq >= ? AND seq < ? ORDER BY seq"
            )
            try rows.bind(.integer(storage.id), at: 1)
            try rows.bind(.integer(range.lowerBound), at: 2)
            try rows.bind(.integer(range.upperBound), at: 3)
            var chunks: [ChunkRow] = []
            while try rows.step() {
                let chunk = try validation.chunk(rows, storage: storage)
                guard chunk.sequence == range.lowerBound + chunks.count else { break }
                chunks.append(chunk)
            }
            guard chunks.count == range.count else {
                throw validation.damaged(
                    "storage \(storage.id)", "its chunk \(range.lowerBound + chunks.count) is missing")
            }
            return chunks
        }
    }

    // MARK: Whole tables

    /// All storages, in the order of their ids, which are 1 to their number.
    func storages() throws(StoreError) -> [StorageRow] {
        try withDatabase { (database: Database) throws(StoreError) in
            var rows = try database.prepare("SELECT id, nbytes, digest FROM storage ORDER BY id")
            var storages: [StorageRow] = []
            while try rows.step() {
                let storage = try validation.storage(rows)
                guard storage.id == storages.count + 1 else {
                    throw validation.damaged("storage \(storage.id)", "ids have a gap before it")
                }
                storages.append(storage)
            }
            return storages
        }
    }

    /// The chunks of all storages, which are given in the order of their ids, in one pass over the table; for each
    /// storage its chunks or what is wrong with them.
    func chunks(ofAll storages: [StorageRow]) throws(StoreError) -> [Result<[ChunkRow], StoreError>] {
        try withDatabase { (database: Database) throws(StoreError) in
            var results: [Result<[ChunkRow], StoreError>] = []
            results.reserveCapacity(storages.count)
            var chunks: [ChunkRow] = []
            var failure: StoreError?
            func complete(_ storage: StorageRow) {
                let expected = FileLayout.chunkCount(storageSize: storage.byteCount)
                if failure == nil, chunks.count != expected {
                    failure = validation.damaged("storage \(storage.id)", "its chunk \(chunks.count) is missing")
                }
                results.append(failure.map { .failure($0) } ?? .success(chunks))
                chunks = []
                failure = nil
            }
            var rows = try database.prepare("SELECT \(RowValidation.chunkColumns) FROM chunk ORDER BY storage, seq")
            while try rows.step() {
                guard case .integer(let id) = rows.value(0) else { continue }
                while results.count < storages.count, storages[results.count].id < id {
                    complete(storages[results.count])
                }
                // Chunks of no storage are verification's to find.
                guard results.count < storages.count, storages[results.count].id == id, failure == nil else { continue }
                do throws(StoreError) {
                    let chunk = try validation.chunk(rows, storage: storages[results.count])
                    // One that is missing is told by its number, when the storage is complete.
                    if chunk.sequence == chunks.count { chunks.append(chunk) }
                } catch {
                    failure = error
                }
            }
            while results.count < storages.count { complete(storages[results.count]) }
            return results
        }
    }

    /// What is wrong with single rows of `node`: all of it, where ``nodes()`` stops at the first.
    func nodeProblems() throws(StoreError) -> [Problem] {
        try withDatabase { (database: Database) throws(StoreError) in
            var problems: [Problem] = []
            var rows = try database.prepare("SELECT \(RowValidation.nodeColumns) FROM \(RowValidation.nodeTables)")
            while try rows.step(), problems.count < 1000 {
                do throws(StoreError) {
                    _ = try node(rows, database)
                } catch .damaged(_, let problem) {
                    problems.append(problem)
                }
            }
            return problems
        }
    }

    /// The one integer that a query gives.
    func integer(_ sql: String) throws(StoreError) -> Int {
        try withDatabase { (database: Database) throws(StoreError) in
            var row = try database.prepare(sql)
            guard try row.step(), case .integer(let value) = row.value(0) else {
                throw validation.damaged("the index", "it gives no number for \(sql)")
            }
            return value
        }
    }

    /// The encoded bytes of each storage.
    func storedByteCounts() throws(StoreError) -> [Int: Int] {
        try withDatabase { (database: Database) throws(StoreError) in
            var rows = try database.prepare("SELECT storage, sum(length) FROM chunk GROUP BY storage")
            var counts: [Int: Int] = [:]
            while try rows.step() {
                guard case .integer(let storage) = rows.value(0), case .integer(let count) = rows.value(1) else {
                    throw validation.damaged("the chunks", "their lengths add up to no integer")
                }
                counts[storage] = count
            }
            return counts
        }
    }

    /// What SQLite's own check of the index finds; empty if nothing.
    func integrityProblems() throws(StoreError) -> [String] {
        try withDatabase { (database: Database) throws(StoreError) in
            var rows = try database.prepare("PRAGMA integrity_check(20)")
            var problems: [String] = []
            while try rows.step() {
                if case .text(let text) = rows.value(0), text != "ok" { problems.append(text) }
            }
            return problems
        }
    }

    /// A value of the table of large ones.
    func large(_ id: Int) throws(StoreError) -> Statement.Value {
        try withDatabase { (database: Database) throws(StoreError) in
            var row = try database.prepare("SELECT value FROM large WHERE id = ?")
            try row.bind(.integer(id), at: 1)
            guard try row.step() else { throw validation.damaged("large value \(id)", "it is missing") }
            return row.value(0)
        }
    }

    /// The facts about the container that are not part of its content.
    func extra() throws(StoreError) -> [String: Statement.Value] {
        try withDatabase { (database: Database) throws(StoreError) in
            var rows = try database.prepare("SELECT key, value FROM extra")
            var extra: [String: Statement.Value] = [:]
            while try rows.step() {
                guard extra.count < 10_000 else {
                    throw .limitExceeded(file: file, what: "the number of facts in extra", limit: 10_000, found: "more")
                }
                guard case .text(let key) = rows.value(0) else {
                    throw validation.damaged("a row of extra", "its key is no text")
                }
                extra[key] = rows.value(1)
            }
            return extra
        }
    }

    /// The steps in the file's life.
    func history() throws(StoreError) -> [HistoryStep] {
        try withDatabase { (database: Database) throws(StoreError) in
            var rows = try database.prepare(
                "SELECT seq, action, from_version, to_version, by FROM history ORDER BY seq")
            var steps: [HistoryStep] = []
            while try rows.step() {
                guard case .integer(steps.count + 1) = rows.value(0), case .text(let action) = rows.value(1),
                    case .text(let to) = rows.value(3), FormatVersion(to) != nil, case .text(let by) = rows.value(4)
                else {
                    throw validation.damaged(
                        "step \(steps.count + 1) of history", "its columns are not as they should be")
                }
                var from: String?
                if case .text(let text) = rows.value(2) { from = text }
                guard from.map({ FormatVersion($0) != nil }) ?? (rows.value(2) == .null) else {
                    throw validation.damaged("step \(steps.count + 1) of history", "\(from ?? "") is no version")
                }
                guard steps.count < 10_000 else {
                    throw .limitExceeded(
                        file: file, what: "the number of steps in history", limit: 10_000, found: "more")
                }
                steps.append(HistoryStep(action: action, fromVersion: from, toVersion: to, by: by))
            }
            return steps
        }
    }
}

/// A step in a container's life, as its `history` has it.
public struct HistoryStep: Sendable, Hashable {
    /// `created`, `migrated` or `recovered`.
    public let action: String
    /// The format version before, `nil` for `created`.
    public let fromVersion: String?
    /// The format version after.
    public let toVersion: String
    /// The program and its version.
    public let by: String

    /// The first step of a container that is made from nothing.
    static func created(_ version: FormatVersion) -> HistoryStep {
        HistoryStep(action: "created", fromVersion: nil, toVersion: version.description, by: Library.name)
    }
}
