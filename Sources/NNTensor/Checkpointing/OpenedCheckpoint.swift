import NNInterop
import NNStore

/// A checkpoint file of any format whose contents are about to be loaded.
struct OpenedCheckpoint {
    private let file: any CheckpointFile
    /// The tree over storages that are read when they are needed.
    let tree: StateTree
    let metadata: StateTree

    var name: String { file.name }

    /// - Parameter waits: whether a save of the file that is under way is waited for. What a save does itself must not.
    init(_ path: String, _ options: LoadOptions, waits: Bool = true) throws {
        if waits { PendingSaves.wait(for: path) }
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
        for module in ModuleVersions.read(from: metadata) {
            let version = StateDict.ModuleVersion(type: module.type, version: module.version)
            if module.path + "." == start {
                state.modules[""] = version
            } else if module.path.hasPrefix(start) {
                state.modules[String(module.path.dropFirst(start.count))] = version
            }
        }
        return state
    }

    /// The tensors of the module at a path.
    ///
    /// - Throws: ``TensorError/unexpectedContents(file:expected:found:)`` if there are none.
    func stateDict(inside prefix: String) throws -> StateDict {
        let whole = try stateDict()
        let part = try whole.inside(prefix)
        if part.count == 0 && part.otherNames.isEmpty {
            var beginnings: [String] = []
            for name in whole.keys {
                let beginning = name.split(separator: ".").first.map(String.init) ?? name
                if !beginnings.contains(beginning) { beginnings.append(beginning) }
            }
            let found = beginnings.prefix(8).map { "\"\($0)\"" }.joined(separator: ", ")
            throw TensorError.unexpectedContents(
                file: name, expected: "entries below \"\(prefix)\"",
                found: beginnings.isEmpty
                    ? "no tensors" : "entries below \(found)\(beginnings.count > 8 ? ", ..." : "")")
        }
        return part
    }

    /// What is loaded into a model: that of a training checkpoint, otherwise everything.
    func model() throws -> StateDict {
        guard TrainingRecord.isPresent(in: metadata) else {
            guard case .dictionary = tree else { throw unexpected("a dictionary of a model's tensors") }
            return try stateDict()
        }
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

extension StateDict {
    /// The modules as metadata has them, below a key of the root.
    func moduleVersions(below key: String? = nil) -> [ModuleVersions.Module] {
        modules.map { path, module in
            let place = path.isEmpty ? key ?? "" : (key ?? "").joined(path)
            return ModuleVersions.Module(path: place, type: module.type, version: module.version)
        }
    }

    /// The metadata of a container that holds nothing else.
    var metadata: StateTree {
        var entries = StateDictionary()
        ModuleVersions.write(moduleVersions(), to: &entries)
        return .dictionary(entries)
    }
}
