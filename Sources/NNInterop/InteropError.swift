/// What reading and writing other formats throws, beside ``NNStore/StoreError`` for the files themselves.
///
/// Every case has a stable ``code`` and a ``description`` that names the file, the entry or the offset, what was
/// expected, what was found and, where there is something to do, what to do next.
public enum InteropError: Error, Sendable, Equatable {
    /// The file is in no format that this library reads; `found` says what it looks like.
    case unknownFormat(file: String, found: String)
    /// The text is no JSON; `offset` is in bytes from the start of what `file` names.
    case invalidJSON(file: String, offset: Int, problem: String)
    /// A JSON object has this key twice; `offset` is that of the second one, in bytes.
    case duplicateKey(file: String, offset: Int, key: String)
    /// The file breaks a rule of the safetensors format.
    case invalidSafetensors(file: String, SafetensorsProblem)
    /// The file is no valid zip archive.
    case invalidArchive(file: String, ArchiveProblem)
    /// The file, or an entry of it, is no NumPy array of numbers.
    case invalidNumPy(file: String, NumPyProblem)
    /// The file breaks a rule of the GGUF format.
    case invalidGGUF(file: String, GGUFProblem)
    /// An index of shards does not fit itself or the shards.
    case invalidShards(file: String, problem: String)
    /// The pickle in a PyTorch file is none, or breaks a rule.
    case invalidPickle(file: String, PickleProblem)
    /// A pickle asks for a class or function that is not among those whose values are read; `offset` is in bytes.
    case refusedGlobal(file: String, name: String, offset: Int)
    /// The file breaks a rule of PyTorch's formats.
    case invalidPyTorch(file: String, problem: String)
    /// The file, or `what` in it, is of a kind that is known and not read.
    case unsupported(file: String, what: String, advice: String)
    /// The note in a safetensors file that says which tensors share a storage does not fit the file.
    case invalidAliasNote(file: String, problem: String)
    /// Two tensors are noted to lie over the same bytes, but the file has different ones for them; `byte` is in bytes
    /// from the start of their storage.
    case contradictingAliases(file: String, first: String, second: String, byte: Int)
    /// Going on would take more than a limit allows.
    case limitExceeded(file: String, what: String, limit: Int, found: String)
    /// Two entries would get this name in a format that has flat names only.
    case ambiguousName(file: String, name: String, paths: [String])
    /// The format keeps this name for itself.
    case reservedName(file: String, name: String)
    /// The format has no such dtype.
    case unsupportedDType(file: String, format: String, tensor: String, dtype: String)
    /// Tensors share storages, which was not to be lost.
    case sharedStorages(file: String, groups: [[String]])
    /// The format can't hold these entries as they are, and nothing was to be lost.
    case cannotHold(file: String, format: String, entries: [String])
    /// The file's name ends as those of a format do that can be read at most.
    case unwritableFormat(file: String)
    /// The tree is none that can be written.
    case invalidTree(path: String, reason: String)

    /// A short name for the kind of error that will not change between versions.
    public var code: String {
        switch self {
        case .unknownFormat: "unknown-format"
        case .invalidJSON: "invalid-json"
        case .duplicateKey: "duplicate-key"
        case .invalidSafetensors(_, let problem): "safetensors-" + problem.code
        case .invalidArchive(_, let problem): "archive-" + problem.code
        case .invalidNumPy(_, let problem): "numpy-" + problem.code
        case .invalidGGUF(_, let problem): "gguf-" + problem.code
        case .invalidShards: "invalid-shards"
        case .invalidPickle(_, let problem): "pickle-" + problem.code
        case .refusedGlobal: "refused-global"
        case .invalidPyTorch: "invalid-pytorch"
        case .unsupported: "unsupported"
        case .invalidAliasNote: "invalid-alias-note"
        case .contradictingAliases: "contradicting-aliases"
        case .limitExceeded: "limit-exceeded"
        case .ambiguousName: "ambiguous-name"
        case .reservedName: "reserved-name"
        case .unsupportedDType: "unsupported-dtype"
        case .sharedStorages: "shared-storages"
        case .cannotHold: "cannot-hold"
        case .unwritableFormat: "unwritable-format"
        case .invalidTree: "invalid-tree"
        }
    }
}

extension InteropError: CustomStringConvertible {
    /// The message for a person.
    public var description: String {
        switch self {
        case .unknownFormat(let file, let found):
            "\(file): not a checkpoint in a format that this program reads (NNStore container, safetensors, PyTorch, NumPy, GGUF): \(found)"
        case .invalidJSON(let file, let offset, let problem):
            "\(file): invalid JSON at byte \(offset): \(problem)"
        case .duplicateKey(let file, let offset, let key):
            "\(file): the key \(quoted(key)) is there a second time at byte \(offset); "
                + "which one counts is not defined, so the file has to be written anew without one of them"
        case .invalidSafetensors(let file, let problem):
            "\(file): invalid safetensors file: \(problem)"
        case .invalidArchive(let file, let problem):
            "\(file): invalid zip archive: \(problem)"
        case .invalidNumPy(let file, let problem):
            "\(file): invalid NumPy array: \(problem)"
        case .invalidGGUF(let file, let problem):
            "\(file): invalid GGUF file: \(problem)"
        case .invalidShards(let file, let problem):
            "\(file): invalid sharded model: \(problem)"
        case .invalidPickle(let file, let problem):
            "\(file): \(problem)"
        case .refusedGlobal(let file, let name, let offset):
            "\(file): asks for \(quoted(name)) at byte \(offset), which is not among the types that are read; nothing was run. "
                + "If you know what it is, keep it as a record (ckpt-tool: --opaque)"
        case .invalidPyTorch(let file, let problem):
            "\(file): invalid PyTorch file: \(problem)"
        case .unsupported(let file, let what, let advice):
            "\(file): \(what), which is not supported\(advice.isEmpty ? "" : "; " + advice)"
        case .invalidAliasNote(let file, let problem):
            "\(file): the note about shared storages (\(AliasNote.key)) does not fit the file: \(problem); "
                + "pass over the note (ckpt-tool: --ignore-alias-note) to get every tensor with memory of its own"
        case .contradictingAliases(let file, let first, let second, let byte):
            "\(file): "
                + (first.utf8.elementsEqual(second.utf8)
                    ? "elements of \(quoted(first)) are noted to overlap"
                    : "\(quoted(first)) and \(quoted(second)) are noted to share memory")
                + ", but their data differ at byte \(byte) of it; "
                + "pass over the note (ckpt-tool: --ignore-alias-note) to get every tensor with memory of its own"
        case .limitExceeded(let file, let what, let limit, let found):
            "\(file): \(what) is limited to \(limit), found \(found); raise the limit if this is what you want"
        case .ambiguousName(let file, let name, let paths):
            "\(file): \(quoted(name)) would be the name of \(paths.count) tensors: \(paths.joined(separator: " and ")); "
                + "rename one of them"
        case .reservedName(let file, let name):
            "\(file): a tensor can't have the name \(quoted(name)), which the format keeps for itself; rename it"
        case .unsupportedDType(let file, let format, let tensor, let dtype):
            "\(file): \(quoted(tensor)) has dtype \(dtype), which \(format) can't hold; convert it or leave it out"
        case .sharedStorages(let file, let groups):
            "\(file): these tensors share a storage, which this format can't express: "
                + groups.map { $0.map(quoted).joined(separator: ", ") }.joined(separator: "; ")
        case .cannotHold(let file, let format, let entries):
            "\(file): \(format) can't hold \(entries.count) of the entries as they are:\n"
                + entries.map { "  " + $0 }.joined(separator: "\n")
        case .unwritableFormat(let file):
            "\(file): files whose names end so are of a format that can't be written; "
                + "choose .nnck for a container or .safetensors"
        case .invalidTree(let path, let reason):
            "can't write \(path.isEmpty ? "the root of the tree" : quoted(path)): \(reason)"
        }
    }
}

/// A name from a file as it can stand in a message: in quotes, control characters escaped, not endless.
func quoted(_ name: String) -> String {
    // Names come from hostile files; what they hold must not steer a terminal or fill it.
    let limit = 200
    var text = "\""
    for scalar in name.unicodeScalars.prefix(limit) {
        switch scalar.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator:
            text += "\\u{\(String(scalar.value, radix: 16))}"
        default: text.unicodeScalars.append(scalar)
        }
    }
    return text + (name.unicodeScalars.count > limit ? "...\"" : "\"")
}
