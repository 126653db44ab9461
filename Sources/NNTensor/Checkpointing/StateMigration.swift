import NNStore

/// One step from a version of a module's entries to the next; see ``Module/stateMigrations``.
///
/// ```swift
/// final class Attention: Module {
///     override class var stateVersion: Int { 3 }
///     override class var stateMigrations: [StateMigration] {
///         [
///             StateMigration(from: 1) { state in
///                 try state.split("qkv.weight", into: ["query.weight", "key.weight", "value.weight"])
///             },
///             StateMigration(from: 2) { state in try state.rename("out", to: "projection") },
///         ]
///     }
/// }
/// ```
public struct StateMigration: Sendable {
    /// The version that the step begins with; it leads to the next one.
    public let version: Int
    let migrate: @Sendable (inout MigratingState) throws -> Void

    /// A step from a version to the next.
    public init(from version: Int, _ migrate: @escaping @Sendable (_ state: inout MigratingState) throws -> Void) {
        (self.version, self.migrate) = (version, migrate)
    }
}

/// The entries of one module while they are brought to a newer version. All names are those inside of the module.
///
/// Entries of a file are not read before they have to be: renaming, splitting and reshaping give views of the same storage.
/// What is tied stays tied: equal results of the same values are one tensor, wherever they are made.
public struct MigratingState {
    fileprivate var state: StateDict {
        didSet { state.isMigrated = true }
    }
    fileprivate let path: String
    /// The values of all entries of the module at first: modules that have the same ones are one.
    private let identity: [MigrationResults.Source]
    private let results: MigrationResults
    private var callCount = 0

    fileprivate init(_ state: StateDict, _ path: String, _ results: MigrationResults) {
        (self.state, self.path, self.results) = (state, path, results)
        identity = state.entries(below: path).map { .init($0.name, $0.tensor) }
    }

    /// The names of the entries in order.
    public var names: [String] { state.entries(below: path).map(\.name) }

    /// The entry of a name, `nil` if there is none.
    public subscript(name: String) -> Tensor? { state[path.joined(name)] }

    /// Gives an entry, or all entries of an inner module, another name: `rename("fc", to: "output")` makes `output.weight`
    /// of `fc.weight`.
    ///
    /// - Throws: ``TensorError/invalidArgument(operation:reason:)`` if there is no such entry, or one of the new name.
    public mutating func rename(_ old: String, to new: String) throws {
        let (from, to) = (path.joined(old), path.joined(new))
        try move(from, "rename") { to + $0.dropFirst(from.count) }
    }

    /// Takes an entry, or all entries of an inner module, away.
    ///
    /// - Throws: ``TensorError/invalidArgument(operation:reason:)`` if there is none.
    public mutating func remove(_ name: String) throws { try move(path.joined(name), "remove") { _ in nil } }

    /// Gives all that is at a path or below it other names, or takes it away.
    private mutating func move(_ place: String, _ operation: String, _ rename: (String) -> String?) throws {
        func moved(_ name: String) -> String? {
            name == place || name.hasPrefix(place + ".") ? rename(name) : name
        }
        guard state.keys.contains(where: { $0 == place || $0.hasPrefix(place + ".") }) else {
            throw missing(String(place.dropFirst(path.isEmpty ? 0 : path.count + 1)), operation)
        }
        let modules = state.modules
        state = try state.renamed(moved)
        state.modules = [:]
        for (path, module) in modules { if let path = moved(path) { state.modules[path] = module } }
    }

    /// Adds an entry, or replaces one.
    public mutating func set(_ name: String, to value: @autoclosure () throws -> Tensor) throws {
        callCount += 1
        state[path.joined(name)] = try results.tied(value(), .init(sources: identity, call: callCount))
    }

    /// Replaces an entry by what `change` makes of it.
    ///
    /// - Throws: ``TensorError/invalidArgument(operation:reason:)`` if there is no such entry; what `change` throws.
    public mutating func update(_ name: String, _ change: (Tensor) throws -> Tensor) throws {
        let old = try entry(name, "update")
        let changed = try noGrad { try change(old).detach() }
        state[path.joined(name)] = try results.tied(changed, .init(sources: [.init("", old)], call: 0))
    }

    /// Gives an entry another shape; its elements stay where they are, if they can.
    ///
    /// - Throws: ``TensorError`` if there is no such entry, or if its elements do not fit.
    public mutating func reshape(_ name: String, _ shape: [Int]) throws { try update(name) { try $0.reshape(shape) } }

    /// Makes several entries of one, which goes away: its parts, one after another in a dimension; views of it, if their
    /// elements lie together.
    ///
    /// - Parameter sizes: the extents of the parts; equal ones, unless given.
    /// - Throws: ``TensorError`` if there is no such entry, or if the sizes do not add up.
    public mutating func split(
        _ name: String, into names: [String], sizes: [Int]? = nil, dimension: Int = 0
    ) throws {
        let old = try entry(name, "split")
        let extent = try old.size(dimension)
        let sizes = sizes ?? Array(repeating: extent / Swift.max(1, names.count), count: names.count)
        guard sizes.count == names.count, sizes.allSatisfy({ $0 >= 0 }), sizes.reduce(0, &+) == extent else {
            throw TensorError.invalidArgument(
                operation: "split",
                reason: "\"\(path.joined(name))\" has \(extent) in dimension \(dimension), the parts have \(sizes)")
        }
        try remove(name)
        var start = 0
        for (name, size) in zip(names, sizes) {
            let part = try noGrad { try old.narrow(dimension, start..<start + size).detach() }
            // Views that lie between each other would seem to be tied.
            state[path.joined(name)] =
                part.isContiguous
                ? part
                : try results.tied(noGrad { try part.contiguous() }, .init(sources: [.init("", part)], call: 0))
            start += size
        }
    }

    /// Makes one entry of several, which go away: their elements one after another in a dimension.
    ///
    /// - Throws: ``TensorError`` if one of them is not there, or if their shapes do not fit.
    public mutating func merge(_ names: [String], into name: String, dimension: Int = 0) throws {
        let parts = try names.map { try entry($0, "merge") }
        let merged = try results.tied(
            noGrad { try concatenate(parts, dimension: dimension) },
            .init(sources: parts.map { .init("", $0) }, call: 0))
        for name in names { try remove(name) }
        state[path.joined(name)] = merged
    }

    private func entry(_ name: String, _ operation: String) throws -> Tensor {
        guard let tensor = state[path.joined(name)] else { throw missing(name, operation) }
        return tensor
    }

    private func missing(_ name: String, _ operation: String) -> TensorError {
        let known = names.prefix(20).map { "\"\($0)\"" }.joined(separator: ", ")
        return .invalidArgument(
            operation: operation,
            reason: "there is no \"\(name)\"; "
                + (known.isEmpty ? "there are no entries" : "there are \(known)"))
    }

    fileprivate static func run(
        _ step: StateMigration, _ state: StateDict, _ path: String, _ results: MigrationResults
    ) throws -> StateDict {
        var migrating = MigratingState(state, path, results)
        try step.migrate(&migrating)
        return migrating.state
    }
}

/// What migrations made of what, so that ties stay.
private final class MigrationResults {
    /// A value: which bytes, and how they are looked at.
    struct Source: Hashable {
        let name: String
        let storage: Storage?
        let layout: TensorLayout?

        init(_ name: String, _ tensor: Tensor?) {
            (self.name, storage, layout) = (name, tensor?.storage, tensor?.layout)
        }
    }

    /// What a value was made of; for one that was made of nothing, the module, and which of its calls it was.
    struct Origin: Hashable {
        let sources: [Source]
        let call: Int
    }

    private var values: [Origin: [Tensor]] = [:]

    /// The value, or the one that was made of the same before, if the two are equal.
    func tied(_ value: Tensor, _ origin: Origin) throws -> Tensor {
        // Modules without any entry are not one because of that.
        if origin.sources.isEmpty { return value }
        for known in values[origin] ?? [] where known.dtype == value.dtype && known.shape == value.shape {
            if try TiedValues.equal(known.stateTensor(), value.stateTensor()) { return known }
        }
        values[origin, default: []].append(value)
        return value
    }
}

extension StateDict {
    /// The entries of the module at a path, by their names in it.
    fileprivate func entries(below path: String) -> [(name: String, tensor: Tensor?)] {
        if path.isEmpty { return entries }
        return entries.filter { $0.name.hasPrefix(path + ".") }
            .map { (String($0.name.dropFirst(path.count + 1)), $0.tensor) }
    }

    /// The state dict with the entries of all modules in the versions that the modules of `model` have. Outer modules go
    /// first, so that they can move inner ones.
    ///
    /// - Throws: ``TensorError/unknownModuleVersion(module:type:version:newestKnown:)`` for one that is newer; what the
    ///   migrations throw.
    public func migrated(for model: Module) throws -> StateDict { try migrated(for: model) { _ in true } }

    /// - Parameter isWanted: whether the entries of the module at a path matter; those of others stay as they are.
    func migrated(for model: Module, where isWanted: (String) -> Bool) throws -> StateDict {
        if modules.isEmpty { return self }
        var state = self
        let results = MigrationResults()
        for (path, module) in model.namedModules(removeDuplicate: false) {
            guard isWanted(path), let found = state.modules[path] else { continue }
            let type = Swift.type(of: module)
            guard found.version <= type.stateVersion else {
                throw TensorError.unknownModuleVersion(
                    module: path, type: found.type, version: found.version, newestKnown: type.stateVersion)
            }
            let steps = type.stateMigrations.filter { (found.version..<type.stateVersion).contains($0.version) }
            for step in steps.sorted(by: { $0.version < $1.version }) {
                do {
                    state = try MigratingState.run(step, state, path, results)
                } catch let error as StoreError {
                    throw error
                } catch {
                    throw TensorError.invalidArgument(
                        operation: "migration",
                        reason: (file.map { "\($0): " } ?? "") + "from version \(step.version) of \(module.typeName)"
                            + (path.isEmpty ? "" : " at \"\(path)\"") + ": \(error)")
                }
            }
            state.modules[path] = .init(type: module.typeName, version: type.stateVersion)
        }
        return state
    }
}
