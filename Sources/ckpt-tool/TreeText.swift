import NNInterop
import NNStore

/// The trees of a checkpoint as indented lines.
struct TreeText {
    private(set) var lines: [String] = []
    private var owners: [Storage: String] = [:]

    init(_ file: any CheckpointFile, _ state: StateTree) throws {
        lines.append("\(printable(file.name))  \(file.formatDescription)")
        for (path, tensor) in state.tensors where owners[tensor.storage] == nil {
            owners[tensor.storage] = path.flatName
        }
        append("state", state, path: StatePath(), depth: 0)
        let metadata = try file.visibleMetadata()
        if !metadata.isEmpty { append("metadata", .dictionary(metadata), path: StatePath(), depth: 0) }
        let modules = ModuleVersions.read(from: try file.metadata())
        if !modules.isEmpty { lines.append("modules  (\(modules.count))") }
        for module in modules {
            let type = module.type.isEmpty ? "of an unknown type" : printable(module.type)
            lines.append(
                "  \(module.path.isEmpty ? "(root)" : printable(module.path))  \(type), version \(module.version)")
        }
    }

    /// The lines of one node and what is below it.
    static func lines(of node: StateTree, label: String) -> [String] {
        var text = TreeText()
        text.append(label, node, path: StatePath(), depth: 0)
        return text.lines
    }

    private init() {}

    private mutating func append(_ label: String, _ node: StateTree, path: StatePath, depth: Int) {
        let indent = String(repeating: "  ", count: depth)
        lines.append("\(indent)\(printable(label))  \(TreeText.describe(node))\(alias(node, path))")
        for (key, child) in node.children {
            append(key.description, child, path: StatePath(path.keys + [key]), depth: depth + 1)
        }
    }

    private func alias(_ node: StateTree, _ path: StatePath) -> String {
        guard let tensor = node.tensor, let owner = owners[tensor.storage], owner != path.flatName,
            !tensor.layout.isEmpty
        else { return "" }
        return "  ▸ shares \(printable(owner))"
    }

    /// A node in a few words.
    static func describe(_ node: StateTree) -> String {
        func with(_ tag: String?, _ text: String) -> String { tag.map { "\(text) \(printable($0))" } ?? text }
        return switch node {
        case .dictionary(let entries): with(entries.tag, "dictionary (\(entries.count))")
        case .list(let elements, let tag): with(tag, "list (\(elements.count))")
        case .tuple(let elements, let tag): with(tag, "tuple (\(elements.count))")
        case .record(let type, let parts): "record \(printable(type)) (\(parts.count))"
        case .tensor(let tensor):
            "\(tensor.dtype) \(tensor.shape)\(tensor.requiresGrad ? ", requires grad" : "")\(tensor.tag.map { ", \(printable($0))" } ?? "")"
        case .null: "null"
        case .boolean(let value): value ? "true" : "false"
        case .integer(let value): value.description
        case .double(let value): value.description
        case .string(let text):
            text.count > 80
                ? "\"\(printable(String(text.prefix(77))))...\" (\(text.utf8.count) bytes)" : "\"\(printable(text))\""
        case .bytes(let bytes): "\(bytes.count) bytes"
        case .scalar(let value): "\(value.dtype) scalar \(values(value))"
        case .array(let value): "\(value.dtype) array (\(value.count)) \(values(value))"
        case .strings(let strings): "strings (\(strings.count))"
        }
    }

    private static func values(_ value: TypedValue) -> String {
        guard let values = ElementValues(value.dtype) else { return "" }
        var texts: [String] = []
        values.forEach(in: Array(value.bytes.prefix(4 * value.dtype.bytesPerBlock))) {
            texts.append(Quantities.value($0))
        }
        return texts.joined(separator: ", ") + (value.count > 4 ? ", ..." : "")
    }
}
