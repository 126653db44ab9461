import NNStore

/// Makes a state tree of what a pickle of PyTorch's says. Calls are recognised by their names and carried out by this code, or not
/// at all.
struct TorchInterpreter {
    let graph: PickleGraph
    /// What messages call the pickle.
    let name: String
    let options: OpenOptions
    let storages: any TorchStorages
    /// Types and versions of modules, by the path of what they belong to.
    var modules: [ModuleVersions.Module] = []
    /// Tensors by their nodes: what is there twice is the same tensor.
    var tensors: [Int: StateTree] = [:]
    var storageCache: [StorageIdentity: Storage] = [:]
    /// Attributes of dictionaries that are more than versions of modules, by the paths of the dictionaries.
    var attributes = StateDictionary()
    private var modulePaths: Set<StateKey> = []
    /// Where in the tree the object is that is being made, for messages.
    private var place = StatePath()
    /// Pickles inside the pickle, by their nodes.
    var nested: [Int: (reference: TorchStorageReference, storages: any TorchStorages)] = [:]
    /// How many bytes the tensors stand for.
    private var logicalByteCount = 0
    private let maximumLogicalByteCount: Int
    private var nameByteCount = 0
    /// Objects that are reached from inside of themselves: each is written out where it is met first.
    private let selfReferring: Set<Int>
    private var firstPaths: [Int: StatePath] = [:]
    /// What is written out is what was counted, or a second time at most: objects that refer back are met in another order.
    private let maximumSteps: Int
    private var steps = 0
    private let maximumNameByteCount: Int

    /// - Parameter fileSize: the size of the file in bytes.
    init(
        _ graph: PickleGraph, name: String, expansion: PickleExpansion, storages: any TorchStorages,
        options: OpenOptions, fileSize: Int
    ) {
        self.graph = graph
        self.name = name
        self.storages = storages
        selfReferring = expansion.selfReferring
        maximumSteps = saturating(1 << 16, saturating(expansion.valueCount, expansion.valueCount))
        self.options = options
        maximumLogicalByteCount = options.maximumLogicalByteCount(fileSize: fileSize)
        maximumNameByteCount = options.maximumLogicalByteCount ?? saturating(16 << 20, min(fileSize, 1 << 50) * 16)
    }

    /// The tree of the whole pickle.
    mutating func tree() throws -> StateTree { try tree(graph.root, StatePath()) }

    // MARK: Errors

    func error(_ problem: PickleProblem) -> InteropError { .invalidPickle(file: name, problem) }

    /// What is wrong with the value that a node stands for, which is made for ``place``.
    func fail(_ number: Int, _ type: String, _ problem: String) -> InteropError {
        let what = place.keys.isEmpty ? type : "\(quoted(place.flatName)), \(type)"
        return error(.value(offset: graph.nodes[number].offset, type: what, problem: problem))
    }

    // MARK: Values

    mutating func tree(_ value: PickleValue, _ path: StatePath) throws -> StateTree {
        guard path.keys.count <= StateTree.maximumDepth else {
            var offset = 0
            if case .node(let number) = value { offset = graph.nodes[number].offset }
            throw error(.depth(offset: offset))
        }
        switch value {
        case .none: return .null
        case .boolean(let value): return .boolean(value)
        case .integer(let value): return .integer(value)
        case .double(let value): return .double(value)
        case .text(let text): return .string(text)
        case .brokenText(let bytes): return .record(type: "builtins.str", StateDictionary([("utf8", .bytes(bytes))]))
        case .byteString(let bytes): return .string(PickleValue.text(bytes))
        case .bytes(let bytes): return .bytes(bytes)
        case .global(let number): return self.global(graph.globals[number])
        case .node(let number): return try tree(ofNode: number, path)
        }
    }

    private mutating func tree(ofNode number: Int, _ path: StatePath) throws -> StateTree {
        let node = graph.nodes[number]
        switch node.kind {
        case .list: return .list(try elements(node.elements, path))
        case .tuple: return .tuple(try elements(node.elements, path))
        case .dictionary: return try dictionary(node.pairs, tag: nil, path)
        case .set: return .record(type: "builtins.set", try numbered(node.elements, path))
        case .frozenSet: return .record(type: "builtins.frozenset", try numbered(node.elements, path))
        case .persistent: return try bareStorage(number)
        case .object(let callee, let keywords): return try object(number, node, callee, keywords, path)
        }
    }

    private func global(_ global: PickleGlobal) -> StateTree {
        if global.module == "torch", let dtype = TorchDType(named: global.name) {
            return .record(type: "torch.dtype", StateDictionary([("name", .string(dtype.name))]))
        }
        return .record(type: "builtins.type", StateDictionary([("name", .string(global.qualifiedName))]))
    }

    mutating func elements(_ values: [PickleValue], _ path: StatePath) throws -> [StateTree] {
        var trees: [StateTree] = []
        trees.reserveCapacity(values.count)
        for (index, value) in values.enumerated() {
            trees.append(try tree(value, value.isNode ? path.appending(.integer(index)) : path))
        }
        return trees
    }

    private mutating func numbered(_ values: [PickleValue], _ path: StatePath) throws -> StateDictionary {
        StateDictionary(keyed: try elements(values, path).enumerated().map { (.integer($0.offset), $0.element) })
    }

    /// A dictionary, or, where a key is neither a text nor an integer of 64 bits, a record of pairs.
    mutating func dictionary(
        _ pairs: [PickleGraph.Pair], tag: String?, _ path: StatePath
    ) throws -> StateTree {
        let keys = pairs.map { TorchInterpreter.key($0.key) }
        if keys.contains(where: { $0 == nil }) {
            var parts = StateDictionary()
            for (index, pair) in pairs.enumerated() {
                let path = path.appending(.integer(index))
                parts[.integer(index)] = .tuple(try elements([pair.key, pair.value], path))
            }
            return .record(type: tag ?? "builtins.dict", parts)
        }
        var entries = StateDictionary(tag: tag)
        for (key, pair) in zip(keys, pairs) {
            guard let key else { continue }
            // As in Python: the place of the first, the value of the last.
            entries[key] = try tree(pair.value, pair.value.isNode ? path.appending(key) : path)
        }
        return .dictionary(entries)
    }

    private static func key(_ value: PickleValue) -> StateKey? {
        if let text = value.text { return .text(text) }
        if case .integer(let integer) = value { return integer.int.map { .integer($0) } }
        return nil
    }

    // MARK: Objects

    private mutating func object(
        _ number: Int, _ node: PickleGraph.Node, _ callee: PickleValue, _ keywords: PickleValue?, _ path: StatePath
    ) throws -> StateTree {
        if selfReferring.contains(number) {
            if let first = firstPaths[number] {
                return .record(type: "reference", StateDictionary([("path", .string(first.flatName))]))
            }
            firstPaths[number] = path
        }
        steps += 1
        guard steps <= maximumSteps || selfReferring.isEmpty else {
            throw InteropError.limitExceeded(
                file: name, what: "the number of values that objects which refer back stand for", limit: maximumSteps,
                found: "more")
        }
        guard let global = classOrFunction(callee) else {
            throw fail(number, "a call", "it calls something that is no name; nothing was run")
        }
        guard TorchGlobals.isKnown(global) else { return try record(number, node, global, keywords, path) }
        place = path
        if keywords != nil { throw fail(number, global.qualifiedName, "it has keyword arguments, which it never has") }
        if let tree = tensors[number] {
            try count(tree)
            try countName(path)
            return tree
        }
        if let tensor = try tensorLike(number, node, global, path) {
            // What was counted while it was made is counted.
            tensors[number] = tensor
            try countName(path)
            return tensor
        }
        return try plainObject(number, node, global, path)
    }

    /// What is called: a name, or a class of modules as legacy files have it, with its source: ("module", class, file, source).
    private func classOrFunction(_ callee: PickleValue) -> PickleGlobal? {
        if let global = global(callee) { return global }
        guard case .node(let number) = callee, case .persistent(.node(let identity)) = graph.nodes[number].kind else {
            return nil
        }
        let parts = graph.nodes[identity].elements
        return parts.count == 4 && parts[0].text == "module" ? global(parts[1]) : nil
    }

    /// Notes that a tensor stands for so many bytes.
    mutating func count(_ layout: TensorLayout) throws {
        logicalByteCount = saturating(logicalByteCount, layout.byteCount)
        guard logicalByteCount <= maximumLogicalByteCount else {
            throw InteropError.limitExceeded(
                file: name, what: "the bytes that tensors stand for (ckpt-tool: --max-logical-bytes)",
                limit: maximumLogicalByteCount,
                found: logicalByteCount == .max ? "more than 2^63" : "\(logicalByteCount)")
        }
    }

    /// Notes that a tensor has a name: a long key stands in the names of all tensors below it.
    private mutating func countName(_ path: StatePath) throws {
        for case .text(let text) in path.keys { nameByteCount += text.utf8.count + 1 }
        guard nameByteCount <= maximumNameByteCount else {
            throw InteropError.limitExceeded(
                file: name, what: "the bytes of all tensors' names (ckpt-tool: --max-logical-bytes)",
                limit: maximumNameByteCount, found: "more")
        }
    }

    private mutating func count(_ tree: StateTree) throws {
        for (_, tensor) in tree.tensors { try count(tensor.layout) }
    }

    private mutating func plainObject(
        _ number: Int, _ node: PickleGraph.Node, _ global: PickleGlobal, _ path: StatePath
    ) throws -> StateTree {
        let type = global.qualifiedName
        let arguments = node.arguments
        func noState() throws {
            guard node.states.isEmpty, node.elements.isEmpty, node.pairs.isEmpty else {
                throw fail(number, type, "it is given a state or parts, which it never has")
            }
        }
        switch type {
        case "collections.OrderedDict", "collections.Counter", "collections.defaultdict":
            return try orderedDictionary(number, node, global, path)
        case "torch.Size":
            try noState()
            guard arguments.count <= 1 else { throw fail(number, type, "it has \(arguments.count) arguments") }
            return .tuple(try elements(try sequence(arguments.first, number, type), path), tag: "torch.Size")
        case "torch.device":
            try noState()
            guard (1...2).contains(arguments.count) else {
                throw fail(number, type, "it has \(arguments.count) arguments")
            }
            return .record(type: type, try described(["type", "index"], arguments, path))
        case "_codecs.encode":
            try noState()
            return .bytes(try encoded(arguments, number))
        case "builtins.bytes", "builtins.bytearray":
            try noState()
            return .bytes(try bytes(arguments, number, type))
        case "builtins.set", "builtins.frozenset":
            guard node.states.isEmpty, node.pairs.isEmpty, arguments.count <= 1 else {
                throw fail(number, type, "it has parts that it never has")
            }
            let members = try sequence(arguments.first, number, type) + node.elements
            return .record(type: type, try numbered(members, path))
        case "builtins.complex", "builtins.slice", "builtins.range", "builtins.xrange":
            try noState()
            let names = type == "builtins.complex" ? ["real", "imag"] : ["start", "stop", "step"]
            guard arguments.count <= names.count else {
                throw fail(number, type, "it has \(arguments.count) arguments")
            }
            return .record(
                type: type == "builtins.xrange" ? "builtins.range" : type, try described(names, arguments, path))
        case "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar":
            try noState()
            return try numPyScalar(number, arguments)
        case "torch.jit._pickle.build_intlist", "torch.jit._pickle.build_doublelist",
            "torch.jit._pickle.build_boollist",
            "torch.jit._pickle.build_tensorlist", "torch.jit._pickle.restore_type_tag":
            // The value itself, which TorchScript is told the type of.
            try noState()
            guard let value = arguments.first else { throw fail(number, type, "it has no value") }
            return try tree(value, path)
        case "torch.serialization._get_layout":
            try noState()
            guard arguments.count == 1, let layout = arguments[0].text else {
                throw fail(number, type, "it names no layout")
            }
            return .record(type: "torch.layout", StateDictionary([("name", .string(layout))]))
        case "numpy.dtype":
            let element = try numPyElement(.node(number), at: number)
            return .record(type: type, StateDictionary([("name", .string(element.name))]))
        default:
            throw fail(number, type, "it is called in a way that it never is")
        }
    }

    private mutating func orderedDictionary(
        _ number: Int, _ node: PickleGraph.Node, _ global: PickleGlobal, _ path: StatePath
    ) throws -> StateTree {
        let type = global.qualifiedName
        var tag = type
        var arguments = node.arguments[...]
        if type == "collections.defaultdict", let factory = arguments.first {
            arguments = arguments.dropFirst()
            switch factory {
            case .none: break
            case .global(let index): tag = "\(type)(\(graph.globals[index].qualifiedName))"
            default: throw fail(number, type, "its factory is no name")
            }
        }
        guard arguments.count <= 1, node.elements.isEmpty else {
            throw fail(number, type, "it has parts that it never has")
        }
        var pairs: [PickleGraph.Pair] = []
        if let first = arguments.first { pairs = try self.pairs(first, number, type) }
        pairs += node.pairs
        try readAttributes(node.states, number, type, path)
        return try dictionary(pairs, tag: tag, path)
    }

    /// Entries given as a list of pairs, or as a dictionary.
    private func pairs(_ value: PickleValue, _ number: Int, _ type: String) throws -> [PickleGraph.Pair] {
        if case .node(let index) = value, case .dictionary = graph.nodes[index].kind { return graph.nodes[index].pairs }
        return try sequence(value, number, type).map { entry in
            let parts = try sequence(entry, number, type)
            guard parts.count == 2 else { throw fail(number, type, "an entry of it is no pair") }
            return PickleGraph.Pair(key: parts[0], value: parts[1])
        }
    }

    /// What a dictionary was given as an object: of a state dict `_metadata`, which has the versions of its modules. What is more
    /// than that is kept as it is.
    private mutating func readAttributes(
        _ states: [PickleValue], _ number: Int, _ type: String, _ path: StatePath
    ) throws {
        if states.isEmpty { return }
        let all = try elements(states, path.appending("attributes"))
        // A dictionary, or a pair of one and what stands in slots.
        func isState(_ tree: StateTree) -> Bool {
            if case .dictionary = tree { return true }
            if case .tuple(let parts, nil) = tree { return parts.count == 2 && parts.allSatisfy(isState) }
            return tree.isNothing
        }
        guard all.allSatisfy(isState) else {
            throw fail(number, type, "it is given attributes that are no dictionary")
        }
        let trees = all.filter { !$0.isNothing }
        if trees.count == 1, let versions = trees[0].moduleVersions {
            let prefix = path.flatName
            let own = versions.map { name, version in
                let separator = prefix.isEmpty || name.isEmpty ? "" : "."
                return ModuleVersions.Module(path: prefix + separator + name, type: "", version: version)
            }
            // Two state dicts of which one stands where the other has a module have one path for two modules.
            if own.allSatisfy({ !modulePaths.contains(.text($0.path)) }) {
                modules += own
                return modulePaths.formUnion(own.map { .text($0.path) })
            }
        }
        if !trees.isEmpty { attributes[.text(path.description)] = trees.count == 1 ? trees[0] : .list(trees) }
    }

    /// An object of a type that is not known, if such are to be kept: its parts are there, its type is a name.
    mutating func record(
        _ number: Int, _ node: PickleGraph.Node, _ global: PickleGlobal, _ keywords: PickleValue?, _ path: StatePath
    ) throws -> StateTree {
        var type = global.qualifiedName
        var arguments = node.arguments
        // What classes without a function of their own are made by: the class is the first argument.
        if type == "copyreg._reconstructor" || type == "copyreg.__newobj__", case .global(let index)? = arguments.first
        {
            type = graph.globals[index].qualifiedName
            arguments = type == "copyreg._reconstructor" ? Array(arguments.dropFirst(3)) : Array(arguments.dropFirst())
            if global.name == "_reconstructor" { arguments = [] }
        }
        // An object that only has attributes: they are its parts.
        if arguments.isEmpty, keywords == nil, node.elements.isEmpty, node.pairs.isEmpty, node.states.count == 1,
            case .node(let state) = node.states[0], case .dictionary = graph.nodes[state].kind
        {
            switch try dictionary(graph.nodes[state].pairs, tag: nil, path) {
            case .dictionary(let entries):
                return .record(type: type, StateDictionary(keyed: entries.map { ($0.key, $0.value) }))
            case let pairs: return .record(type: type, StateDictionary([("state", pairs)]))
            }
        }
        var parts = StateDictionary()
        if !arguments.isEmpty {
            parts["arguments"] = .tuple(try elements(arguments, path.appending("arguments")))
        }
        if let keywords { parts["keywords"] = try tree(keywords, path.appending("keywords")) }
        for (index, state) in node.states.enumerated() {
            let key = index == 0 ? "state" : "state\(index + 1)"
            parts[key] = try tree(state, path.appending(.text(key)))
        }
        if !node.elements.isEmpty {
            parts["elements"] = .list(try elements(node.elements, path.appending("elements")))
        }
        if !node.pairs.isEmpty { parts["entries"] = try dictionary(node.pairs, tag: nil, path.appending("entries")) }
        return .record(type: type, parts)
    }
}

extension StatePath {
    func appending(_ key: StateKey) -> StatePath { StatePath(keys + [key]) }
}

extension StateTree {
    /// The versions of modules, if this is `{"_metadata": {path: {"version": version}}}` and nothing else.
    fileprivate var moduleVersions: [(name: String, version: Int)]? {
        guard children.count == 1, case .dictionary(let entries)? = self["_metadata"] else { return nil }
        var versions: [(name: String, version: Int)] = []
        for (key, facts) in entries {
            guard let name = key.text, case .dictionary(let facts) = facts, facts.count == 1,
                let version = facts["version"]?.int
            else { return nil }
            versions.append((name, version))
        }
        return versions
    }
}
