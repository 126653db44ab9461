import NNStore
import Testing

@Suite("Questions in SQL to an index")
struct QueryTests {
    private func checkpoint() throws -> Checkpoint {
        let tensor = StateTree.tensor(try StateTensor([1, 2, 3] as [Float], shape: [3]))
        return try Checkpoint.open(
            MemorySource(containerBytes(["a": tensor, "b": ["c": tensor], "step": 7], metadata: ["note": "x\u{0}y"])))
    }

    /// The values of all rows.
    private func rows(_ checkpoint: Checkpoint, _ sql: String) throws -> [[QueryValue]] {
        var rows: [[QueryValue]] = []
        try checkpoint.query(sql) { rows.append($0.values) }
        return rows
    }

    private func message(_ checkpoint: Checkpoint, _ sql: String) -> String? {
        do {
            try checkpoint.query(sql) { _ in }
            return nil
        } catch StoreError.invalidArgument(let reason) {
            return reason
        } catch {
            return "another error: \(error)"
        }
    }

    @Test("rows come with their columns' names, every kind of value as it is")
    func values() throws {
        let checkpoint = try checkpoint()
        var names: [String] = []
        let columns = try checkpoint.query("SELECT name, dtype FROM tensors") { row in
            if case .text(let name) = row["name"] { names.append(name) }
            #expect(row["dtype"] == .text("F32") && row["none"] == nil)
        }
        #expect(columns == ["name", "dtype"])
        #expect(names == ["a", "b.c"])
        #expect(
            try rows(checkpoint, "SELECT NULL, 9223372036854775807, 0.5, 'é', x'00ff', CAST(x'ff41' AS TEXT)")
                == [[.null, .integer(.max), .real(0.5), .text("é"), .blob([0, 255]), .invalidText([255, 65])]])
        #expect(try rows(checkpoint, "SELECT value FROM node WHERE key = 'note'") == [[.text("x\u{0}y")]])
        #expect(try checkpoint.query("SELECT 1 AS one WHERE 0 -- and nothing else\n;;") { _ in } == ["one"])
    }

    @Test("what the body throws ends the query")
    func ended() throws {
        struct Enough: Error {}
        let checkpoint = try checkpoint()
        var count = 0
        #expect(throws: Enough.self) {
            try checkpoint.query("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n") {
                _ in
                count += 1
                if count == 10 { throw Enough() }
            }
        }
        #expect(count == 10)
        #expect(try rows(checkpoint, "SELECT count(*) FROM storage") == [[.integer(1)]])
    }

    @Test(
        "whatever is not one reading statement is refused by name",
        arguments: [
            ("", "empty"), (" -- nothing\n;", "empty"), ("SELECT 1; SELECT 2", "more than one"),
            ("SELECT 1; nonsense", "more than one"), ("DELETE FROM node", "DELETE is refused"),
            ("INSERT INTO extra VALUES ('a', 1)", "INSERT is refused"),
            ("UPDATE node SET key = 1", "UPDATE is refused"),
            ("WITH x AS (SELECT 1) DELETE FROM node", "DELETE is refused"),
            ("EXPLAIN DELETE FROM node", "DELETE is refused"), ("CREATE TABLE t(x)", "schema is refused"),
            ("CREATE TEMP TABLE t AS SELECT 1", "schema is refused"), ("DROP TABLE node", "schema is refused"),
            ("ALTER TABLE node RENAME TO n", "refused"),
            ("ATTACH 'no-such-folder/query.db' AS other", "ATTACH is refused"),
            ("ATTACH ':memory:' AS other", "ATTACH is refused"), ("DETACH main", "DETACH is refused"),
            ("VACUUM", "VACUUM is refused"), ("VACUUM INTO 'no-such-folder/query.db'", "VACUUM is refused"),
            ("BEGIN", "transaction is refused"), ("SAVEPOINT s", "transaction is refused"),
            ("REINDEX", "REINDEX is refused"),
            ("ANALYZE", "refused"), ("PRAGMA journal_mode = DELETE", "PRAGMA journal_mode is refused"),
            ("PRAGMA user_version = 9", "PRAGMA user_version is refused"),
            ("PRAGMA query_only = OFF", "PRAGMA query_only is refused"),
            ("PRAGMA writable_schema = ON", "PRAGMA writable_schema is refused"),
            ("SELECT * FROM pragma_journal_mode", "refused"),
            ("SELECT load_extension('no-such-folder/query.so')", "load_extension is refused"),
            ("SELECT fts3_tokenizer('simple')", "fts3_tokenizer is refused"),
            ("SELECT writefile('no-such-folder/query.db', 'x')", "no such function"), ("SELECT ?", "parameters"),
            ("SELECT 1\u{0}", "zero byte"), ("SELECT '" + String(repeating: "x", count: 100_000) + "'", "100000 bytes"),
        ])
    func refused(sql: String, words: String) throws {
        let text = try message(checkpoint(), sql)
        #expect(text?.contains(words) == true, "\(text ?? "it ran")")
    }

    @Test("SQLite's message says what it does not understand, and where")
    func mistakes() throws {
        let checkpoint = try checkpoint()
        let column = message(checkpoint, "SELECT 'é', nme FROM tensors")
        #expect(
            column == "memory: SQLite can't run the statement: no such column: nme, at character 13: nme FROM tensors")
        #expect(message(checkpoint, "SELECT FROM")?.contains("syntax error, at character 8: FROM") == true)
        #expect(message(checkpoint, "SELECT abs(-9223372036854775807 - 1)")?.contains("integer overflow") == true)
        #expect(
            message(checkpoint, "SELECT \"text\"")?.contains("no such column") == true, "names only in these quotes")
    }

    @Test("reading pragmas are allowed")
    func pragmas() throws {
        let checkpoint = try checkpoint()
        #expect(try rows(checkpoint, "PRAGMA integrity_check") == [[.text("ok")]])
        #expect(try rows(checkpoint, "PRAGMA table_info(dtype)").count == 3)
        #expect(try rows(checkpoint, "PRAGMA application_id") == [[.integer(0x4e4e_434b)]])
    }

    @Test("a damaged page is damage, not a mistake in the statement, and no chunk is read")
    func damage() throws {
        var bytes = try containerBytes(
            ["a": .tensor(StateTensor([UInt8](repeating: 1, count: 1 << 20), shape: [1 << 20]))],
            metadata: .dictionary((0..<2000).map { ("key \($0)", .string(String(repeating: "v", count: 100))) }),
            options: SaveOptions(compression: .none))
        let source = CountingSource(MemorySource(bytes))
        let sound = try Checkpoint.open(source)
        #expect(try rows(sound, "SELECT count(*) FROM node") == [[.integer(2003)]])
        #expect(source.bytesRead < 1 << 20)

        let offset = bytes.suffix(8).reduce(0) { $0 << 8 | Int($1) }
        bytes[offset + 60 * 4096] ^= 1
        let damaged = try Checkpoint.open(MemorySource(bytes))
        do {
            try damaged.query("SELECT sum(length(value)) FROM node") { _ in }
            Issue.record("the page is damaged")
        } catch StoreError.damaged(_, let problem) {
            #expect(problem.kind == .index && problem.offset == offset + 60 * 4096)
        }
    }
}
