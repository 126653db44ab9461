import CSQLite

/// A value in a row that a query on an index gives.
public enum QueryValue: Sendable, Hashable {
    /// NULL.
    case null
    /// An integer.
    case integer(Int)
    /// A floating-point number.
    case real(Double)
    /// A text.
    case text(String)
    /// Bytes.
    case blob([UInt8])
    /// A text that is not valid UTF-8: its bytes.
    case invalidText([UInt8])
}

/// A row that a query on an index gives.
public struct QueryRow: Sendable {
    /// The columns' names, as SQLite gives them; two may be equal.
    public let columns: [String]
    /// The values, one for each column.
    public let values: [QueryValue]

    /// The value of the first column with this name; `nil` if there is none.
    public subscript(column: String) -> QueryValue? { columns.firstIndex(of: column).map { values[$0] } }
}

extension Checkpoint {
    /// Runs one SQL statement that reads on the container's index, whose tables spec section 3 describes.
    ///
    /// Only the index is read, no tensor's bytes. Every page of it has its checksum verified, but what the rows say is
    /// passed on as it stands in the file, without the checks of the other calls. Rows are given as SQLite finds them;
    /// none is kept.
    ///
    /// ```swift
    /// try checkpoint.query("SELECT name, size FROM tensors ORDER BY size DESC LIMIT 3") { print($0.values) }
    /// ```
    ///
    /// - Parameters:
    ///   - sql: just one statement. SQLite's reading pragmas (`table_info`, `table_list`, `integrity_check`) are allowed.
    ///   - body: called with each row. What it throws ends the query.
    /// - Returns: the columns' names, also where there is no row.
    /// - Throws: ``StoreError/invalidArgument(reason:)`` if SQLite does not understand the statement or can't carry it
    ///   out, and for no statement, more than one, and one that does anything else than read; what reading the index
    ///   and what `body` throws.
    @discardableResult
    public func query(_ sql: String, _ body: (QueryRow) throws -> Void) throws -> [String] {
        let query = try Query(sql, on: index)
        while let row = try query.next() { try body(row) }
        return query.columns
    }
}

/// One statement that somebody else wrote, on a connection of its own that can do nothing but read.
///
/// Three bars, each enough by itself for most of what is to be kept out: the file system below the connection can't
/// write; the authorizer allows reading, functions and a few pragmas, where SQLite compiles the statement; and SQLite
/// must call what it compiled read-only, which `VACUUM INTO` is not.
///
/// Sound: SQLite asks the authorizer where statements are compiled, which they are while this object's methods run, and
/// not where they are finalized and connections closed.
@safe private final class Query {
    private let database: Database
    private let authorizer: QueryAuthorizer
    private var statement: Statement
    /// The columns' names.
    let columns: [String]

    init(_ sql: String, on index: Index) throws(StoreError) {
        let file = index.file
        guard !sql.utf8.contains(0), sql.utf8.count <= Query.maximumSize else {
            throw .invalidArgument(
                reason: "\(file): a statement can't contain a zero byte or be longer than \(Query.maximumSize) bytes")
        }
        let database = try Database.open(
            PageReader(index.pages), file: file, maximumValueSize: index.limits.maximumValueSize)
        let authorizer = QueryAuthorizer()
        unsafe sqlite3_set_authorizer(
            database.connection,
            { context, action, first, second, _, _ in
                guard let context = unsafe context else { return SQLITE_DENY }
                let authorizer = unsafe Unmanaged<QueryAuthorizer>.fromOpaque(context).takeUnretainedValue()
                return authorizer.answer(
                    action, unsafe first.map { unsafe String(cString: $0) },
                    unsafe second.map { unsafe String(cString: $0) })
            }, Unmanaged.passUnretained(authorizer).toOpaque())
        statement = try Query.prepare(sql, database, authorizer)
        columns = statement.columnNames
        self.database = database
        self.authorizer = authorizer
    }

    /// The limit on the length of statements that connections to indexes have.
    private static let maximumSize = 100_000

    private static func prepare(
        _ sql: String, _ database: Database, _ authorizer: QueryAuthorizer
    ) throws(StoreError) -> Statement {
        var first: OpaquePointer?
        var status = SQLITE_OK
        var failure: StoreError?
        var hasSecond = false
        unsafe sql.withCString { start in
            var rest: UnsafePointer<CChar>?
            status = unsafe sqlite3_prepare_v2(database.connection, start, -1, &first, &rest)
            if status != SQLITE_OK { failure = error(status, sql, database, authorizer) }
            // Blanks, comments and semicolons make no statement; anything else does, or would but for a mistake.
            while status == SQLITE_OK, !hasSecond, let next = unsafe rest, unsafe next.pointee != 0 {
                var second: OpaquePointer?
                hasSecond =
                    unsafe sqlite3_prepare_v2(database.connection, next, -1, &second, &rest) != SQLITE_OK
                    || second != nil
                unsafe sqlite3_finalize(second)
            }
        }
        if let failure { throw failure }
        guard let first = unsafe first else {
            throw .invalidArgument(
                reason: "\(database.file): the statement is empty; give one, such as SELECT * FROM tensors")
        }
        let statement = unsafe Statement(first, nil, database)
        guard !hasSecond else {
            throw .invalidArgument(
                reason: "\(database.file): more than one statement; only one is run, so give them one by one")
        }
        guard statement.isReadOnly else {
            let word = sql.drop { $0.isWhitespace }.prefix { $0.isLetter }.uppercased()
            throw refusal(of: word, database)
        }
        guard statement.parameterCount == 0 else {
            throw .invalidArgument(
                reason:
                    "\(database.file): the statement has parameters, which have no values here; write the values out")
        }
        return statement
    }

    private static func refusal(of what: String, _ database: Database) -> StoreError {
        .invalidArgument(
            reason: "\(database.file): \(what) is refused: an index is only read, so the statement has to be a SELECT")
    }

    /// The next row; `nil` if there is none.
    func next() throws(StoreError) -> QueryRow? {
        let status = unsafe sqlite3_step(statement.statement)
        guard status == SQLITE_ROW || status == SQLITE_DONE else {
            throw Query.error(status, nil, database, authorizer)
        }
        if status == SQLITE_DONE { return nil }
        return QueryRow(columns: columns, values: columns.indices.map { statement.queryValue($0) })
    }

    /// What went wrong: the statement's fault, or else the index's.
    ///
    /// - Parameter sql: the statement, if it is just being compiled.
    private static func error(
        _ status: Int32, _ sql: String?, _ database: Database, _ authorizer: QueryAuthorizer
    ) -> StoreError {
        if let refused = authorizer.refused { return refusal(of: refused, database) }
        switch status & 0xff {
        case SQLITE_ERROR, SQLITE_AUTH, SQLITE_CONSTRAINT, SQLITE_MISMATCH, SQLITE_RANGE, SQLITE_READONLY:
            let message = unsafe String(cString: sqlite3_errmsg(database.connection))
            let offset = Int(unsafe sqlite3_error_offset(database.connection))
            var place = ""
            if let sql, offset >= 0, offset < sql.utf8.count {
                let bytes = Array(sql.utf8)
                let position = String(decoding: bytes[..<offset], as: UTF8.self).count + 1
                let rest = String(decoding: bytes[offset...], as: UTF8.self).prefix(30)
                place = ", at character \(position): \(rest)"
            }
            return .invalidArgument(reason: "\(database.file): SQLite can't run the statement: \(message)\(place)")
        default:
            do throws(StoreError) { try database.check(status, "run the statement") } catch { return error }
            return .library(name: "SQLite", operation: "run the statement", message: "it returned \(status)")
        }
    }
}

/// Says what a query may do, and remembers what it was refused.
private final class QueryAuthorizer {
    /// What was refused first.
    private(set) var refused: String?

    /// Pragmas that only read whatever they are given.
    private static let reading: Set = [
        "table_info", "table_xinfo", "table_list", "index_list", "integrity_check", "quick_check",
    ]
    /// Pragmas that only read without an argument.
    private static let readingAlone: Set = ["application_id", "user_version", "page_count", "page_size", "encoding"]

    func answer(_ action: Int32, _ first: String?, _ second: String?) -> Int32 {
        let name: String
        switch action {
        case SQLITE_SELECT, SQLITE_READ, SQLITE_RECURSIVE: return SQLITE_OK
        case SQLITE_FUNCTION:
            // One loads code, the other gives out addresses of this process.
            let function = second?.lowercased() ?? ""
            guard ["load_extension", "fts3_tokenizer"].contains(function) else { return SQLITE_OK }
            name = function
        case SQLITE_PRAGMA:
            let pragma = first?.lowercased() ?? ""
            if QueryAuthorizer.reading.contains(pragma) { return SQLITE_OK }
            if QueryAuthorizer.readingAlone.contains(pragma), second == nil { return SQLITE_OK }
            name = "PRAGMA \(pragma)"
        case SQLITE_INSERT, SQLITE_UPDATE, SQLITE_DELETE:
            // Statements about the schema begin with a change of its own table.
            if first?.hasPrefix("sqlite_") == true {
                name = "a change of the schema"
            } else {
                name = action == SQLITE_INSERT ? "INSERT" : action == SQLITE_UPDATE ? "UPDATE" : "DELETE"
            }
        case SQLITE_ATTACH: name = "ATTACH"
        case SQLITE_DETACH: name = "DETACH"
        case SQLITE_TRANSACTION, SQLITE_SAVEPOINT: name = "a transaction"
        case SQLITE_ANALYZE: name = "ANALYZE"
        case SQLITE_REINDEX: name = "REINDEX"
        default: name = "a statement that changes something"
        }
        if refused == nil { refused = name }
        return SQLITE_DENY
    }
}

extension Statement {
    fileprivate var columnNames: [String] {
        (0..<(unsafe sqlite3_column_count(statement))).map { column in
            guard let name = unsafe sqlite3_column_name(statement, column) else { return "" }
            return unsafe String(cString: name)
        }
    }

    fileprivate var isReadOnly: Bool { unsafe sqlite3_stmt_readonly(statement) != 0 }

    fileprivate var parameterCount: Int { Int(unsafe sqlite3_bind_parameter_count(statement)) }

    fileprivate func queryValue(_ column: Int) -> QueryValue {
        switch value(column) {
        case .null: return .null
        case .integer(let value): return .integer(value)
        case .real(let value): return .real(value)
        case .text(let text): return .text(text)
        case .blob(let bytes): return .blob(bytes)
        case .invalidText:
            let start = unsafe sqlite3_column_blob(statement, Int32(column))
            let count = Int(unsafe sqlite3_column_bytes(statement, Int32(column)))
            return .invalidText(unsafe [UInt8](UnsafeRawBufferPointer(start: start, count: start == nil ? 0 : count)))
        }
    }
}
