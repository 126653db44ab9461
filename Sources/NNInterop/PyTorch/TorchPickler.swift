import NNStore

/// Writes a state tree as the pickle of a PyTorch file.
struct TorchPickler {
    var report = ExportReport()
    var writer = PickleWriter()
    let plan: SavePlan
    let file: String
    private var modules: [ModuleVersions.Module]
    private var modulePaths: Set<StateKey>
    /// What dictionaries have as objects beside the versions of modules, by their paths.
    private let attributes: StateDictionary
    private var writtenAttributes: Set<StateKey> = []
    /// Storages that tensors of several dtypes look into, which only an untyped storage can be.
    let untyped: Set<Storage>

    init(_ plan: SavePlan, modules: [ModuleVersions.Module], attributes: StateDictionary, file: String) {
        self.plan = plan
        self.modules = modules
        self.attributes = attributes
        modulePaths = Set(modules.map { .text($0.path) })
        self.file = file
        untyped = plan.storagesOfSeveralDTypes
    }

    var bytes: [UInt8] { writer.bytes }

    mutating func write(_ state: StateTree) throws {
        try write(state, StatePath())
        writer.finish()
        if let unused = attributes.keys.first(where: { !writtenAttributes.contains($0) }) {
            report.dropped.append(
                "attributes of \(attributes.count - writtenAttributes.count) dictionaries: \(quoted(unused.description)) and what follows it are none of the state"
            )
        }
        if let module = modules.first {
            report.dropped.append(
                "versions of \(modules.count) modules: \(quoted(module.path)) and what follows it belong to no dictionary of the state"
            )
        }
    }

    static func place(_ path: StatePath) -> String { path.keys.isEmpty ? "the root" : quoted(path.flatName) }

    mutating func note(_ path: StatePath, _ node: StateTree, became what: String) {
        report.converted.append("\(TorchPickler.place(path)): \(node.plainKind) became \(what)")
    }

    mutating func write(_ node: StateTree, _ path: StatePath) throws {
        guard path.keys.count <= StateTree.maximumDepth else {
            throw InteropError.invalidTree(path: "", reason: "it is deeper than \(StateTree.maximumDepth) levels")
        }
        switch node {
        case .null: writer.operation(.none)
        case .boolean(let value): writer.boolean(value)
        case .integer(let value):
            if !writer.integer(value) {
                writer.text(value.description)
                note(path, node, became: "a text, since it has more than 255 bytes")
            }
        case .double(let value): writer.double(value)
        case .string(let text): writer.text(text)
        case .bytes(let bytes): writeBytes(bytes)
        case .scalar(let value): try writeScalar(value, node, path)
        case .array(let value):
            try writeList(value.plainElements, path)
            note(path, node, became: "a list")
        case .strings(let texts): try writeList(texts.map { .string($0) }, path)
        case .list(let elements, let tag):
            try writeList(elements, path)
            if let tag { report.converted.append("\(TorchPickler.place(path)): a \(quoted(tag)) became a list") }
        case .tuple(let elements, let tag): try writeTuple(elements, tag: tag, path)
        case .dictionary(let entries): try writeDictionary(entries, path)
        case .record(let type, let parts): try writeRecord(type, parts, node, path)
        case .tensor(let tensor): try write(tensor, path)
        }
    }

    // MARK: Plain values

    private mutating func writeBytes(_ bytes: [UInt8]) {
        writer.global("_codecs", "encode")
        writer.text(PickleValue.latin1(bytes))
        writer.text("latin1")
        writer.operation(.tuple2)
        writer.operation(.reduce)
    }

    private mutating func writeScalar(_ value: TypedValue, _ node: StateTree, _ path: StatePath) throws {
        let element = value.plainElements.first ?? .null
        try write(element, path)
        note(path, node, became: element.plainKind)
    }

    private mutating func writeList(_ elements: [StateTree], _ path: StatePath) throws {
        writer.operation(.emptyList)
        if elements.isEmpty { return }
        writer.operation(.mark)
        for (index, element) in elements.enumerated() { try write(element, path.appending(.integer(index))) }
        writer.operation(.appends)
    }

    mutating func writeTuple(_ elements: [StateTree], tag: String?, _ path: StatePath) throws {
        let isSize = tag == "torch.Size"
        if isSize { writer.global("torch", "Size") }
        writer.operation(.mark)
        for (index, element) in elements.enumerated() { try write(element, path.appending(.integer(index))) }
        writer.operation(.tuple)
        if isSize {
            writer.operation(.tuple1)
            writer.operation(.reduce)
        } else if let tag {
            report.converted.append("\(TorchPickler.place(path)): a \(quoted(tag)) became a tuple")
        }
    }

    // MARK: Dictionaries

    private mutating func writeDictionary(_ entries: StateDictionary, _ path: StatePath) throws {
        let attributes = takeAttributes(at: path)
        let versions = attributes == nil ? takeModules(below: path) : []
        let kind = entries.tag ?? ""
        // Only a dictionary with attributes can have versions.
        if kind == "collections.OrderedDict" || kind == "collections.Counter" || !versions.isEmpty
            || attributes != nil
        {
            writer.global("collections", kind == "collections.Counter" ? "Counter" : "OrderedDict")
            writer.operation(.emptyTuple)
            writer.operation(.reduce)
        } else {
            writer.operation(.emptyDict)
            if !kind.isEmpty {
                report.converted.append("\(TorchPickler.place(path)): a \(quoted(kind)) became a dictionary")
            }
        }
        if !entries.isEmpty {
            writer.operation(.mark)
            for (key, value) in entries {
                write(key)
                try write(value, path.appending(key))
            }
            writer.operation(.setItems)
        }
        if !versions.isEmpty { write(versions, below: path) }
        for state in attributes ?? [] {
            try write(state, path.appending("attributes"))
            writer.operation(.build)
        }
    }

    /// What the dictionary at `path` was given as an object, in order, if that is noted.
    private mutating func takeAttributes(at path: StatePath) -> [StateTree]? {
        if attributes.isEmpty { return nil }
        let key = StateKey.text(path.description)
        guard let noted = attributes[key], writtenAttributes.insert(key).inserted else { return nil }
        if case .list(let states, nil) = noted { return states }
        return [noted]
    }

    private mutating func write(_ key: StateKey) {
        switch key {
        case .text(let text): writer.text(text)
        case .integer(let value): writer.integer(value)
        }
    }

    /// The modules whose versions belong to the dictionary at `path`: it is itself one, and no dictionary around it was.
    private mutating func takeModules(below path: StatePath) -> [ModuleVersions.Module] {
        if modules.isEmpty { return [] }
        let name = path.flatName
        guard modulePaths.contains(.text(name)) else { return [] }
        let prefix = name.isEmpty ? "" : name + "."
        func isBelow(_ module: ModuleVersions.Module) -> Bool {
            module.path.utf8.elementsEqual(name.utf8) || module.path.utf8.starts(with: prefix.utf8)
        }
        let taken = modules.filter(isBelow)
        modules.removeAll(where: isBelow)
        modulePaths.subtract(taken.map { .text($0.path) })
        return taken
    }

    /// `_metadata` of a state dict: by the path of each module its version.
    private mutating func write(_ versions: [ModuleVersions.Module], below path: StatePath) {
        let prefix = path.keys.isEmpty ? 0 : path.flatName.utf8.count + 1
        writer.operation(.emptyDict)
        writer.text("_metadata")
        writer.global("collections", "OrderedDict")
        writer.operation(.emptyTuple)
        writer.operation(.reduce)
        writer.operation(.mark)
        for module in versions {
            writer.text(String(decoding: module.path.utf8.dropFirst(prefix), as: UTF8.self))
            writer.operation(.emptyDict)
            writer.text("version")
            writer.integer(module.version)
            writer.operation(.setItem)
        }
        writer.operation(.setItems)
        writer.operation(.setItem)
        writer.operation(.build)
    }

    // MARK: Records

    private mutating func writeRecord(
        _ type: String, _ parts: StateDictionary, _ node: StateTree, _ path: StatePath
    ) throws {
        switch type {
        case "builtins.dict", "collections.OrderedDict", "collections.Counter":
            // Python wants keys that never change.
            guard parts.allSatisfy({ $0.value.pair?[0].canBeKey == true }) else { break }
            if type == "builtins.dict" {
                writer.operation(.emptyDict)
            } else {
                writer.global("collections", String(type.dropFirst("collections.".count)))
                writer.operation(.emptyTuple)
                writer.operation(.reduce)
            }
            writer.operation(.mark)
            for (key, part) in parts {
                for (index, half) in part.pair!.enumerated() {
                    try write(half, path.appending(key).appending(.integer(index)))
                }
            }
            return writer.operation(.setItems)
        case "builtins.complex":
            guard let real = parts["real"]?.double, let imaginary = parts["imag"]?.double else { break }
            writer.global("__builtin__", "complex")
            writer.double(real)
            writer.double(imaginary)
            writer.operation(.tuple2)
            return writer.operation(.reduce)
        case "builtins.set":
            guard parts.allSatisfy({ $0.value.canBeKey }) else { break }
            writer.global("__builtin__", "set")
            try writeList(parts.map(\.value), path)
            writer.operation(.tuple1)
            return writer.operation(.reduce)
        case "builtins.str":
            guard case .bytes(let bytes)? = parts["utf8"], parts.count == 1 else { break }
            return writer.brokenText(bytes)
        case "torch.device":
            guard case .string(let kind)? = parts["type"] else { break }
            writer.global("torch", "device")
            writer.text(kind)
            if let index = parts["index"]?.int { writer.integer(index) }
            writer.operation(parts["index"]?.int == nil ? .tuple1 : .tuple2)
            return writer.operation(.reduce)
        case "torch.dtype":
            guard case .string(let name)? = parts["name"], let dtype = TorchDType(named: name) else { break }
            return writer.global("torch", dtype.name)
        default:
            if try writeSpecialTensor(type, parts, path) { return }
        }
        report.converted.append("\(TorchPickler.place(path)): a record of type \(quoted(type)) became a dictionary")
        try writeDictionary(StateDictionary(keyed: parts.map { ($0.key, $0.value) }), path)
    }
}

extension StateTree {
    /// Whether it is written as something that Python takes as a key or a member of a set.
    fileprivate var canBeKey: Bool {
        switch self {
        case .null, .boolean, .integer, .double, .string, .bytes: true
        case .tuple(let elements, _): elements.allSatisfy(\.canBeKey)
        case .record(let type, _): ["builtins.complex", "builtins.str", "torch.device", "torch.dtype"].contains(type)
        default: false
        }
    }

    /// The two elements, if this is a pair.
    fileprivate var pair: [StateTree]? {
        if case .tuple(let elements, nil) = self, elements.count == 2 { elements } else { nil }
    }
}
