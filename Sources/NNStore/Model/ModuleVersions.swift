/// Types and versions of the modules that a model's entries belong to, as they stand in metadata (spec section 8,
/// `nnck.modules`).
public enum ModuleVersions {
    /// A module of a model.
    public struct Module: Sendable, Hashable {
        /// The path: a flat name, empty for the outermost.
        public var path: String
        /// The name of the type; empty if it is not known.
        public var type: String
        /// The version of its entries.
        public var version: Int

        /// A module.
        public init(path: String, type: String, version: Int) {
            (self.path, self.type, self.version) = (path, type, version)
        }
    }

    /// The key in the root of the metadata.
    package static let key = "nnck.modules"

    /// The modules that metadata names, in order. What is none is passed over.
    public static func read(from metadata: StateTree) -> [Module] {
        guard case .dictionary(let modules)? = metadata[key] else { return [] }
        return modules.compactMap { path, value in
            guard let path = path.text, let version = value["version"]?.int else { return nil }
            return Module(path: path, type: value["type"]?.string ?? "", version: version)
        }
    }

    /// Puts modules into metadata, or takes them out if there are none.
    package static func write(_ modules: [Module], to metadata: inout StateDictionary) {
        var entries = StateDictionary()
        for module in modules {
            entries[module.path] = .dictionary([("type", .string(module.type)), ("version", .integer(module.version))])
        }
        metadata[key] = entries.isEmpty ? nil : .dictionary(entries)
    }
}
