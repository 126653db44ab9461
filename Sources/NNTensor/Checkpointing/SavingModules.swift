import NNStore

extension Module {
    /// Saves all parameters and persistent buffers, with the types and versions of the modules. What is tied is saved once
    /// and stays tied.
    ///
    /// A name that ends in `.safetensors`, `.pt` or another format's ending gives a file of that format, all other names a container. An existing file is
    /// replaced in one step, unless `options` say otherwise.
    ///
    /// - Throws: `StoreError` or `InteropError` if the file can't be written; what was there before is then still there.
    public final func save(to path: String, options: SaveOptions = .replacing) throws {
        try NNTensor.save(stateDict(), to: path, options: options)
    }

    /// Loads values from a file of any format that is read: container, safetensors, PyTorch, NumPy, GGUF. They are decoded straight into the
    /// memory of parameters and buffers, which stay the same objects; parameters of lazy modules get their memory now.
    ///
    /// All that can be known from the file's index is compared before anything is written: names, shapes, dtypes, and what is
    /// shared with what; see ``load(stateDict:strict:options:)``. Of a training checkpoint the part `model` is loaded.
    ///
    /// ```swift
    /// try net.load(from: "mlp.nnck")
    /// try net.backbone.load(from: "whole.safetensors", prefix: "backbone")
    /// try net.load(from: "old.nnck") { name in name.replacing("fc.", with: "output.") }
    /// ```
    ///
    /// - Parameters:
    ///   - strict: whether everything must fit. If not, what fits is loaded, and the rest is only returned.
    ///   - prefix: the path of the module in the file whose entries are meant; all others are passed over.
    ///   - renaming: the name in the model of an entry of the file, or `nil` for one to be passed over.
    /// - Returns: what did not fit; nothing, if `strict`.
    /// - Throws: ``TensorError/stateMismatch(_:)``, which lists all that does not fit, if `strict`;
    ///   ``TensorError/partlyLoaded(file:changed:reason:)`` if the file proves to be damaged on the way, with the names of
    ///   what may have changed; `StoreError` or `InteropError` if it can't be read.
    @discardableResult
    public final func load(
        from path: String, strict: Bool = true, prefix: String = "", options: LoadOptions = LoadOptions(),
        renaming: ((_ name: String) throws -> String?)? = nil
    ) throws -> StateMismatch {
        let opened = try OpenedCheckpoint(path, options)
        var state = try prefix.isEmpty ? opened.model() : opened.stateDict(inside: prefix)
        if let renaming { state = try state.renamed(renaming) }
        return try load(stateDict: state, strict: strict, options: options)
    }

    /// ``load(from:strict:prefix:options:renaming:)``, as one would say it: `try clone.load("mlp.params")`.
    @discardableResult
    public final func load(_ path: String, strict: Bool = true) throws -> StateMismatch {
        try load(from: path, strict: strict)
    }

    /// Brings the file of a model that was saved with older versions of its modules to the present ones: the entries go
    /// through ``stateMigrations``, everything else in the file stays as it is. This module serves only to know the types;
    /// its values are neither read nor changed.
    ///
    /// Of a training checkpoint the part `model` is migrated. What an optimizer kept for the old parameters does not fit the
    /// new ones, so it has to be left out.
    ///
    /// - Parameter dropping: the names of parts of a training that are left out: `optimizer`.
    /// - Throws: ``TensorError/invalidArgument(operation:reason:)`` if an optimizer is to stay; what reading the file and ``StateDict/migrated(for:)`` throw, and what saving throws.
    public final func migrateFile(
        _ path: String, to destination: String, dropping: [String] = [], options: SaveOptions = SaveOptions()
    ) throws {
        let opened = try OpenedCheckpoint(path, LoadOptions())
        let key = TrainingRecord.isPresent(in: opened.metadata) ? "model" : nil
        let before = try opened.model()
        guard before.otherNames.isEmpty else { throw opened.unexpected("a model") }
        let after = try before.migrated(for: self)
        var tree = try after.stateTree()
        if key == nil, let name = dropping.first {
            throw TensorError.invalidArgument(
                operation: "migrateFile", reason: "\(path) is no training checkpoint, so it has no part \"\(name)\"")
        }
        if let key, case .dictionary(var root) = opened.tree {
            root[key] = tree
            let parts = root.keys.map(\.description).filter {
                !TrainingContents.reservedNames.contains($0) && $0 != key
            }
            if let unknown = dropping.first(where: { !parts.contains($0) }) {
                throw TensorError.invalidArgument(
                    operation: "migrateFile",
                    reason: "\(path): \"\(unknown)\" is no part that can be left out; there are "
                        + parts.map { "\"\($0)\"" }.joined(separator: ", "))
            }
            for name in dropping { root[name] = nil }
            let optimizer = root.first { $0.value["param_groups"] != nil }?.key
            if after.isMigrated, let optimizer {
                throw TensorError.invalidArgument(
                    operation: "migrateFile",
                    reason: "\(path): what \"\(optimizer)\" kept for the old parameters does not fit the new ones. "
                        + "Leave it out: dropping: [\"\(optimizer)\"]")
            }
            tree = .dictionary(root)
        }
        guard case .dictionary(var metadata) = opened.metadata else { throw opened.unexpected("metadata") }
        // Those of other parts stay.
        let others = ModuleVersions.read(from: opened.metadata).filter { module in
            key.map { module.path != $0 && !module.path.hasPrefix($0 + ".") } ?? false
        }
        ModuleVersions.write(after.moduleVersions(below: key) + others, to: &metadata)
        var options = options
        options.sharing = before.sharing
        try NNTensor.save(tree, metadata: .dictionary(metadata), to: destination, options: options)
    }
}
