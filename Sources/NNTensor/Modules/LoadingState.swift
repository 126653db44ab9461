import NNStore
import OrderedCollections

extension Module {
    /// Writes the values of a state dict to the parameters and buffers, which stay the same objects over the same memory.
    /// Parameters of lazy modules get their memory now.
    ///
    /// All is compared before anything is written: names, shapes, dtypes, and what is shared with what.
    ///
    /// - Parameter strict: whether everything must fit. If not, what fits is written, and the rest is only returned.
    /// - Returns: what did not fit; nothing, if `strict`.
    /// - Throws: ``TensorError/stateMismatch(_:)``, which lists all that does not fit, if `strict`.
    @discardableResult
    public final func load(stateDict state: StateDict, strict: Bool = true) throws -> StateMismatch {
        let plan = LoadingPlan(stateEntries(), state)
        if strict && !plan.mismatch.isEmpty { throw TensorError.stateMismatch(plan.mismatch) }
        for (tensor, value) in plan.writes {
            if let parameter = tensor as? Parameter, !parameter.isInitialized {
                try parameter.materialize(value.shape, dtype: value.dtype)
            }
            try noGrad { try tensor.writeValues(of: value, "load") }
        }
        return plan.mismatch
    }
}

/// What of a state dict goes where in a model.
private struct LoadingPlan {
    var mismatch = StateMismatch()
    private(set) var writes: [(tensor: Tensor, value: Tensor)] = []

    init(_ model: [(name: String, tensor: Tensor)], _ state: StateDict) {
        let known = Set(model.map(\.name))
        mismatch.unexpected = state.keys.filter { !known.contains($0) }
        var common: [(name: String, tensor: Tensor, value: Tensor)] = []
        for (name, tensor) in model {
            guard state.contains(name) else {
                mismatch.missing.append(name)
                continue
            }
            guard let value = state[name] else {
                // Uninitialised on both sides is what both are.
                if !tensor.isUninitialized {
                    mismatch.different.append(.init(name: name, model: Self.text(tensor), state: "without a value"))
                }
                continue
            }
            if Self.fits(value, tensor) {
                common.append((name, tensor, value))
            } else {
                mismatch.different.append(.init(name: name, model: Self.text(tensor), state: Self.text(value)))
            }
        }
        let inModel = SharedNames(common.map { ($0.name, $0.tensor) })
        let inState = SharedNames(common.map { ($0.name, $0.value) })
        mismatch.sharing = inModel.differences(from: inState)
        var written = Set<ObjectIdentifier>()
        for entry in common where written.insert(ObjectIdentifier(entry.tensor)).inserted {
            writes.append((entry.tensor, entry.value))
        }
    }

    private static func fits(_ value: Tensor, _ tensor: Tensor) -> Bool {
        guard value.dtype == tensor.currentLayout.dtype else { return false }
        return (tensor as? Parameter)?.admits(value.shape) ?? (value.shape == tensor.shape)
    }

    private static func text(_ tensor: Tensor) -> String {
        "\(tensor.currentLayout.dtype) \((tensor as? Parameter)?.shapeDescription ?? "\(tensor.shape)")"
    }
}

/// Which names stand for the same memory.
private struct SharedNames {
    /// For each name the others that its memory is shared with, and itself, in order.
    private var groups: [String: [String]] = [:]
    private let names: [String]

    init(_ tensors: [(name: String, tensor: Tensor)]) {
        names = tensors.map(\.name)
        var byStorage: OrderedDictionary<Storage, [Int]> = [:]
        for (place, entry) in tensors.enumerated() where !entry.tensor.isUninitialized {
            byStorage[entry.tensor.storage, default: []].append(place)
        }
        for places in byStorage.values {
            // Parts of one storage that do not touch each other are not shared with each other.
            let ranges = places.map { (place: $0, bytes: tensors[$0].tensor.layout.byteRange) }
                .sorted { ($0.bytes.lowerBound, $0.place) < ($1.bytes.lowerBound, $1.place) }
            var group: [Int] = []
            var end = 0
            func close() {
                let members = group.sorted().map { tensors[$0].name }
                for name in members { groups[name] = members }
            }
            for (place, bytes) in ranges {
                if bytes.lowerBound >= end {
                    close()
                    group = []
                }
                group.append(place)
                end = max(end, bytes.upperBound)
            }
            close()
        }
    }

    private func group(of name: String) -> [String] { groups[name] ?? [name] }

    /// The groups of this one that are others there.
    func differences(from state: SharedNames) -> [StateMismatch.Sharing] {
        var found: [StateMismatch.Sharing] = []
        var seen = Set<String>()
        for name in names where !seen.contains(name) {
            let (here, there) = (group(of: name), state.group(of: name))
            if here == there { continue }
            found.append(.init(model: here, state: there))
            seen.formUnion(here + there)
        }
        return found
    }
}
