import NNDevices
import NNInterop
import NNStore

extension SaveOptions {
    /// The usual options for what a program saves again and again: an existing file is replaced, in one step.
    public static var replacing: SaveOptions { SaveOptions(existing: .replace) }
}

extension Tensor {
    /// The tensor as a leaf of a tree, over the same memory.
    ///
    /// - Throws: `StoreError` if its layout can't be stored.
    public func stateTree() throws -> StateTree { .tensor(try stateTensor()) }
}

/// Saves a tensor.
///
/// ```swift
/// try save(x, to: "x.nnck")
/// let y: Tensor = try load("x.nnck")
/// ```
///
/// A name that ends in `.safetensors`, `.pt`, `.pth`, `.bin`, `.ckpt`, `.npz`, `.npy` or `.gguf` gives a file of that format, if it can hold
/// what is saved; all other names a container, except for those that mean a format which can't be written.
///
/// - Throws: `StoreError` or `InteropError` if the file can't be written; what was there before is then still there.
public func save(_ tensor: Tensor, to path: String, options: SaveOptions = .replacing) throws {
    try save(tensor.stateTree(), to: path, options: options)
}

/// Saves tensors in order; those that share memory share it again when they are loaded. See ``save(_:to:options:)-(Tensor,_,_)``.
public func save(_ tensors: [Tensor], to path: String, options: SaveOptions = .replacing) throws {
    try save(.list(tensors.map { try $0.stateTree() }), to: path, options: options)
}

/// Saves tensors by name, in the order of the names; those that share memory share it again when they are loaded. See
/// ``save(_:to:options:)-(Tensor,_,_)``.
public func save(_ tensors: [String: Tensor], to path: String, options: SaveOptions = .replacing) throws {
    let sorted = tensors.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }
    try save(.dictionary(sorted.map { ($0.key, try $0.value.stateTree()) }), to: path, options: options)
}

/// Saves the entries of a state dict, with the types and versions of their modules. See
/// ``save(_:to:options:)-(Tensor,_,_)``.
public func save(_ state: StateDict, to path: String, options: SaveOptions = .replacing) throws {
    try save(state.stateTree(), metadata: state.metadata, to: path, options: options)
}

/// Saves any tree of dictionaries, lists, tensors and plain values. See ``save(_:to:options:)-(Tensor,_,_)``.
///
/// - Parameter metadata: a dictionary without tensors.
@_disfavoredOverload
public func save(
    _ tree: StateTree, metadata: StateTree = [:], to path: String, options: SaveOptions = .replacing
) throws {
    PendingSaves.wait(for: path)
    try write(tree, metadata: metadata, to: path, options: options)
}

/// Saves a tree without a look at other saves of the same file.
func write(_ tree: StateTree, metadata: StateTree, to path: String, options: SaveOptions) throws {
    let format = try WritableFormat.forFile(path)
    if format == .nnck { return try Checkpoint.save(tree, metadata: metadata, to: path, options: options) }
    guard case .dictionary(let entries) = metadata else {
        throw StoreError.invalidTree(path: "", reason: "metadata has to be a dictionary")
    }
    // What it says of itself would be lost, and without it nobody could resume it.
    guard entries[.text(LibraryMetadata.trainingKey)] == nil else {
        throw StoreError.invalidTree(
            path: "",
            reason:
                "\(path): a training is saved in a container. Name it .nnck, or save the model alone (net.save(to:))")
    }
    // What the library notes for itself has no place there; nothing else is left out without a word.
    let plain = entries.withoutLibraryEntries
    var withModules = plain
    withModules[.text(ModuleVersions.key)] = entries[.text(ModuleVersions.key)]
    var progress: (@Sendable (Int, Int) -> Void)?
    if let report = options.progress { progress = { report($0, $1) } }
    let foreign = ExportOptions(
        existing: options.existing, isDurable: options.isDurable, isStrict: true, cancellation: options.cancellation,
        progress: progress)
    switch format {
    case .nnck: break
    case .safetensors:
        guard case .dictionary = tree else {
            throw StoreError.invalidTree(
                path: "",
                reason: "\(path): a safetensors file holds tensors by their names. Save [\"x\": tensor], or a container"
            )
        }
        try Safetensors.save(tree, metadata: .dictionary(withModules), to: path, options: foreign)
    case .pytorch: try PyTorch.save(tree, metadata: .dictionary(withModules), to: path, options: foreign)
    case .npz, .npy:
        try NumPy.save(
            tree, metadata: .dictionary(plain), to: path, as: format == .npy ? .array : .archive, options: foreign)
    case .gguf: try GGUF.save(tree, metadata: .dictionary(plain), to: path, options: foreign)
    }
}

/// Loads a tensor that was saved alone, from a file of any format that is read.
///
/// - Throws: ``TensorError/unexpectedContents(file:expected:found:)`` if the file holds something else; `StoreError` or
///   `InteropError` if it can't be read or is damaged.
public func load(_ path: String, options: LoadOptions = LoadOptions()) throws -> Tensor {
    let opened = try OpenedCheckpoint(path, options)
    guard case .tensor(let tensor) = opened.tree else { throw opened.unexpected("one tensor") }
    return try LoadedTensors([tensor], opened, options).tensors[0]
}

/// Loads tensors that were saved as a list: `let values: [Tensor] = try load("values.nnck")`. Those that were one are one.
@_disfavoredOverload
public func load(_ path: String, options: LoadOptions = LoadOptions()) throws -> [Tensor] {
    let opened = try OpenedCheckpoint(path, options)
    let elements: [StateTree]
    switch opened.tree {
    case .list(let all, _), .tuple(let all, _): elements = all
    default: throw opened.unexpected("a list of tensors")
    }
    let tensors = elements.compactMap(\.tensor)
    guard tensors.count == elements.count else { throw opened.unexpected("a list of tensors") }
    return try LoadedTensors(tensors, opened, options).tensors
}

/// Loads tensors that were saved by name: `let values: [String: Tensor] = try load("values.nnck")`. Those that were one are
/// one. Of nested dictionaries the names are joined by dots.
@_disfavoredOverload
public func load(_ path: String, options: LoadOptions = LoadOptions()) throws -> [String: Tensor] {
    let state: StateDict = try load(path, options: options)
    return state.entries.reduce(into: [:]) { $0[$1.name] = $1.tensor }
}

/// Loads a state dict into memory of its own: `let state: StateDict = try load("mlp.params")`. To load one into a model,
/// ``Module/load(from:strict:prefix:options:renaming:)`` needs half of the memory.
@_disfavoredOverload
public func load(_ path: String, options: LoadOptions = LoadOptions()) throws -> StateDict {
    let opened = try OpenedCheckpoint(path, options)
    guard case .dictionary = opened.tree else { throw opened.unexpected("a dictionary of tensors") }
    let lazy = try opened.model()
    guard lazy.otherNames.isEmpty else {
        throw TensorError.unexpectedContents(
            file: path, expected: "a dictionary of tensors", found: "\"\(lazy.otherNames[0])\", which is no tensor")
    }
    let named = lazy.entries.compactMap { entry in entry.tensor.map { (entry.name, $0) } }
    let loaded = try LoadedTensors(named.map { try $0.1.stateTensor() }, opened, options)
    var state = lazy
    for ((name, _), tensor) in zip(named, loaded.tensors) { state[name] = tensor }
    return state
}

/// Loads whatever is in a file, tensors and plain values: `let tree: StateTree = try load("training.nnck")`.
@_disfavoredOverload
public func load(_ path: String, options: LoadOptions = LoadOptions()) throws -> StateTree {
    let opened = try OpenedCheckpoint(path, options)
    let tensors = try LoadedTensors(opened.tree.tensors.map(\.tensor), opened, options)
    return try opened.tree.mapTensors { (tensor) throws(StoreError) in tensors.loaded(tensor) }
}

/// Tensors of a file in memory, sharing what they share in the file.
private struct LoadedTensors {
    private(set) var tensors: [Tensor] = []
    private var storages: [Storage: Storage] = [:]

    init(_ lazy: [StateTensor], _ opened: OpenedCheckpoint, _ options: LoadOptions) throws {
        var inOrder: [Storage] = []
        for tensor in lazy where storages[tensor.storage] == nil {
            storages[tensor.storage] = tensor.storage
            inOrder.append(tensor.storage)
        }
        try options.limits.checkMemory(inOrder.map(\.byteCount).saturatingSum, file: opened.name)
        let copies = try inOrder.copied(
            to: options.device, threads: options.threads, cancellation: options.cancellation)
        for (storage, copy) in zip(inOrder, copies) { storages[storage] = copy }
        tensors = try lazy.map { tensor in
            let loaded = loaded(tensor)
            return try Tensor(storage: loaded.storage, layout: loaded.layout)
        }
    }

    func loaded(_ tensor: StateTensor) -> StateTensor {
        var loaded = tensor
        loaded.storage = storages[tensor.storage]!
        return loaded
    }
}
