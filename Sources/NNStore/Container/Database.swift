import CSQLite

/// A SQLite connection, used by one thread at a time.
///
/// Sound: the connection is opened and closed by this object, which hands out statements that keep it alive; it is
/// only Sendable so that it can be passed from thread to thread behind a lock.
@safe final class Database: @unchecked Sendable {
    let connection: OpaquePointer
    /// What the messages call the file.
    let file: String
    private let pages: PageReader?
    /// Statements that nobody uses now, by their SQL: preparing one takes longer than most of them run.
    private var idle: [String: OpaquePointer] = unsafe [:]

    private init(_ connection: OpaquePointer, file: String, pages: PageReader?) {
        unsafe self.connection = unsafe connection
        self.file = file
        self.pages = pages
    }

    deinit {
        unsafe idle.values.forEach { statement in unsafe sqlite3_finalize(statement) }
        unsafe sqlite3_close_v2(connection)
    }

    /// Opens the index that `pages` reads, read-only and with everything off that makes data a program.
    static func open(_ pages: PageReader, file: String, maximumValueSize: Int) throws(StoreError) -> Database {
        let database = try IndexFileSystem.withURI(for: pages) { uri throws(StoreError) in
            try open(
                uri, flags: SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, fileSystem: IndexFileSystem.name, file: file,
                pages: pages)
        }
        for (option, value): (Int32, Int32) in [
            (SQLITE_DBCONFIG_DEFENSIVE, 1), (SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0), (SQLITE_DBCONFIG_ENABLE_TRIGGER, 0),
            (SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0), (SQLITE_DBCONFIG_DQS_DML, 0), (SQLITE_DBCONFIG_DQS_DDL, 0),
        ] {
            _ = unsafe nnstore_sqlite_db_config(database.connection, option, value)
        }
        for (limit, value): (Int32, Int) in [
            (SQLITE_LIMIT_LENGTH, max(1 << 20, maximumValueSize)), (SQLITE_LIMIT_ATTACHED, 0),
            (SQLITE_LIMIT_SQL_LENGTH, 100_000), (SQLITE_LIMIT_COLUMN, 32), (SQLITE_LIMIT_EXPR_DEPTH, 64),
            (SQLITE_LIMIT_COMPOUND_SELECT, 8), (SQLITE_LIMIT_TRIGGER_DEPTH, 1), (SQLITE_LIMIT_WORKER_THREADS, 0),
        ] {
            _ = unsafe sqlite3_limit(database.connection, limit, Int32(clamping: value))
        }
        try database.execute(
            "PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0; PRAGMA query_only = ON; "
                + "PRAGMA cache_size = -1024; PRAGMA temp_store = MEMORY")
        return database
    }

    /// A new, empty database in memory whose pages have room for a checksum.
    static func inMemory() throws(StoreError) -> Database {
        let database = try open(
            ":memory:", flags: SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, fileSystem: nil, file: "index in memory",
            pages: nil)
        try database.execute(
            "PRAGMA page_size = \(FileLayout.block); PRAGMA journal_mode = OFF; "
                + "PRAGMA secure_delete = ON; PRAGMA temp_store = MEMORY")
        var reserved = Int32(FileLayout.block - FileLayout.pageContent)
        let status = unsafe sqlite3_file_control(database.connection, "main", SQLITE_FCNTL_RESERVE_BYTES, &reserved)
        try database.check(status, "reserve room for checksums")
        return database
    }

    private static func open(
        _ path: String, flags: Int32, fileSystem: String?, file: String, pages: PageReader?
    ) throws(StoreError) -> Database {
        var connection: OpaquePointer?
        let status = unsafe sqlite3_open_v2(path, &connection, flags | SQLITE_OPEN_NOMUTEX, fileSystem)
        guard let connection = unsafe connection else {
            throw .library(name: "SQLite", operation: "open a database", message: "out of memory")
        }
        let database = unsafe Database(connection, file: file, pages: pages)
        try database.check(status, "open the index")
        unsafe sqlite3_extended_result_codes(connection, 1)
        return database
    }

    /// Runs statements that give no rows.
    func execute(_ sql: String) throws(StoreError) {
        try check(unsafe sqlite3_exec(connection, sql, nil, nil, nil), "run \"\(sql.prefix(60))\"")
    }

    /// Prepares a statement, or takes one that was prepared before.
    func prepare(_ sql: String) throws(StoreError) -> Statement {
        if let statement = unsafe idle.removeValue(forKey: sql) { return unsafe Statement(statement, sql, self) }
        var statement: OpaquePointer?
        try check(unsafe sqlite3_prepare_v2(connection, sql, -1, &statement, nil), "prepare \"\(sql.prefix(60))\"")
        guard let statement = unsafe statement else {
            throw .library(name: "SQLite", operation: "prepare a statement", message: "it is empty")
        }
        return unsafe Statement(statement, sql, self)
    }

    /// Keeps a statement that was used until it is wanted again.
    fileprivate func giveBack(_ statement: OpaquePointer, _ sql: String) {
        unsafe sqlite3_reset(statement)
        unsafe sqlite3_clear_bindings(statement)
        if let other = unsafe idle.updateValue(statement, forKey: sql) { unsafe sqlite3_finalize(other) }
    }

    /// The database's pages one after another.
    func serialized() throws(StoreError) -> [UInt8] {
        var size: sqlite3_int64 = 0
        guard let bytes = unsafe sqlite3_serialize(connection, "main", &size, 0) else {
            throw .library(name: "SQLite", operation: "serialize the index", message: "out of memory")
        }
        defer { unsafe sqlite3_free(bytes) }
        return unsafe [UInt8](UnsafeBufferPointer(start: bytes, count: Int(size)))
    }

    /// Makes an error of a result code, the page reader's own error where that was the cause.
    func check(_ status: Int32, _ operation: String) throws(StoreError) {
        if status == SQLITE_OK || status == SQLITE_ROW || status == SQLITE_DONE { return }
        if let failure = pages?.takeFailure() { throw failure }
        let message = unsafe String(cString: sqlite3_errmsg(connection))
        switch status & 0xff {
        case SQLITE_CORRUPT, SQLITE_NOTADB, SQLITE_IOERR, SQLITE_FORMAT, SQLITE_SCHEMA, SQLITE_CANTOPEN, SQLITE_ERROR:
            guard pages != nil else { fallthrough }
            throw .damaged(
                file: file, problem: Problem(.index, "SQLite could not \(operation) in the index: \(message)"))
        case SQLITE_TOOBIG:
            let limit = unsafe sqlite3_limit(connection, SQLITE_LIMIT_LENGTH, -1)
            throw .limitExceeded(
                file: file, what: "the size of a value in the index, in bytes,", limit: Int(limit),
                found: "a longer one")
        default:
            throw .library(name: "SQLite", operation: operation, message: message)
        }
    }
}

/// A prepared statement.
///
/// Sound: it keeps its connection alive, and values are copied out before the next step.
@safe struct Statement: ~Copyable {
    let statement: OpaquePointer
    /// What it was prepared from, if it goes back to the connection for others to use.
    private let sql: String?
    private let database: Database

    init(_ statement: OpaquePointer, _ sql: String?, _ database: Database) {
        unsafe self.statement = unsafe statement
        self.sql = sql
        self.database = database
    }

    deinit {
        if let sql { unsafe database.giveBack(statement, sql) } else { unsafe sqlite3_finalize(statement) }
    }

    /// A value of SQLite's, bound or read.
    enum Value: Sendable, Hashable {
        case null
        case integer(Int)
        case real(Double)
        case text(String)
        case blob([UInt8])
        /// A text that is not valid UTF-8.
        case invalidText
    }

    /// Goes to the next row; false if there is none.
    mutating func step() throws(StoreError) -> Bool {
        let status = unsafe sqlite3_step(statement)
        try database.check(status, "read a row")
        return status == SQLITE_ROW
    }

    /// Makes the statement ready to run again.
    mutating func reset() { unsafe sqlite3_reset(statement) }

    /// Runs a statement that gives no rows, with these parameters.
    mutating func run(_ values: Value...) throws(StoreError) {
        for (index, value) in values.enumerated() { try bind(value, at: index + 1) }
        _ = try step()
        reset()
    }

    /// Binds a parameter, counted from 1.
    mutating func bind(_ value: Value, at index: Int) throws(StoreError) {
        let index = Int32(index)
        let status: Int32
        switch value {
        case .null: status = unsafe sqlite3_bind_null(statement, index)
        case .integer(let value): status = unsafe sqlite3_bind_int64(statement, index, Int64(value))
        case .real(let value): status = unsafe sqlite3_bind_double(statement, index, value)
        case .text(var text):
            status = text.withUTF8 { bytes in
                unsafe bytes.withMemoryRebound(to: CChar.self) {
                    unsafe nnstore_sqlite_bind_text(statement, index, $0.baseAddress, UInt64($0.count))
                }
            }
        case .blob(let bytes):
            status = unsafe bytes.withUnsafeBytes {
                unsafe nnstore_sqlite_bind_blob(statement, index, $0.baseAddress, UInt64($0.count))
            }
        case .invalidText: status = SQLITE_MISUSE
        }
        try database.check(status, "bind a value")
    }

    /// The value of a column, counted from 0.
    func value(_ column: Int) -> Value {
        let column = Int32(column)
        switch unsafe sqlite3_column_type(statement, column) {
        case SQLITE_INTEGER: return .integer(Int(unsafe sqlite3_column_int64(statement, column)))
        case SQLITE_FLOAT: return .real(unsafe sqlite3_column_double(statement, column))
        case SQLITE_TEXT:
            guard let start = unsafe sqlite3_column_text(statement, column) else { return .invalidText }
            let count = Int(unsafe sqlite3_column_bytes(statement, column))
            let text = unsafe String(validating: UnsafeBufferPointer(start: start, count: count), as: UTF8.self)
            return text.map { .text($0) } ?? .invalidText
        case SQLITE_BLOB:
            let start = unsafe sqlite3_column_blob(statement, column)
            let count = Int(unsafe sqlite3_column_bytes(statement, column))
            return .blob(unsafe [UInt8](UnsafeRawBufferPointer(start: start, count: start == nil ? 0 : count)))
        default: return .null
        }
    }
}
