import NNStore

/// The note in `__metadata__` of a safetensors file, `nnck.modules`, that says to which types and versions of modules its
/// entries belong: a JSON object of paths, each with an object of `type` and `version`.
enum ModulesNote {
    static func text(_ modules: [ModuleVersions.Module]) -> String {
        JSONValue.object(
            modules.map { module in
                JSONMember(module.path, .object(["type": .string(module.type), "version": .integer(module.version)]))
            }
        ).text()
    }

    /// The modules that a note names. It is a hint from another file, so what is none is passed over.
    static func modules(_ text: String) -> [ModuleVersions.Module] {
        guard case .object(let members)? = try? JSONValue.parse(Array(text.utf8), name: ModuleVersions.key) else {
            return []
        }
        return members.compactMap { member in
            guard case .object(let fields) = member.value else { return nil }
            var module = ModuleVersions.Module(path: member.key, type: "", version: 0)
            var hasVersion = false
            for field in fields {
                switch (field.key, field.value) {
                case ("type", .string(let type)): module.type = type
                case ("version", .number(let number)):
                    guard let version = number.integer else { return nil }
                    module.version = version
                    hasVersion = true
                default: break
                }
            }
            return hasVersion ? module : nil
        }
    }
}
