import NNStore

/// A training that was saved: model, optimizer, schedule, random generators, step, epoch, and values of your own, in one
/// container. A run that is resumed from it goes on bit by bit as if nothing had happened.
///
/// ```swift
/// try TrainingCheckpoint.save(to: "last.nnck", step: step, net, optimizer, scheduler)
/// ...
/// let last = try TrainingCheckpoint.open("last.nnck")
/// try last.restore(net, optimizer, scheduler)
/// for step in last.step + 1..<end { ... }
/// ```
///
/// Parts are saved under the names of their kinds (`model`, `optimizer`, `scheduler`, `generator`); several of a kind are
/// given names. The default random generator is always saved and restored. Gradients and whether modules train are not part
/// of it: save after an optimizer's step.
///
/// Equal bits are promised for one version of the library on one kind of processor; ``environment`` has both.
public struct TrainingCheckpoint {
    private let opened: OpenedCheckpoint
    private let options: LoadOptions

    /// The step that was saved.
    public let step: Int
    /// The epoch, if one was given.
    public let epoch: Int?
    /// The program's own values; empty if there are none. Tensors in it are read when they are used.
    public let values: StateTree
    /// Numbers by name that say how good the training is.
    public let metrics: [String: Double]
    /// Where it was saved.
    public let environment: TrainingEnvironment

    /// The path.
    public var path: String { opened.name }

    /// The names of the parts.
    public var partNames: [String] {
        opened.tree.children.compactMap(\.key.text).filter { !TrainingContents.reservedNames.contains($0) }
    }

    /// Saves a training. An existing file is replaced in one step, unless `options` say otherwise.
    ///
    /// - Parameters:
    ///   - step: the number of the step that was finished last.
    ///   - parts: model, optimizer, scheduler, generators, at most one of a kind.
    ///   - named: more parts, by names of your own.
    ///   - values: whatever else is needed to go on: plain values, tensors.
    ///   - metrics: how good the training is; ``CheckpointManager`` keeps the best by one of them.
    /// - Throws: ``TensorError/invalidArgument(operation:reason:)`` for parts without different names; `StoreError` if the
    ///   file can't be written; what was there before is then still there.
    public static func save(
        to path: String, step: Int, epoch: Int? = nil, _ parts: any TrainingPart...,
        named: KeyValuePairs<String, any TrainingPart> = [:], values: StateTree = [:], metrics: [String: Double] = [:],
        options: SaveOptions = .replacing
    ) throws {
        let contents = try TrainingContents(
            step: step, epoch: epoch, parts: TrainingContents.named(parts, named), values: values, metrics: metrics)
        try Checkpoint.save(contents.tree, metadata: contents.metadata, to: path, options: options)
    }

    /// Opens a training that was saved. Tensors are not read yet.
    ///
    /// - Throws: ``TensorError/unexpectedContents(file:expected:found:)`` if the file is something else; `StoreError` or
    ///   `InteropError` if it can't be read or is damaged.
    public static func open(_ path: String, options: LoadOptions = LoadOptions()) throws -> TrainingCheckpoint {
        try TrainingCheckpoint(OpenedCheckpoint(path, options), options)
    }

    private init(_ opened: OpenedCheckpoint, _ options: LoadOptions) throws {
        (self.opened, self.options) = (opened, options)
        environment = try TrainingRecord.environment(in: opened.metadata, file: opened.name)
        guard let step = opened.tree["step"]?.int, step >= 0 else {
            throw opened.unexpected("a training checkpoint with a step")
        }
        self.step = step
        epoch = opened.tree["epoch"]?.int
        values = opened.tree["values"] ?? [:]
        var metrics: [String: Double] = [:]
        for (key, value) in opened.tree["metrics"]?.children ?? [] {
            if let name = key.text, let number = value.number { metrics[name] = number }
        }
        self.metrics = metrics
    }

    /// Puts what was saved into a program's model, optimizer and so on, and into the default random generator.
    ///
    /// All parts are checked before anything is changed. Values are decoded straight into the memory of the model; what an
    /// optimizer keeps gets fresh memory and replaces what it had when everything has been read. Parts that were saved and
    /// are not asked for are passed over.
    ///
    /// - Parameters:
    ///   - parts: as for ``save(to:step:epoch:_:named:values:metrics:options:)``; a module needs all of its entries, see
    ///     ``Module/load(from:strict:prefix:options:renaming:)`` for less.
    /// - Throws: ``TensorError/stateMismatch(_:)`` and what else does not fit;
    ///   ``TensorError/unexpectedContents(file:expected:found:)`` if a part is not there;
    ///   ``TensorError/partlyLoaded(file:changed:reason:)`` if the file proves to be damaged on the way.
    public func restore(_ parts: any TrainingPart..., named: KeyValuePairs<String, any TrainingPart> = [:]) throws {
        var all = try TrainingContents.named(parts, named)
        // Models first: parameters of lazy modules have to be there before an optimizer's state is taken over.
        all = all.filter { $0.part is Module } + all.filter { !($0.part is Module) }
        all.append((TrainingContents.defaultGenerator, Generator.default))
        var work = LoadingWork()
        for (name, part) in all {
            guard let tree = opened.tree[name] else {
                let names = partNames.map { "\"\($0)\"" }.joined(separator: ", ")
                throw TensorError.unexpectedContents(
                    file: path, expected: "\"\(name)\"", found: names.isEmpty ? "no parts" : "the parts \(names)")
            }
            var saved = PartState(tree)
            if part is Module { saved.state = try opened.stateDict(below: name) }
            work.add(try part.restoration(from: saved, options: options).work, prefix: name)
        }
        try work.run(path, options)
    }
}
