/// One thing that a module has.
public enum ModuleMember {
    /// A parameter.
    case parameter(Parameter)
    /// A buffer.
    case buffer(Buffer)
    /// An inner module.
    case module(Module)

    init?(_ value: Any) {
        switch value {
        case let parameter as Parameter: self = .parameter(parameter)
        case let buffer as Buffer: self = .buffer(buffer)
        case let module as Module: self = .module(module)
        default: return nil
        }
    }

    /// The members among a module's stored properties, superclasses first, in the order of declaration.
    static func storedProperties(of module: Module) -> [(name: String, member: ModuleMember)] {
        var mirrors: [Mirror] = []
        var mirror: Mirror? = Mirror(reflecting: module)
        while let next = mirror, next.subjectType != Module.self {
            mirrors.append(next)
            mirror = next.superclassMirror
        }
        var members: [(name: String, member: ModuleMember)] = []
        for mirror in mirrors.reversed() {
            for (label, value) in mirror.children { collect(value, propertyName(label ?? ""), into: &members) }
        }
        return members
    }

    /// Adds a value, or what is inside of an optional, an array or a tuple.
    private static func collect(
        _ value: Any, _ name: String, into members: inout [(name: String, member: ModuleMember)]
    ) {
        // An optional that holds something is cast to what it holds.
        if let member = ModuleMember(value) { return members.append((name, member)) }
        let mirror = Mirror(reflecting: value)
        switch mirror.displayStyle {
        case .optional:
            for child in mirror.children { collect(child.value, name, into: &members) }
        case .collection where mirror.children.first.map({ mayHold($0.value) }) ?? false:
            for (index, child) in mirror.children.enumerated() {
                collect(child.value, "\(name).\(index)", into: &members)
            }
        case .tuple:
            for (index, child) in mirror.children.enumerated() {
                collect(
                    child.value, "\(name).\(propertyName(child.label ?? "\(index)", ofTuple: index))", into: &members)
            }
        case .dictionary, .set:
            if mirror.children.contains(where: { holdsMember($0.value) }) {
                stop(
                    "Module",
                    "\"\(name)\" is a Swift dictionary or set with parameters or modules in it, whose order changes from run to "
                        + "run, so that they can't be found there. Use a ModuleDict or an array")
            }
        default: break
        }
    }

    /// Whether members may be in it, so that arrays of a million numbers are not looked through.
    private static func mayHold(_ value: Any) -> Bool {
        ModuleMember(value) != nil || value is any Collection || value is any OptionalValue
            || Mirror(reflecting: value).displayStyle == .tuple
    }

    /// Whether an element of a dictionary (a tuple of key and value) or of a set is a member.
    private static func holdsMember(_ element: Any) -> Bool {
        ModuleMember(element) != nil || Mirror(reflecting: element).children.contains { ModuleMember($0.value) != nil }
    }

    /// A tuple's label; its index where it has none, which Swift writes as `.0`.
    private static func propertyName(_ label: String, ofTuple index: Int) -> String {
        label.hasPrefix(".") ? String(index) : label
    }

    /// The name of a property from that of its storage, which `lazy` and property wrappers put something in front of.
    private static func propertyName(_ label: String) -> String {
        for prefix in ["$__lazy_storage_$_", "_"] where label.hasPrefix(prefix) {
            return String(label.dropFirst(prefix.count))
        }
        return label
    }
}

/// What an optional of any type is, so that one can be asked for.
private protocol OptionalValue {}
extension Optional: OptionalValue {}
