/// Reading all nodes of an index, on several threads.
extension Index {
    /// Nodes with the same parent, in the order of their keys.
    private struct Siblings: Sendable {
        let parent: Int
        var rows: [NodeRow]
    }

    /// Where a range of rows of `node` begins, in the order of the table.
    private struct NodePlace: Sendable {
        let parent: Int
        let key: Statement.Value
    }

    /// Fewer rows than these are read faster by one thread.
    private static let rowsForEachThread = 10_000

    /// All nodes whose parents' ids are at least `first`, and less than `end` if there is one, by those ids, children in order of
    /// position, and checked to be the gapless numbering that spec section 4 asks for. Many are read on all cores if they are
    /// all.
    func nodes(from first: Int, before end: Int? = nil) throws(StoreError) -> [Int: [NodeRow]] {
        let total = try integer("SELECT count(*) FROM node")
        guard total <= limits.maximumNodes else {
            throw .limitExceeded(
                file: file, what: "the number of nodes", limit: limits.maximumNodes, found: String(total))
        }
        var all: [Siblings] = []
        let threads = first > 0 || end != nil ? 1 : min(Workers.defaultCount, total / Index.rowsForEachThread)
        if threads <= 1 {
            all = try siblings(
                from: NodePlace(parent: first, key: .null), to: end.map { NodePlace(parent: $0, key: .null) })
        } else {
            let places = try places(dividing: total, into: threads)
            let parts = try Workers.map(threads) { (number) throws(StoreError) in
                try siblings(from: places[number], to: number + 1 < threads ? places[number + 1] : nil)
            }
            for part in parts {
                guard var next = part.first else { continue }
                // A family that was divided.
                if let last = all.last, last.parent == next.parent {
                    try checkOrder(last.rows.last!, next.rows[0], of: next.parent)
                    next.rows = last.rows + next.rows
                    all.removeLast()
                }
                all.append(next)
                all += part.dropFirst()
            }
            // What a crafted image hides from a search by key is found by its number.
            guard all.reduce(0, { $0 + $1.rows.count }) == total else {
                throw validation.damaged("the nodes", "they are not ordered")
            }
        }
        return try families(all)
    }

    /// Where each of `count` equal parts of the table begins.
    private func places(dividing total: Int, into count: Int) throws(StoreError) -> [NodePlace] {
        try withDatabase { (database: Database) throws(StoreError) in
            var places = [NodePlace(parent: 0, key: .null)]
            var row = try database.prepare("SELECT parent, key FROM node ORDER BY parent, key LIMIT 1 OFFSET ?")
            for number in 1..<count {
                try row.bind(.integer(total / count * number), at: 1)
                guard try row.step(), case .integer(let parent) = row.value(0) else {
                    throw validation.damaged("a row of node", "its parent is no id")
                }
                places.append(NodePlace(parent: parent, key: row.value(1)))
                row.reset()
            }
            return places
        }
    }

    /// The nodes from one place on and before another, in the order of the table.
    private func siblings(from start: NodePlace, to end: NodePlace?) throws(StoreError) -> [Siblings] {
        try withDatabase { (database: Database) throws(StoreError) in
            var all: [Siblings] = []
            var condition = start.key == .null ? "parent >= ?1" : "(parent, key) >= (?1, ?2)"
            if let end { condition += end.key == .null ? " AND parent < ?3" : " AND (parent, key) < (?3, ?4)" }
            var rows = try database.prepare(
                "SELECT \(RowValidation.nodeColumns) FROM \(RowValidation.nodeTables) WHERE \(condition) "
                    + "ORDER BY parent, key")
            try rows.bind(.integer(start.parent), at: 1)
            if start.key != .null { try rows.bind(start.key, at: 2) }
            if let end {
                try rows.bind(.integer(end.parent), at: 3)
                if end.key != .null { try rows.bind(end.key, at: 4) }
            }
            var current = Siblings(parent: 0, rows: [])
            var largeValues: Set<Int> = []
            var last: RowValidation.LastTensor?
            while try rows.step() {
                let next = try validation.node(rows, last: &last) { (name) throws(StoreError) in
                    try dtype(name, database)
                }
                // Checked while reading: a file of megabytes could name one large value from every node.
                if let large = next.row.largeValue, !largeValues.insert(large).inserted {
                    throw validation.damaged("large value \(large)", "two nodes have it")
                }
                if next.parent != current.parent {
                    guard next.parent > current.parent else {
                        throw validation.damaged("the children of node \(next.parent)", "they do not stand together")
                    }
                    if !current.rows.isEmpty { all.append(current) }
                    current = Siblings(parent: next.parent, rows: [])
                }
                if let last = current.rows.last { try checkOrder(last, next.row, of: current.parent) }
                current.rows.append(next.row)
            }
            if !current.rows.isEmpty { all.append(current) }
            return all
        }
    }

    /// Rows come in the order of their keys, so equal ones are neighbours. On a crafted image the primary key promises
    /// neither.
    private func checkOrder(_ one: NodeRow, _ next: NodeRow, of parent: Int) throws(StoreError) {
        guard one.key < next.key else {
            throw validation.damaged("the children of node \(parent)", "their keys are not ordered or not unique")
        }
    }

    private func families(_ all: [Siblings]) throws(StoreError) -> [Int: [NodeRow]] {
        var nodes: [Int: [NodeRow]] = [:]
        nodes.reserveCapacity(all.count)
        for siblings in all {
            guard nodes.updateValue(try inOrder(siblings.rows, of: siblings.parent), forKey: siblings.parent) == nil
            else {
                throw validation.damaged("the children of node \(siblings.parent)", "they do not stand together")
            }
        }
        return nodes
    }

    private func inOrder(_ children: [NodeRow], of parent: Int) throws(StoreError) -> [NodeRow] {
        if parent == 0 { return children }
        var order = [Int?](repeating: nil, count: children.count)
        for (index, child) in children.enumerated() {
            guard child.position < order.count, order[child.position] == nil else {
                throw validation.damaged(
                    "the children of node \(parent)", "their positions are not 0 to \(order.count - 1)")
            }
            order[child.position] = index
        }
        return order.map { children[$0!] }
    }
}
