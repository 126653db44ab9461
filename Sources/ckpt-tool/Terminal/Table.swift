/// Columns of text, aligned.
struct Table {
    enum Alignment { case left, right }

    private let alignments: [Alignment]
    private var rows: [[String]]

    /// A table with a heading for each column.
    init(_ columns: [(heading: String, alignment: Alignment)]) {
        alignments = columns.map(\.alignment)
        rows = [columns.map(\.heading)]
    }

    /// A table of so many columns to the left, without headings.
    init(columns: Int) {
        alignments = [Alignment](repeating: .left, count: columns)
        rows = []
    }

    mutating func add(_ row: [String]) { rows.append(row) }

    /// The lines, without blanks at their ends.
    var lines: [String] {
        let widths = widths
        return rows.map { line($0, widths) }
    }

    /// How wide each column has to be for the rows so far.
    var widths: [Int] {
        var widths = [Int](repeating: 0, count: alignments.count)
        for row in rows { for (column, cell) in row.enumerated() { widths[column] = max(widths[column], cell.count) } }
        return widths
    }

    /// The line of a row in columns of these widths, which a cell that is wider pushes aside.
    func line(_ row: [String], _ widths: [Int]) -> String {
        let cells = row.enumerated().map { column, cell in
            let blanks = String(repeating: " ", count: max(0, widths[column] - cell.count))
            return alignments[column] == .left ? cell + blanks : blanks + cell
        }
        var line = cells.joined(separator: "  ")
        while line.hasSuffix(" ") { line.removeLast() }
        return line
    }
}
