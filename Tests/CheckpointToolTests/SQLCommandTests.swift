import Foundation
import NNStore
import Testing

@Suite("ckpt-tool sql")
struct SQLCommandTests {
    private let folder: TemporaryFolder
    private let path: String

    init() throws {
        folder = try TemporaryFolder()
        path = folder.path("lm.nnck")
        let tensor = StateTree.tensor(try StateTensor([1, 2, 3, 4] as [Float], shape: [2, 2]))
        try Checkpoint.save(
            ["weight": tensor, "a\u{1b}[2Jb": ["bias": tensor], "step": 1200],
            metadata: ["long": .string(String(repeating: "x", count: 500))], to: path)
    }

    @Test("a table has the columns' names, numbers to the right, and no control characters")
    func table() throws {
        let outcome = try Tool.run(
            "sql", path, "SELECT name, size AS bytes, NULL AS none FROM tensors ORDER BY storage")
        #expect(outcome.status == 0 && outcome.error == "")
        #expect(
            outcome.output
                == "name              bytes  none\nweight               16     –\na\\u{1b}[2Jb.bias     16     –\n"
        )
        let long = try Tool.run("sql", path, "SELECT value FROM node WHERE key = 'long'").output
        #expect(long == "value\n" + String(repeating: "x", count: 117) + "...\n")
        #expect(try Tool.run("sql", path, "SELECT name FROM tensors WHERE 0").output == "name\n")
    }

    @Test("--json prints an array with an object for each row, integers exact, blobs in hexadecimal digits")
    func json() throws {
        let outcome = try Tool.run(
            "sql", path, "SELECT 9223372036854775807 AS n, digest, 0.5, NULL, name, name FROM storage, tensors LIMIT 1",
            "--json")
        #expect(outcome.status == 0)
        #expect(outcome.output.contains("\"n\":9223372036854775807,"))
        let rows = try #require(JSONSerialization.jsonObject(with: Data(outcome.output.utf8)) as? [[String: Any]])
        #expect(rows.count == 1)
        #expect(Set(rows[0].keys) == ["n", "digest", "0.5", "NULL", "name", "name:1"])
        #expect((rows[0]["digest"] as? String)?.count == 32)
        #expect(rows[0]["NULL"] is NSNull)
        #expect(try Tool.run("sql", path, "SELECT 1 WHERE 0", "--json").output == "[]\n")
    }

    @Test("many rows are printed as they come")
    func stream() throws {
        let numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 5000) SELECT i FROM n"
        let lines = try Tool.run("sql", path, numbers).output.split(separator: "\n")
        #expect(lines.count == 5001)
        #expect(lines.first == "   i" && lines[1] == "   1" && lines.last == "5000")
        let rows = try Tool.run("sql", path, numbers, "--json")
        let parsed = try JSONSerialization.jsonObject(with: Data(rows.output.utf8)) as? [[String: Int]]
        let isRight = parsed?.map { $0["i"] } == (1...5000).map { $0 }
        #expect(isRight)
    }

    @Test("hostile statements leave no file behind, and change none")
    func hostile() throws {
        let before = try Data(contentsOf: URL(fileURLWithPath: path))
        let other = folder.path("other.db")
        for statement in [
            "ATTACH '\(other)' AS x", "VACUUM INTO '\(other)'", "VACUUM", "PRAGMA journal_mode = WAL",
            "PRAGMA temp_store_directory = '\(folder.path)'", "SELECT load_extension('\(other)')", "DELETE FROM node",
            "CREATE TABLE x(y)", "SELECT 1; DROP TABLE node", "", ";",
        ] {
            for arguments in [["sql", path, statement], ["sql", path, statement, "--json"]] {
                let outcome = try Tool.start(Tool.path, arguments)
                #expect(outcome.status == 2, "\(statement): \(outcome.output)")
                #expect(outcome.error.hasPrefix("error: \(path): ") && outcome.output == "", "\(statement)")
            }
        }
        #expect(folder.names == ["lm.nnck"])
        let isUnchanged = try Data(contentsOf: URL(fileURLWithPath: path)) == before
        #expect(isUnchanged)
    }

    @Test("a mistake is shown with SQLite's message and its place")
    func mistake() throws {
        let outcome = try Tool.run("sql", path, "SELECT nme FROM tensors")
        #expect(outcome.status == 2)
        #expect(outcome.error.contains("no such column: nme, at character 8: nme FROM tensors"))
    }

    @Test("a file that is no container is told what to use instead")
    func otherFormats() throws {
        let model = Tool.repository.appendingPathComponent("Examples/Models/silero_vad_16k.safetensors").path
        let outcome = try Tool.run("sql", model, "SELECT 1")
        #expect(outcome.status == 1)
        #expect(outcome.error.contains("not an NNStore container") && outcome.error.contains("list --json"))
        #expect(try Tool.run("sql", folder.path("missing"), "SELECT 1").status == 2)
    }
}
