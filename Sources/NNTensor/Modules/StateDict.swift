import NNStore
import OrderedCollections

/// The values of a module's parameters and buffers by name, with the types and versions of the modules that they belong to.
///
/// The tensors look into the module's own memory: they change as it learns. ``clone()`` makes a copy that stays.
public struct StateDict {
    /// A module's type and the version of its entries.
    public struct ModuleVersion: Sendable, Hashable {
        /// The name of the type.
        public var type: String
        /// See ``Module/stateVersion``.
        public var version: Int

        /// A type and a version.
        public init(type: String, version: Int) {
            self.type = type
            self.version = version
        }
    }

    private var tensors: OrderedDictionary<String, Tensor?> = [:]

    /// Whether tensors that were one at the source are one here, and no others. Files of formats that can't express it
    /// give ``NNStore/Sharing/unknown``: equal values may have been one then.
    public var sharing = Sharing.known

    /// The file that the entries come from.
    var file: String?
    /// Whether a migration changed anything.
    var isMigrated = false
    /// The names of what is no tensor where the entries come from.
    var otherNames: [String] = []

    /// The modules by their paths; the outermost one's is empty.
    public var modules: OrderedDictionary<String, ModuleVersion> = [:]

    /// Nothing.
    public init() {}

    /// Entries in order; a later one of the same name replaces an earlier one.
    public init(_ entries: [(name: String, tensor: Tensor?)]) {
        for (name, tensor) in entries { tensors[name] = .some(tensor) }
    }

    /// The entries of a tree: tensors, and null for what has no value; inside of other dictionaries, by their paths.
    ///
    /// - Throws: ``TensorError/invalidArgument(operation:reason:)`` if there is anything else.
    public init(_ tree: StateTree) throws {
        try add(tree, "", listsToo: false)
        if case .dictionary = tree, otherNames.isEmpty { return }
        throw TensorError.invalidArgument(
            operation: "StateDict",
            reason: (otherNames.first.map { "\"\($0)\"" } ?? "the tree")
                + " is neither a tensor nor a dictionary of tensors")
    }

    /// The tensors of a tree by their flat names, and the names of what is none.
    ///
    /// - Throws: ``TensorError/invalidArgument(operation:reason:)`` if two tensors have one flat name.
    init(tensorsOf tree: StateTree) throws { try add(tree, "", listsToo: true) }

    private mutating func add(_ tree: StateTree, _ path: String, listsToo: Bool) throws {
        switch tree {
        case .tensor(let tensor):
            guard tensors[path] == nil else {
                throw TensorError.invalidArgument(
                    operation: "StateDict", reason: "two tensors have the name \"\(path)\"")
            }
            tensors[path] = .some(try Tensor(storage: tensor.storage, layout: tensor.layout))
        case .null where !path.isEmpty: tensors[path] = .some(nil)
        case .list, .tuple:
            guard listsToo else { return otherNames.append(path) }
            fallthrough
        case .dictionary:
            for (key, child) in tree.children {
                try add(child, path.joined(key.description), listsToo: listsToo)
            }
        default: otherNames.append(path)
        }
    }

    /// The names in order.
    public var keys: [String] { Array(tensors.keys) }

    /// The number of entries.
    public var count: Int { tensors.count }

    /// Names and values in order; the value of a parameter that has none yet is `nil`.
    public var entries: [(name: String, tensor: Tensor?)] { tensors.map { ($0.key, $0.value) } }

    /// Whether there is an entry, be it one without a value.
    public func contains(_ name: String) -> Bool { tensors[name] != nil }

    /// The same entries in other places, under other names; those that get none are left out.
    ///
    /// - Throws: ``TensorError/invalidArgument(operation:reason:)`` if two entries get one name; what `rename` throws.
    public func renamed(_ rename: (String) throws -> String?) throws -> StateDict {
        var renamed = StateDict()
        (renamed.sharing, renamed.file, renamed.isMigrated) = (sharing, file, isMigrated)
        // The old names by the new ones.
        var places: [String: String] = [:]
        for (name, tensor) in tensors {
            guard let new = try rename(name) else { continue }
            if let other = places.updateValue(name, forKey: new) {
                throw TensorError.invalidArgument(
                    operation: "StateDict.renamed", reason: "both \"\(other)\" and \"\(name)\" become \"\(new)\"")
            }
            renamed.tensors[new] = .some(tensor)
        }
        renamed.otherNames = try otherNames.compactMap(rename)
        // A module goes where its entries go: the first one of which all that changes is what stands before its name in the
        // module tells. If there is none, it stays, as long as an entry does.
        var moved: [String: String] = [:]
        var staying = Set<String>()
        for new in renamed.tensors.keys {
            guard let old = places[new] else { continue }
            for path in old.enclosingPaths where modules[path] != nil && moved[path] == nil {
                let rest = path.isEmpty ? old[...] : old.dropFirst(path.count + 1)
                if new == rest {
                    moved[path] = ""
                } else if new.hasSuffix("." + rest) {
                    moved[path] = String(new.dropLast(rest.count + 1))
                } else if path.isEmpty || new.hasPrefix(path + ".") {
                    staying.insert(path)
                }
            }
        }
        for (path, module) in modules {
            if let place = moved[path] ?? (staying.contains(path) ? path : nil) { renamed.modules[place] = module }
        }
        // Those without entries stay where they are.
        let full = Set(tensors.keys.flatMap(\.enclosingPaths))
        for (path, module) in modules where !full.contains(path) && renamed.modules[path] == nil {
            renamed.modules[path] = module
        }
        return renamed
    }

    /// The entries of the module at a path, by their names in it.
    public func inside(_ path: String) throws -> StateDict {
        let start = path.isEmpty || path.hasSuffix(".") ? path : path + "."
        if start.isEmpty { return self }
        var inside = try renamed { $0.hasPrefix(start) ? String($0.dropFirst(start.count)) : nil }
        inside.modules = [:]
        for (place, module) in modules {
            if place + "." == start { inside.modules[""] = module }
            if place.hasPrefix(start) { inside.modules[String(place.dropFirst(start.count))] = module }
        }
        return inside
    }

    /// The value of an entry, `nil` if there is none. A new entry comes last; `nil` takes one away.
    public subscript(name: String) -> Tensor? {
        get { tensors[name] ?? nil }
        set {
            if let newValue {
                tensors[name] = .some(newValue)
            } else {
                tensors.removeValue(forKey: name)
            }
        }
    }

    /// A copy whose tensors have memory of their own. What was shared is shared in the copy.
    ///
    /// - Throws: what reading the storages throws.
    public func clone() throws -> StateDict {
        var copy = self
        var copies: [Storage: Storage] = [:]
        for (name, tensor) in tensors {
            guard let tensor else { continue }
            let bytes = try TensorLayout(.u8, shape: [tensor.storage.byteCount])
            let storage = try copies[tensor.storage] ?? Tensor(tensor.storage, bytes).copied("clone").storage
            copies[tensor.storage] = storage
            copy.tensors[name] = .some(try Tensor(storage: storage, layout: tensor.layout))
        }
        return copy
    }

    /// The entries as NNStore saves them: a dictionary of tensors, null for those without a value.
    ///
    /// - Throws: `StoreError` if a layout can't be stored.
    public func stateTree() throws -> StateTree {
        .dictionary(
            try tensors.map { name, tensor in (name, try tensor.map { .tensor(try $0.stateTensor()) } ?? .null) })
    }
}

extension StateDict: CustomStringConvertible {
    /// Names and values, one entry after another.
    public var description: String {
        let lines = tensors.map { "  \"\($0.key)\": \($0.value.map { "\($0)" } ?? "<UninitializedParameter>")" }
        return lines.isEmpty ? "StateDict()" : "StateDict(\n\(lines.joined(separator: ",\n"))\n)"
    }
}

extension Module {
    /// The values of all parameters and persistent buffers, over the module's own memory. One that stands in several places
    /// has as many entries, all over one storage.
    public final func stateDict() -> StateDict {
        var state = StateDict(
            stateEntries().map { name, tensor in (name, tensor.isUninitialized ? nil : tensor.detach()) })
        for (path, module) in namedModules(removeDuplicate: false) {
            state.modules[path] = .init(type: module.typeName, version: type(of: module).stateVersion)
        }
        return state
    }

    /// What the state dict is made of.
    final func stateEntries() -> [(name: String, tensor: Tensor)] {
        namedTensors(removeDuplicate: false).filter { ($0.tensor as? Buffer)?.isPersistent ?? true }
    }
}

extension String {
    /// The paths of what this path is inside of, outermost first: of `a.b.c` the empty one, `a` and `a.b`.
    fileprivate var enclosingPaths: [String] {
        [""] + indices.filter { self[$0] == "." }.map { String(self[..<$0]) }
    }
}
