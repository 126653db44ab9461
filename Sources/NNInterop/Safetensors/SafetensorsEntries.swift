import NNStore

/// What of a state tree and its metadata goes into a safetensors file, and what does not.
struct SafetensorsEntries {
    private(set) var flat: FlatEntries

    /// The entries of a tree.
    ///
    /// - Parameter file: what messages call the destination.
    init(_ state: StateTree, file: String) throws {
        flat = try FlatEntries(
            state, file: file,
            FlatEntries.Rules(
                format: "safetensors", accepts: { SafetensorsHeader.dtypes[$0.name] == $0 },
                reservedName: SafetensorsHeader.metadataKey))
    }

    private var file: String { flat.file }

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
                flat.report.dropped.append("metadata \(quoted(name)): a key that NNStore keeps for itself")
                continue
            }
            guard keys.insert(.text(name)).inserted else {
                let paths = ["[\"\(name)\"]", "[\(name)]"]
                throw InteropError.ambiguousName(file: file, name: "metadata " + name, paths: paths)
            }
            if case .integer = key {
                flat.report.converted.append("metadata \(quoted(name)): the integer key became a text")
            }
            notes.append(SafetensorsHeader.Note(key: name, value: try text(of: value, name)))
        }
        return notes
    }

    private mutating func text(of value: StateTree, _ name: String) throws(InteropError) -> String {
        if case .string(let text) = value { return text }
        let json = try JSONValue(value)
        let text = if case .string(let text) = json { text } else { json.text() }
        flat.report.converted.append("metadata \(quoted(name)): \(value.plainKind) became the text \(quoted(text))")
        return text
    }

    // MARK: Sharing

    /// The groups to note: over the storages that tensors share.
    mutating func aliasGroups() throws(StoreError) -> [AliasGroup] {
        var groups: [AliasGroup] = []
        for numbers in flat.shared {
            let members = numbers.map { AliasGroup.Member(entry: $0, layout: flat.tensors[$0].tensor.layout) }
            let group = try AliasGroup(byteCount: 0, members: members).normalised()
            let dataSize = members.reduce(0) { saturating($0, $1.layout.byteCount) }
            guard group.byteCount <= AliasGroup.maximumByteCount(dataSize: dataSize) else {
                let names = numbers.map { quoted(flat.tensors[$0].name) }.joined(separator: ", ")
                flat.report.converted.append(
                    "\(names): share a storage of which they see less than a 64th, too little to note; "
                        + "they became tensors of their own")
                continue
            }
            groups.append(group)
        }
        return groups
    }
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
