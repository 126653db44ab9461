import NNStore

/// A training that was saved: model, optimizer, schedule, random generators, step, epoch, and values of your own, in one
/// container. A run that is resumed from it goes on bit by bit as if nothing had happened.
///
/// ```swift
/// try TrainingCheckpoint.save(to: "last.nnck", step: step, net, optimizer, scheduler)
/// ...
/// let last = try TrainingCheckpoint.open("last.nnck")
/// try last.restore(net, optimizer, scheduler)
/// var step = last.step + 1
/// while step < end { ... }
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
        try NNTensor.save(contents.tree, metadata: contents.metadata, to: path, options: options)
    }

    /// Opens a training that was saved. Tensors are not read yet.
    ///
    /// - Throws: ``TensorError/unexpectedContents(file:expected:found:)`` if the file is something else; `StoreError` or
    ///   `InteropError` if it can't be read or is damaged.
    public static func open(_ path: String, options: LoadOptions = LoadOptions()) throws -> TrainingCheckpoint {
        try TrainingCheckpoint(OpenedCheckpoint(path, options), options)
    }

    /// ``open(_:options:)`` of the file that is there, whether or not one is being saved in its place.
    static func openPresent(_ path: String, options: LoadOptions) throws -> TrainingCheckpoint {
        try TrainingCheckpoint(OpenedCheckpoint(path, options, waits: false), options)
    }

    private init(_ opened: OpenedCheckpoint, _ options: LoadOptions) throws {
        (self.opened, self.options) = (opened, options)
        environment = try TrainingRecord.environment(in: opened.metadata, file: opened.name)
        guard let step = opened.tree["step"]?.int, TrainingContents.counts.contains(step) else {
            throw opened.unexpected("a training checkpoint with a step from 0 to 2^53")
        }
        self.step = step
        epoch = opened.tree["epoch"]?.int.flatMap { TrainingContents.counts.contains($0) ? $0 : nil }
        values = opened.tree["values"] ?? [:]
        var metrics: [String: Double] = [:]
        for (key, value) in opened.tree["metrics"]?.children ?? [] {
            if let name = key.text, let number = value.number { metrics[name] = number }
        }
        self.metrics = metrics
    }

    /// The number of the save among all of its folder's, if a ``CheckpointManager`` gave it one.
    var sequence: Int { TrainingRecord.sequence(in: opened.metadata) }

    /// Puts what was saved into a program's model, optimizer and so on, and into the default random generator.
    ///
    /// All parts are checked before anything is changed, the models together: what is shared between them counts too. Values
    /// are decoded straight into the memory of the models; what an optimizer keeps gets fresh memory and replaces what it had
    /// when everything has been read. It goes to the parameters of the same names. Gradients of the models are forgotten.
    ///
    /// - Parameters:
    ///   - parts: as for ``save(to:step:epoch:_:named:values:metrics:options:)``; a module needs all of its entries, see
    ///     ``Module/load(from:strict:prefix:options:renaming:)`` for less.
    ///   - ignored: the names of parts that were saved and are not wanted. Otherwise they would be forgotten without a word.
    /// - Throws: ``TensorError/stateMismatch(_:)`` and what else does not fit;
    ///   ``TensorError/unexpectedContents(file:expected:found:)`` if other parts are there than are asked for;
    ///   ``TensorError/partlyLoaded(file:changed:reason:)`` if the file proves to be damaged on the way.
    public func restore(
        _ parts: any TrainingPart..., named: KeyValuePairs<String, any TrainingPart> = [:],
        ignoring ignored: [String] = []
    ) throws {
        let all = try TrainingContents.named(parts, named)
        try checkNames(all.map(\.name), ignored)
        let names = TrainingContents.parameterNames(all)
        // Parameters have to be there before what an optimizer kept for them, and a schedule sets an optimizer's rates.
        let order: [(any TrainingPart) -> Bool] = [
            { $0 is Optimizer }, { $0 is LearningRateScheduler },
            { !($0 is Module || $0 is Optimizer || $0 is LearningRateScheduler) },
        ]
        let others = order.flatMap { isOfKind in all.filter { isOfKind($0.part) } }
        var models: [(name: String, entries: [(name: String, tensor: Tensor)], state: StateDict)] = []
        for (name, part) in all where part is Module {
            var saved = PartState(opened.tree[name] ?? .null)
            saved.state = try opened.stateDict(below: name)
            guard let model = try part.restoration(from: saved, options: options).model else { continue }
            models.append((name, model.entries, model.state))
        }
        // A wrong model is said before what follows from it.
        let plan = try plan(models)
        var otherWork = LoadingWork()
        for (name, part) in others + [(TrainingContents.defaultGenerator, Generator.default)] {
            var saved = PartState(opened.tree[name] ?? .null)
            saved.typeName = TrainingRecord.type(of: name, in: opened.metadata)
            saved.parameterNames = names
            if part is Optimizer, models.contains(where: \.state.isMigrated) {
                throw TensorError.invalidArgument(
                    operation: "TrainingCheckpoint.restore",
                    reason: "\(path): the model was migrated from an older version, so what \"\(name)\" kept for its "
                        + "parameters does not fit them any more. Restore without it: ignoring: [\"\(name)\"]")
            }
            do {
                otherWork.add(try part.restoration(from: saved, options: options).work, prefix: name)
            } catch TensorError.invalidArgument(let operation, let reason) {
                throw TensorError.invalidArgument(
                    operation: operation, reason: "\(path), part \"\(name)\": \(reason)")
            }
        }
        var work = try plan.work(options.limits)
        work.add(otherWork, prefix: "")
        try work.run(path, options)
        for (_, part) in all { (part as? Module)?.zeroGrad() }
    }

    /// Compares all models at once, so that what they share with each other is seen.
    private func plan(
        _ models: [(name: String, entries: [(name: String, tensor: Tensor)], state: StateDict)]
    ) throws -> LoadingPlan {
        var whole = StateDict(
            models.flatMap { model in model.state.entries.map { (model.name.joined($0.name), $0.tensor) } })
        whole.file = path
        whole.otherNames = models.flatMap { model in model.state.otherNames.map { model.name.joined($0) } }
        if models.contains(where: { $0.state.sharing == .unknown }) { whole.sharing = .unknown }
        let entries = models.flatMap { model in model.entries.map { (model.name.joined($0.name), $0.tensor) } }
        let plan = try LoadingPlan(entries, whole, options)
        guard plan.mismatch.isEmpty else { throw TensorError.stateMismatch(plan.mismatch) }
        return plan
    }

    /// - Throws: ``TensorError/unexpectedContents(file:expected:found:)`` if other parts are there than are wanted.
    private func checkNames(_ wanted: [String], _ ignored: [String]) throws {
        func list(_ names: [String]) -> String { names.map { "\"\($0)\"" }.joined(separator: ", ") }
        if let missing = wanted.first(where: { !partNames.contains($0) }) {
            throw TensorError.unexpectedContents(
                file: path, expected: "\"\(missing)\"",
                found: partNames.isEmpty ? "no parts" : "the parts \(list(partNames))")
        }
        let forgotten = partNames.filter { !wanted.contains($0) && !ignored.contains($0) }
        if !forgotten.isEmpty {
            throw TensorError.unexpectedContents(
                file: path, expected: "only the parts \(list(wanted))",
                found:
                    "\(list(forgotten)) too. Restore all, or say that they are not wanted: ignoring: [\(list(forgotten))]"
            )
        }
    }
}
