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
    public init(_ tree: StateTree) throws { try add(tree, "") }

    private mutating func add(_ tree: StateTree, _ path: String) throws {
        switch tree {
        case .tensor(let tensor): tensors[path] = .some(try Tensor(storage: tensor.storage, layout: tensor.layout))
        case .null where !path.isEmpty: tensors[path] = .some(nil)
        case .dictionary(let entries):
            for entry in entries { try add(entry.value, path.joined("\(entry.key)")) }
        default:
            throw TensorError.invalidArgument(
                operation: "StateDict",
                reason: (path.isEmpty ? "the tree" : "\"\(path)\"") + " is neither a tensor nor a dictionary of tensors"
            )
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
