import NNStore

/// What of a state tree and its metadata goes into a safetensors file, and what does not.
struct SafetensorsEntries {
    /// The tensors by flat name, in the order of the tree.
    private(set) var tensors: [(name: String, tensor: StateTensor)] = []
    private(set) var report = ExportReport()
    /// The tensors, by number, that share a storage; in the order of their first ones.
    private(set) var shared: [[Int]] = []
    private let file: String
    private var paths: [StateKey: StatePath] = [:]

    /// - Parameter file: what messages call the destination.
    init(file: String) { self.file = file }

    /// Adds the tensors of a tree.
    mutating func add(_ state: StateTree) throws {
        try state.forEachNode { path, node in
            guard path.keys.count <= StateTree.maximumDepth else {
                throw InteropError.invalidTree(
                    path: "", reason: "it is deeper than \(StateTree.maximumDepth) levels")
            }
            try add(node, at: path)
        }
        var byStorage: [Storage: [Int]] = [:]
        for (number, tensor) in tensors.enumerated() { byStorage[tensor.tensor.storage, default: []].append(number) }
        shared = byStorage.values.filter { $0.count > 1 }.sorted { $0[0] < $1[0] }
    }

    private mutating func add(_ node: StateTree, at path: StatePath) throws(InteropError) {
        let place = path.keys.isEmpty ? "the root" : quoted(path.flatName)
        switch node {
        case .tensor(let tensor): try add(tensor, at: path)
        case .record(let type, _):
            report.converted.append(
                "\(place): of the record of type \(quoted(type)) only the tensors were kept, by name")
        case .dictionary, .list, .tuple:
            if node.children.isEmpty, !path.keys.isEmpty {
                report.dropped.append("\(place): \(node.plainKind), which is empty")
            }
        default: report.dropped.append("\(place): \(node.plainKind)")
        }
    }

    private mutating func add(_ tensor: StateTensor, at path: StatePath) throws(InteropError) {
        let name = path.flatName
        if name == SafetensorsHeader.metadataKey { throw .reservedName(file: file, name: name) }
        if let other = paths.updateValue(path, forKey: .text(name)) {
            throw .ambiguousName(file: file, name: name, paths: [other.description, path.description])
        }
        guard SafetensorsHeader.dtypes[tensor.dtype.name] == tensor.dtype else {
            throw .unsupportedDType(file: file, format: "safetensors", tensor: name, dtype: tensor.dtype.name)
        }
        tensors.append((name, tensor))
    }

    /// Refuses data out of all proportion to the storages: expanded tensors can stand for any number of bytes.
    func checkDataSize(limit: Int?) throws(InteropError) {
        let storages = Set(tensors.map(\.tensor.storage)).reduce(0) { saturating($0, $1.byteCount) }
        let (product, overflow) = storages.multipliedReportingOverflow(by: 1024)
        let limit = limit ?? saturating(overflow ? .max : product, 64 << 30)
        let size = tensors.reduce(0) { saturating($0, $1.tensor.layout.byteCount) }
        guard size <= limit else {
            throw .limitExceeded(
                file: file, what: "the size of the data, in bytes,", limit: limit,
                found: size == .max ? "more than 2^63" : "\(size) (over storages of \(storages))")
        }
    }

    // MARK: Metadata

    /// The metadata as strings.
    mutating func notes(of metadata: StateTree) throws -> [SafetensorsHeader.Note] {
        guard case .dictionary(let entries) = metadata else {
            throw InteropError.invalidTree(path: "", reason: "metadata has to be a dictionary")
        }
        if let tensor = metadata.tensors.first {
            throw InteropError.invalidTree(path: tensor.path.flatName, reason: "metadata can't hold tensors")
        }
        var notes: [SafetensorsHeader.Note] = []
        var keys: Set<StateKey> = []
        for (key, value) in entries {
            let name = key.description
            if name == ModuleVersions.key, case let modules = ModuleVersions.read(from: metadata), !modules.isEmpty {
                notes.append(SafetensorsHeader.Note(key: name, value: ModulesNote.text(modules)))
                continue
            }
            if SafetensorsHeader.isReserved(name) {
                report.dropped.append("metadata \(quoted(name)): a key that NNStore keeps for itself")
                continue
            }
            guard keys.insert(.text(name)).inserted else {
                let paths = ["[\"\(name)\"]", "[\(name)]"]
                throw InteropError.ambiguousName(file: file, name: "metadata " + name, paths: paths)
            }
            if case .integer = key {
                report.converted.append("metadata \(quoted(name)): the integer key became a text")
            }
            notes.append(SafetensorsHeader.Note(key: name, value: try text(of: value, name)))
        }
        return notes
    }

    private mutating func text(of value: StateTree, _ name: String) throws(InteropError) -> String {
        if case .string(let text) = value { return text }
        let json = try JSONValue(value)
        let text = if case .string(let text) = json { text } else { json.text() }
        report.converted.append("metadata \(quoted(name)): \(value.plainKind) became the text \(quoted(text))")
        return text
    }

    // MARK: Sharing

    /// The groups to note: over the storages that tensors share.
    mutating func aliasGroups() throws(StoreError) -> [AliasGroup] {
        var groups: [AliasGroup] = []
        for numbers in shared {
            let members = numbers.map { AliasGroup.Member(entry: $0, layout: tensors[$0].tensor.layout) }
            let group = try AliasGroup(byteCount: 0, members: members).normalised()
            let dataSize = members.reduce(0) { saturating($0, $1.layout.byteCount) }
            guard group.byteCount <= AliasGroup.maximumByteCount(dataSize: dataSize) else {
                let names = numbers.map { quoted(tensors[$0].name) }.joined(separator: ", ")
                report.converted.append(
                    "\(names): share a storage of which they see less than a 64th, too little to note; "
                        + "they became tensors of their own")
                continue
            }
            groups.append(group)
        }
        return groups
    }
}

private func saturating(_ left: Int, _ right: Int) -> Int {
    let (sum, overflow) = left.addingReportingOverflow(right)
    return overflow ? .max : sum
}

extension StateTree {
    /// What messages call a value that a format can't hold.
    var plainKind: String {
        switch self {
        case .dictionary: "a dictionary"
        case .list: "a list"
        case .tuple: "a tuple"
        case .record: "a record"
        case .tensor: "a tensor"
        case .null: "null"
        case .boolean(let value): "the boolean \(value)"
        case .integer(let value): "the integer \(value.description.prefix(40))"
        case .double(let value): "the double \(value)"
        case .string: "a string"
        case .bytes(let bytes): "\(bytes.count) bytes"
        case .scalar(let value): "a scalar of \(value.dtype)"
        case .array(let value): "an array of \(value.count) elements of \(value.dtype)"
        case .strings(let texts): "an array of \(texts.count) strings"
        }
    }
}
