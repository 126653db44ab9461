import ArgumentParser
import NNInterop
import NNStore

struct SQLCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "sql",
        abstract: "Asks a container's index a question in SQL and prints the rows.",
        discussion: """
            Only the index is read, by one statement that changes nothing. What is in it (spec/FORMAT.md, from section 3 on):
              tensors          name, dtype, shape, strides, offset, size, storage
              node             the two trees, a row a node
              storage, chunk   the tensors' memory, and where it is in the file
              dtype, large     the dtypes; values too long for a node
              extra, history   facts about the file, its life

            The table cuts long values, which --json has in full: an array with an object for each row, blobs as \
            hexadecimal digits. A statement that never ends (a recursive one without a limit) runs until it is stopped.

            Examples:
              ckpt-tool sql model.nnck 'SELECT dtype, sum(size) FROM tensors GROUP BY 1'
              ckpt-tool sql model.nnck "SELECT name FROM tensors WHERE size > 9000" --json
            """)

    @Argument(help: "The container.", completion: .file(extensions: ["nnck"]))
    var file: String

    @Argument(help: "The statement.")
    var statement: String

    @Flag(help: "Print one JSON array.")
    var json = false

    func run() throws {
        let opened = try CheckpointFiles.open(file)
        guard let checkpoint = (opened as? ContainerFile)?.checkpoint else {
            throw StoreError.notAContainer(
                file: file,
                found: "it is in the format \(opened.formatName), which has no index to ask; "
                    + "use list --json, or import it first")
        }
        if json {
            var output = RowsAsJSON()
            try checkpoint.query(statement) { output.add($0) }
            output.finish()
        } else {
            var output = RowsAsTable()
            let columns = try checkpoint.query(statement) { output.add($0) }
            output.finish(columns)
        }
    }
}

/// Prints rows as an array of objects, one a line. Each is printed when it is known whether a comma follows it.
private struct RowsAsJSON {
    private var keys: [String] = []
    private var last: String?

    mutating func add(_ row: QueryRow) {
        if let last {
            Terminal.print(last + ",")
        } else {
            keys = RowsAsJSON.keys(row.columns)
            Terminal.print("[")
        }
        last = "  " + JSONValue.object(zip(keys, row.values).map { JSONMember($0, JSONValue($1)) }).text()
    }

    func finish() {
        guard let last else { return Terminal.print("[]") }
        Terminal.print(last + "\n]")
    }

    /// The columns' names; one that is there already gets a number, as SQLite does it in subqueries.
    private static func keys(_ columns: [String]) -> [String] {
        var taken = Set(columns)
        var seen: Set<String> = []
        return columns.map { column in
            if seen.insert(column).inserted { return column }
            let key = (1...).lazy.map { "\(column):\($0)" }.first { !taken.contains($0) } ?? column
            taken.insert(key)
            return key
        }
    }
}

/// Prints rows as a table. The first ones wait until it is known how wide the columns are; what comes behind them is
/// printed as it comes.
private struct RowsAsTable {
    private static let waitingCount = 1000
    private static let longestCell = 120

    private var waiting: [[String]] = []
    /// Columns that had anything but numbers.
    private var textColumns: Set<Int> = []
    private var table: (table: Table, widths: [Int])?

    mutating func add(_ row: QueryRow) {
        let cells = row.values.map(RowsAsTable.cell)
        if let table { return Terminal.print(table.table.line(cells, table.widths)) }
        waiting.append(cells)
        for (column, value) in row.values.enumerated() {
            switch value {
            case .null, .integer, .real: break
            default: textColumns.insert(column)
            }
        }
        if waiting.count == RowsAsTable.waitingCount { begin(row.columns) }
    }

    mutating func finish(_ columns: [String]) { if table == nil { begin(columns) } }

    private mutating func begin(_ columns: [String]) {
        var table = Table(
            columns.enumerated().map { column, name in
                (printable(name), textColumns.contains(column) || waiting.isEmpty ? .left : .right)
            })
        waiting.forEach { table.add($0) }
        waiting = []
        table.lines.forEach(Terminal.print)
        self.table = (table, table.widths)
    }

    private static func cell(_ value: QueryValue) -> String {
        switch value {
        case .null: "–"
        case .integer(let value): String(value)
        case .real(let value): value.description
        // Cut before the work on each character: a value can have hundreds of megabytes.
        case .text(let text): cut(printable(String(text.prefix(longestCell + 1))))
        case .blob(let bytes), .invalidText(let bytes): cut(hexadecimal(bytes.prefix(longestCell)))
        }
    }

    private static func cut(_ text: String) -> String {
        text.count <= longestCell ? text : text.prefix(longestCell - 3) + "..."
    }
}

extension JSONValue {
    /// Blobs, and texts that are none, as hexadecimal digits.
    fileprivate init(_ value: QueryValue) {
        switch value {
        case .null: self = .null
        case .integer(let value): self = .integer(value)
        case .real(let value): self = JSONValue(value)
        case .text(let text): self = .string(text)
        case .blob(let bytes), .invalidText(let bytes): self = .string(hexadecimal(bytes))
        }
    }
}

private func hexadecimal(_ bytes: some Sequence<UInt8>) -> String {
    let digits = Array("0123456789abcdef".utf8)
    return String(decoding: bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
}
