import NNStore

/// The entries of two trees, and which belong together.
struct MatchedEntries {
    /// An entry of either tree.
    struct Entry {
        let path: StatePath
        /// What it is matched by.
        let key: StatePath
        let node: StateTree
    }

    /// In the order of their trees.
    let first: [Entry]
    let second: [Entry]
    private let places: (first: [StatePath: Int], second: [StatePath: Int])

    /// - Parameter byName: whether leaves are matched by their flat names and inner nodes are left out, because one of
    ///   the trees comes from a format without nesting.
    init(_ first: StateTree, _ second: StateTree, byName: Bool) {
        self.first = MatchedEntries.entries(first, byName)
        self.second = MatchedEntries.entries(second, byName)
        places = (MatchedEntries.places(self.first), MatchedEntries.places(self.second))
    }

    private static func entries(_ tree: StateTree, _ byName: Bool) -> [Entry] {
        var entries: [Entry] = []
        var counts: [StateKey: Int] = [:]
        tree.forEachNode { path, node in
            if byName {
                // What has children is told by them; the root of a flat format says nothing.
                if !node.children.isEmpty || path.keys.isEmpty && node.tensor == nil { return }
                counts[.text(path.flatName), default: 0] += 1
            }
            entries.append(Entry(path: path, key: path, node: node))
        }
        guard byName else { return entries }
        return entries.map { entry in
            // Of two paths with one flat name neither is taken for the other.
            let name = StateKey.text(entry.path.flatName)
            return counts[name] == 1 ? Entry(path: entry.path, key: StatePath([name]), node: entry.node) : entry
        }
    }

    private static func places(_ entries: [Entry]) -> [StatePath: Int] {
        Dictionary(entries.enumerated().map { ($1.key, $0) }, uniquingKeysWith: { first, _ in first })
    }

    /// The entry of the second tree that belongs to one of the first.
    func partner(of entry: Entry) -> Entry? { places.second[entry.key].map { second[$0] } }

    /// The entries that only the second tree has, in its order.
    var added: [Entry] { second.filter { places.first[$0.key] == nil } }

    /// The groups of tensors over one storage that are no groups in the other tree, among the tensors that both have.
    ///
    /// Names are the first tree's. Tensors without elements share nothing.
    var aliasDifferences: (onlyInFirst: [[String]], onlyInSecond: [[String]]) {
        var names: [String] = []
        var members: (first: [Storage: [Int]], second: [Storage: [Int]]) = ([:], [:])
        for entry in first {
            guard let tensor = entry.node.tensor, let other = partner(of: entry)?.node.tensor,
                !tensor.layout.isEmpty, !other.layout.isEmpty
            else { continue }
            members.first[tensor.storage, default: []].append(names.count)
            members.second[other.storage, default: []].append(names.count)
            names.append(entry.path.flatName)
        }
        func only(_ groups: [Storage: [Int]], _ others: [Storage: [Int]]) -> [[String]] {
            let others = Set(others.values)
            return groups.values.filter { $0.count > 1 && !others.contains($0) }.sorted { $0[0] < $1[0] }
                .map { $0.map { names[$0] } }
        }
        return (only(members.first, members.second), only(members.second, members.first))
    }
}
