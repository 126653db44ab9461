// What a module has, with all that its inner modules have, in PyTorch's order: a module's own first, then its children's, each
// in the order of declaration.
//
// A module or parameter that stands in several places is listed once, under its first name, unless the repetitions are asked
// for.

extension Module {
    /// The inner modules, not those inside of them.
    public final var children: [Module] { namedChildren.map(\.module) }

    /// The inner modules and their names, each once.
    public final var namedChildren: [(name: String, module: Module)] {
        var seen = Set<ObjectIdentifier>()
        return members.compactMap { name, member in
            if case .module(let module) = member, seen.insert(ObjectIdentifier(module)).inserted {
                (name, module)
            } else {
                nil
            }
        }
    }

    /// This module and all inside of it.
    public final func modules() -> [Module] { namedModules().map(\.module) }

    /// This module, whose name is empty, and all inside of it, by their paths: `0`, `0.block 1`.
    public final func namedModules(removeDuplicate: Bool = true) -> [(name: String, module: Module)] {
        var found: [(name: String, module: Module)] = []
        var walk = ModuleWalk(removesDuplicates: removeDuplicate)
        walk.run(self, "") { name, module, _ in found.append((name, module)) }
        return found
    }

    /// All parameters, each once: what optimizers take.
    public final func parameters() -> [Parameter] { namedParameters().map(\.parameter) }

    /// All parameters by their paths: `hidden.weight`.
    ///
    /// - Parameter removeDuplicate: whether a parameter that stands in several places is listed once, under its first name.
    public final func namedParameters(removeDuplicate: Bool = true) -> [(name: String, parameter: Parameter)] {
        namedTensors(removeDuplicate: removeDuplicate).compactMap { name, tensor in
            (tensor as? Parameter).map { (name, $0) }
        }
    }

    /// All buffers, each once.
    public final func buffers() -> [Buffer] { namedBuffers().map(\.buffer) }

    /// All buffers by their paths: `norm.running_mean`. See ``namedParameters(removeDuplicate:)``.
    public final func namedBuffers(removeDuplicate: Bool = true) -> [(name: String, buffer: Buffer)] {
        namedTensors(removeDuplicate: removeDuplicate).compactMap { name, tensor in
            (tensor as? Buffer).map { (name, $0) }
        }
    }

    /// The parameter at a path such as `0.bias`.
    ///
    /// - Throws: ``TensorError/invalidArgument(operation:reason:)`` if there is none; the message has the names that there
    ///   are.
    public final func parameter(_ name: String) throws -> Parameter {
        let all = namedParameters(removeDuplicate: false)
        if let found = all.first(where: { $0.name == name }) { return found.parameter }
        throw missing("parameter", name, all.map(\.name))
    }

    /// The module at a path such as `0.block 1`.
    ///
    /// - Throws: ``TensorError/invalidArgument(operation:reason:)`` if there is none; the message has the names that there
    ///   are.
    public final func module(_ name: String) throws -> Module {
        let all = namedModules(removeDuplicate: false)
        if let found = all.first(where: { $0.name == name }) { return found.module }
        throw missing("module", name, all.map(\.name).filter { !$0.isEmpty })
    }

    /// Parameters and buffers by their paths: in each module its parameters, then its buffers.
    final func namedTensors(removeDuplicate: Bool) -> [(name: String, tensor: Tensor)] {
        var found: [(name: String, tensor: Tensor)] = []
        var seen = Set<ObjectIdentifier>()
        var walk = ModuleWalk(removesDuplicates: removeDuplicate)
        walk.run(self, "") { path, _, members in
            func add(_ name: String, _ tensor: Tensor) {
                if !removeDuplicate || seen.insert(ObjectIdentifier(tensor)).inserted {
                    found.append((path.joined(name), tensor))
                }
            }
            for (name, member) in members { if case .parameter(let parameter) = member { add(name, parameter) } }
            for (name, member) in members { if case .buffer(let buffer) = member { add(name, buffer) } }
        }
        return found
    }

    private func missing(_ kind: String, _ name: String, _ names: [String]) -> TensorError {
        let known = names.prefix(20).map { "\"\($0)\"" }.joined(separator: ", ") + (names.count > 20 ? ", ..." : "")
        return .invalidArgument(
            operation: "\(typeName).\(kind)",
            reason: "there is no \(kind) \"\(name)\"; " + (names.isEmpty ? "there are none" : "there are \(known)"))
    }
}

/// A walk over a module and all inside of it, outer ones first.
private struct ModuleWalk {
    typealias Members = [(name: String, member: ModuleMember)]

    let removesDuplicates: Bool
    private var seen = Set<ObjectIdentifier>()
    /// The modules that the current one is inside of: one that holds its parent must not lead back to it.
    private var around = Set<ObjectIdentifier>()

    init(removesDuplicates: Bool) { self.removesDuplicates = removesDuplicates }

    mutating func run(
        _ module: Module, _ path: String, _ visit: (_ path: String, _ module: Module, _ members: Members) -> Void
    ) {
        let identity = ObjectIdentifier(module)
        guard around.insert(identity).inserted else { return }
        defer { around.remove(identity) }
        if !seen.insert(identity).inserted && removesDuplicates { return }
        let members = module.members
        visit(path, module, members)
        for (name, member) in members {
            if case .module(let child) = member { run(child, path.joined(name), visit) }
        }
    }
}

extension String {
    /// The path of something inside of what has this path.
    func joined(_ name: String) -> String { isEmpty ? name : "\(self).\(name)" }
}

/// Lets `net[2].weight` stand where only ``Module`` is known: types that have a weight have their own property of that name.
public protocol HasParameters: Module {}
extension Module: HasParameters {}

extension HasParameters {
    /// The parameter named `weight`. Stops the program if the module has none.
    public var weight: Parameter { orStop { try parameter("weight") } }
    /// The parameter named `bias`. Stops the program if the module has none.
    public var bias: Parameter { orStop { try parameter("bias") } }
}
