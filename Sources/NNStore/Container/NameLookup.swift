/// Finds tensors by flat name or path without reading the whole index.
struct NameLookup {
    private let index: Index

    init(_ index: Index) { self.index = index }

    /// The one tensor whose flat name is `name`.
    func tensor(_ name: String) throws(StoreError) -> TensorEntry {
        var found: [TensorEntry] = []
        var isOther = false
        let root = try root()
        if name.isEmpty { try append(root, StatePath(), &found, &isOther) }
        if case .inner(_, let id, _) = root.content {
            // Where the separators are. Keys may contain them too, so every way to cut the name is tried; a node is
            // asked once for each end that leads to it, which bounds the work by separators × depth.
            let bytes = Array(name.utf8)
            var visited: Set<[Int]> = []
            let cuts = bytes.indices.filter { bytes[$0] == UInt8(ascii: ".") } + [bytes.count]
            try search(bytes, cuts[...], from: 0, in: id, StatePath(), &found, &isOther, &visited)
        }
        switch found.count {
        case 0 where isOther:
            throw .invalidArgument(
                reason: "\(index.file): \"\(name)\" is no tensor; it is in the state tree (readAll, state)")
        case 0: throw .notFound(file: index.file, name: name, similar: similar(to: name))
        case 1: return found[0]
        default: throw .ambiguousName(file: index.file, name: name, paths: found.map(\.path.description))
        }
    }

    private func search(
        _ name: [UInt8], _ cuts: ArraySlice<Int>, from start: Int, in parent: Int, _ path: StatePath,
        _ found: inout [TensorEntry], _ isOther: inout Bool, _ visited: inout Set<[Int]>
    ) throws(StoreError) {
        // A node's id comes up once for each cut in a tree; in what only looks like one, this keeps the work bounded.
        guard path.keys.count < StateTree.maximumDepth, visited.insert([parent, start]).inserted else { return }
        for (place, cut) in zip(cuts.indices, cuts) {
            let text = String(decoding: name[start..<cut], as: UTF8.self)
            var keys: [StateKey] = [.text(text)]
            if let integer = Int(text), String(integer) == text { keys.append(.integer(integer)) }
            for row in try index.children(of: parent, keys: keys) {
                let childPath = StatePath(path.keys + [row.key])
                if cut == name.count {
                    try append(row, childPath, &found, &isOther)
                } else if case .inner(_, let id, _) = row.content {
                    try search(name, cuts[(place + 1)...], from: cut + 1, in: id, childPath, &found, &isOther, &visited)
                }
            }
        }
    }

    /// The tensor at a path.
    func tensor(at path: StatePath) throws(StoreError) -> TensorEntry {
        var row = try root()
        for key in path.keys {
            guard case .inner(_, let id, _) = row.content, let child = try index.children(of: id, keys: [key]).first
            else {
                throw .notFound(file: index.file, name: path.description, similar: [])
            }
            row = child
        }
        var found: [TensorEntry] = []
        var isOther = false
        try append(row, path, &found, &isOther)
        guard let entry = found.first else {
            throw .notFound(file: index.file, name: path.description, similar: [])
        }
        return entry
    }

    private func root() throws(StoreError) -> NodeRow {
        guard let root = try index.children(of: 0, keys: [.integer(0)]).first else {
            throw index.validation.damaged("the root of the state tree", "it is missing")
        }
        return root
    }

    /// Appends the tensor of a row, or notes that the row is something else.
    private func append(
        _ row: NodeRow, _ path: StatePath, _ found: inout [TensorEntry], _ isOther: inout Bool
    ) throws(StoreError) {
        guard case .tensor(let tensor) = row.content else {
            isOther = true
            return
        }
        let entry = TensorEntry(path, tensor, fileID: index.tail.fileID)
        try index.validation.checkBounds(tensor, entry.name, in: index.storage(tensor.storage))
        found.append(entry)
    }

    private func similar(to name: String) -> [String] {
        guard let entries = try? TreeReader(index).entries() else { return [] }
        return NameSimilarity.closest(to: name, among: entries.map(\.name))
    }
}
