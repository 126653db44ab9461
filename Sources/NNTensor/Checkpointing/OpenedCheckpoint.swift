import NNInterop
import NNStore

/// A checkpoint file of any format whose contents are about to be loaded.
struct OpenedCheckpoint {
    private let file: any CheckpointFile
    /// The tree over storages that are read when they are needed.
    let tree: StateTree
    let metadata: StateTree

    var name: String { file.name }

    init(_ path: String, _ options: LoadOptions) throws {
        file = try CheckpointFiles.open(path, options: OpenOptions(limits: options.limits))
        if options.verifiesFirst { try OpenedCheckpoint.verify(file, options) }
        tree = try file.state()
        metadata = try file.metadata()
    }

    /// Checks all checksums of a container; other formats have none.
    private static func verify(_ file: any CheckpointFile, _ options: LoadOptions) throws {
        guard let container = file as? ContainerFile else { return }
        let report = try container.checkpoint.verify(
            .checksums, threads: options.threads, cancellation: options.cancellation)
        if let problem = report.problems.first { throw StoreError.damaged(file: file.name, problem: problem) }
    }

    /// The tensors below a key of the root, or of the whole tree, with the versions of their modules.
    func stateDict(below key: String? = nil) throws -> StateDict {
        guard let node = key.map({ tree[$0] }) ?? tree else { throw unexpected("an entry \"\(key ?? "")\"") }
        var state = try StateDict(tensorsOf: node)
        state.sharing = try file.sharing
        state.file = file.name
        let start = key.map { $0 + "." } ?? ""
        for (path, module) in ModuleVersions.read(metadata) {
            if path + "." == start {
                state.modules[""] = module
            } else if path.hasPrefix(start) {
                state.modules[String(path.dropFirst(start.count))] = module
            }
        }
        return state
    }

    /// What is loaded into a model: that of a training checkpoint, otherwise everything.
    func model() throws -> StateDict {
        guard TrainingRecord.isPresent(in: metadata) else { return try stateDict() }
        guard tree["model"] != nil else { throw unexpected("a part \"model\"; say which part with prefix:") }
        return try stateDict(below: "model")
    }

    func unexpected(_ expected: String) -> TensorError {
        .unexpectedContents(file: name, expected: expected, found: OpenedCheckpoint.describe(tree))
    }

    /// An integer or a text as it is, everything else in a few words.
    static func plain(_ tree: StateTree) -> String { tree.int.map(String.init) ?? tree.string ?? describe(tree) }

    /// What a tree is, in a few words.
    static func describe(_ tree: StateTree) -> String {
        func names(_ entries: StateDictionary) -> String {
            entries.keys.prefix(8).map { "\"\($0)\"" }.joined(separator: ", ") + (entries.count > 8 ? ", ..." : "")
        }
        return switch tree {
        case .tensor(let tensor): "one tensor, \(tensor.dtype) \(tensor.shape)"
        case .list(let elements, _), .tuple(let elements, _):
            elements.allSatisfy({ $0.tensor != nil })
                ? "a list of \(elements.count) tensors" : "a list of \(elements.count) values"
        case .dictionary(let entries):
            entries.isEmpty
                ? "an empty dictionary"
                : "a dictionary of \(entries.count) \(entries.allSatisfy { $0.value.tensor != nil } ? "tensors" : "entries"), \(names(entries))"
        case .record(let type, _): "a record of type \(type)"
        default: "a plain value"
        }
    }
}

/// Types and versions of modules as they stand in a container's metadata (spec section 8, `nnck.modules`).
enum ModuleVersions {
    static let key = "nnck.modules"

    static func read(_ metadata: StateTree) -> [(path: String, module: StateDict.ModuleVersion)] {
        guard case .dictionary(let modules)? = metadata[key] else { return [] }
        return modules.compactMap { path, value in
            guard let path = path.text, let version = value["version"]?.int else { return nil }
            return (path, StateDict.ModuleVersion(type: value["type"]?.string ?? "", version: version))
        }
    }

    /// The entry for metadata, of state dicts that lie below keys of the root.
    static func metadata(_ states: [(key: String?, state: StateDict)]) -> [(String, StateTree)] {
        var entries: [(String, StateTree)] = []
        for (key, state) in states {
            for (path, module) in state.modules {
                let place = path.isEmpty ? key ?? "" : (key ?? "").joined(path)
                entries.append(
                    (place, .dictionary([("type", .string(module.type)), ("version", .integer(module.version))])))
            }
        }
        return entries.isEmpty ? [] : [(ModuleVersions.key, .dictionary(entries))]
    }
}
