import NNStore

/// Something that belongs to a training's state: models, optimizers, learning rate schedulers, generators, and what a program
/// makes one of its own.
///
/// ```swift
/// final class Sampler: TrainingPart {
///     static var partName: String { "sampler" }
///     var position = 0
///     func trainingState() throws -> PartState { PartState(.integer(position)) }
///     func restoration(from state: PartState, options: LoadOptions) throws -> PartRestoration {
///         guard let position = state.tree.int else { throw ... }
///         return PartRestoration { self.position = position }
///     }
/// }
/// ```
public protocol TrainingPart: AnyObject {
    /// Under which name parts of this kind are saved: `model`, `optimizer`.
    static var partName: String { get }

    /// What has to be saved. Tensors may look into the part's own memory.
    func trainingState() throws -> PartState

    /// Checks what was saved, and says how it is taken over. Nothing is changed yet: other parts may not fit.
    func restoration(from state: PartState, options: LoadOptions) throws -> PartRestoration
}

/// What a part of a training saves.
public struct PartState {
    /// Any tree. When it comes from a file, its tensors are not read before they are used.
    public var tree: StateTree
    /// The tree as a state dict, if it is a model's.
    var state: StateDict?
    /// The name of the type that was saved, if it is known.
    var typeName: String?
    /// The names of parameters in the models of the training.
    var parameterNames: [ObjectIdentifier: String] = [:]

    /// A tree.
    public init(_ tree: StateTree) { self.tree = tree }
}

/// How a part takes over what was saved.
public struct PartRestoration {
    /// What is done with the tensors of all parts at once, and at last.
    private(set) var work = LoadingWork()
    /// What of a model is to get values, and the values: those of all models are compared together.
    private(set) var model: (entries: [(name: String, tensor: Tensor)], state: StateDict)?

    /// Calls `finish` when everything has been checked and read.
    public init(_ finish: @escaping () throws -> Void) { work.finishing = [finish] }

    init(_ work: LoadingWork) { self.work = work }
    init(entries: [(name: String, tensor: Tensor)], state: StateDict) { model = (entries, state) }
}

extension Module: TrainingPart {
    /// `model`
    public static var partName: String { "model" }

    /// The state dict.
    public final func trainingState() throws -> PartState {
        let state = stateDict()
        var part = PartState(try state.stateTree())
        part.state = state
        return part
    }

    /// Brings the state dict to the present versions. What fits is compared with that of the other models.
    public final func restoration(from part: PartState, options: LoadOptions) throws -> PartRestoration {
        let (entries, state) = try loadingEntries(part.state ?? StateDict(part.tree), options)
        return PartRestoration(entries: entries, state: state)
    }
}

extension Optimizer: TrainingPart {
    /// `optimizer`
    public static var partName: String { "optimizer" }

    /// The state dict.
    public final func trainingState() throws -> PartState { PartState(try stateDict()) }

    /// Checks that the state dict is one of this kind of optimizer, and fits the parameters.
    public final func restoration(from part: PartState, options: LoadOptions) throws -> PartRestoration {
        let type = "\(Swift.type(of: self))"
        if let found = part.typeName, found != type {
            throw OptimizerState.error(
                type, "what was saved is the state of \(found). Restore with one of those, or leave it out: ignoring:")
        }
        return PartRestoration(
            try loading(part.tree, names: part.parameterNames, allowsUninitialized: true, limits: options.limits))
    }
}

extension LearningRateScheduler: TrainingPart {
    /// `scheduler`
    public static var partName: String { "scheduler" }

    /// The state dict.
    public func trainingState() throws -> PartState { PartState(stateDict()) }

    /// Checks that the state dict fits the groups.
    public func restoration(from part: PartState, options: LoadOptions) throws -> PartRestoration {
        PartRestoration(try loading(part.tree))
    }
}

extension Generator: TrainingPart {
    /// `generator`
    public static var partName: String { "generator" }

    /// Seed and offset.
    public func trainingState() throws -> PartState {
        let state = state
        return PartState(
            .dictionary([
                ("seed", .integer(StateInteger(state.seed))), ("offset", .integer(StateInteger(state.offset))),
            ]))
    }

    /// Checks that seed and offset are there.
    public func restoration(from part: PartState, options: LoadOptions) throws -> PartRestoration {
        guard let seed = part.tree["seed"]?.unsigned, let offset = part.tree["offset"]?.unsigned else {
            throw TensorError.invalidArgument(
                operation: "Generator", reason: "the saved state has no \"seed\" and \"offset\", integers from 0 on")
        }
        return PartRestoration { self.state = State(seed: seed, offset: offset) }
    }
}

extension MetricAccumulator: TrainingPart {
    /// `metric_accumulator`
    public static var partName: String { "metric_accumulator" }

    /// The values so far.
    public func trainingState() throws -> PartState { PartState(try Tensor(read(), dtype: .f64).stateTree()) }

    /// Checks that it is a list of numbers.
    public func restoration(from part: PartState, options: LoadOptions) throws -> PartRestoration {
        guard let tensor = part.tree.tensor, tensor.layout.dtype == .f64, tensor.layout.rank == 1 else {
            throw TensorError.invalidArgument(
                operation: "MetricAccumulator", reason: "the saved state is no tensor of F64 with one dimension")
        }
        try options.limits.checkMemory(tensor.layout.byteCount, file: "MetricAccumulator")
        let loaded = try tensor.loadedAlone()
        let values = try Tensor(storage: loaded.storage, layout: loaded.layout)
        return PartRestoration { try self.restore(values) }
    }
}

extension StateTree {
    /// The integer, if it is one from 0 to 2^64 - 1.
    fileprivate var unsigned: UInt64? {
        if case .integer(let value) = self { value.unsigned } else { nil }
    }
}
