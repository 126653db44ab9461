import NNDevices
import NNStore

/// What loading values into a model can be told.
public struct LoadOptions: Sendable {
    /// The names of the entries that loading is about, as the model has them; all others are left alone in the model and
    /// passed over in the file. All names, unless given.
    public var only: (@Sendable (_ name: String) -> Bool)?
    /// Whether values of another dtype are converted to the model's; otherwise they do not fit.
    public var convertsDTypes: Bool
    /// Whether it does not matter what is shared with what; otherwise model and file have to agree, if the file can tell.
    public var ignoresSharing: Bool
    /// Whether all checksums of a container are checked before anything in the model is changed. That reads the file twice.
    public var verifiesFirst: Bool
    /// How many threads work; the processors that the process may use, unless set.
    public var threads: Int?
    /// Asks loading to stop.
    public var cancellation: Cancellation?
    /// How much a file may ask for.
    public var limits: ReadLimits
    /// Where tensors that are loaded into memory of their own get it; a model's are where they are.
    public var device: Device

    /// The usual options: everything, nothing converted, each chunk verified when it is read.
    public init(
        only: (@Sendable (_ name: String) -> Bool)? = nil, convertsDTypes: Bool = false, ignoresSharing: Bool = false,
        verifiesFirst: Bool = false, threads: Int? = nil, cancellation: Cancellation? = nil,
        limits: ReadLimits = ReadLimits(), device: Device = .cpu
    ) {
        self.only = only
        self.convertsDTypes = convertsDTypes
        self.ignoresSharing = ignoresSharing
        self.verifiesFirst = verifiesFirst
        self.threads = threads
        self.cancellation = cancellation
        self.limits = limits
        self.device = device
    }
}

extension Module {
    /// Writes the values of a state dict to the parameters and buffers, which stay the same objects over the same memory.
    /// Parameters of lazy modules get their memory now. Entries of older versions of a module go through
    /// ``stateMigrations`` first.
    ///
    /// All is compared before anything is written: names, shapes, dtypes, and what is shared with what. Where the state
    /// dict's ``StateDict/sharing`` is unknown, equal values are as good as shared ones, and an entry may be missing that is
    /// one with another in the model.
    ///
    /// - Parameter strict: whether everything must fit. If not, what fits is written, and the rest is only returned.
    /// - Returns: what did not fit; nothing, if `strict`.
    /// - Throws: ``TensorError/stateMismatch(_:)``, which lists all that does not fit, if `strict`;
    ///   ``TensorError/partlyLoaded(file:changed:reason:)`` if reading the values fails on the way, with the names of what
    ///   may have changed; ``TensorError/unknownModuleVersion(module:type:version:newestKnown:)``; what migrations throw.
    @discardableResult
    public final func load(
        stateDict state: StateDict, strict: Bool = true, options: LoadOptions = LoadOptions()
    ) throws -> StateMismatch {
        let (entries, current) = try loadingEntries(state, options)
        let plan = try LoadingPlan(entries, current, options)
        if strict && !plan.mismatch.isEmpty { throw TensorError.stateMismatch(plan.mismatch) }
        try plan.work(options.limits).run(state.file, options)
        return plan.mismatch
    }

    /// What is to get values, and the values, in the present versions of the modules.
    final func loadingEntries(
        _ state: StateDict, _ options: LoadOptions
    ) throws -> (entries: [(name: String, tensor: Tensor)], state: StateDict) {
        let entries = stateEntries()
        guard let only = options.only else { return (entries, try state.migrated(for: self)) }
        let wanted = entries.filter { only($0.name) }
        // A module that nothing is wanted of may be newer than the program knows.
        let migrated = try state.migrated(for: self) { path in
            path.isEmpty || wanted.contains { $0.name.hasPrefix(path + ".") }
        }
        return (wanted, try migrated.renamed { only($0) ? $0 : nil })
    }
}
