import NNStore

/// What of a state dict goes where in a model.
struct LoadingPlan {
    private(set) var mismatch = StateMismatch()
    private(set) var writes: [(name: String, tensor: Tensor, value: Tensor)] = []
    private let entries: [(name: String, tensor: Tensor)]

    init(_ model: [(name: String, tensor: Tensor)], _ state: StateDict, _ options: LoadOptions) throws {
        entries = model
        mismatch.file = state.file
        let known = Set(model.map(\.name))
        mismatch.unexpected = (state.keys + state.otherNames).filter { !known.contains($0) }
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
            if Self.fits(value, tensor, options.convertsDTypes) {
                common.append((name, tensor, value))
            } else {
                mismatch.different.append(.init(name: name, model: Self.text(tensor), state: Self.text(value)))
            }
        }
        let inModel = SharedNames(common.map { ($0.name, $0.tensor) })
        let inState = SharedNames(common.map { ($0.name, $0.value) })
        if !options.ignoresSharing {
            mismatch.sharing = inModel.differences(from: inState)
            mismatch.views = try inModel.common(with: inState).filter { names in
                let members = Set(names)
                let entries = common.filter { members.contains($0.name) }
                return try !LoadingPlan.looksAlike(entries) && !TiedValues.agree(entries)
            }
        }
        if state.sharing == .unknown { try forgiveTies(common, model) }
        var written = Set<ObjectIdentifier>()
        for entry in common where written.insert(ObjectIdentifier(entry.tensor)).inserted { writes.append(entry) }
    }

    /// Whether views of one memory in the model are views of one memory in the state dict in the same way, so that writing
    /// one of them leaves the values of the others right.
    private static func looksAlike(_ entries: [(name: String, tensor: Tensor, value: Tensor)]) -> Bool {
        func place(_ layout: TensorLayout) -> (start: Int, strides: [Int]) {
            // Where there is one element, strides say nothing.
            let strides = zip(layout.shape, layout.strides).map { $0 > 1 ? $1 * layout.dtype.bytesPerBlock : 0 }
            return (layout.offset * layout.dtype.bytesPerBlock, strides)
        }
        let first = entries[0]
        let (model, state) = (place(first.tensor.layout).start, place(first.value.layout).start)
        return entries.allSatisfy { entry in
            let (here, there) = (place(entry.tensor.layout), place(entry.value.layout))
            return entry.tensor.dtype == entry.value.dtype && here.strides == there.strides
                && here.start - model == there.start - state
        }
    }

    /// Takes out of the mismatch what a file that can't express sharing could not have had: entries that are one in the
    /// model are several there, with equal values, or only the first of them is there.
    private mutating func forgiveTies(
        _ common: [(name: String, tensor: Tensor, value: Tensor)], _ model: [(name: String, tensor: Tensor)]
    ) throws {
        let byName = Dictionary(uniqueKeysWithValues: common.map { ($0.name, $0) })
        mismatch.sharing = try mismatch.sharing.filter { sharing in
            let entries = sharing.model.compactMap { byName[$0] }
            return try !sharing.state.allSatisfy { sharing.model.contains($0) } || !TiedValues.agree(entries)
        }
        let present = common.reduce(into: [Storage: [TensorLayout]]()) {
            $0[$1.tensor.storage, default: []].append($1.tensor.currentLayout)
        }
        let tensors = Dictionary(uniqueKeysWithValues: model.map { ($0.name, $0.tensor) })
        mismatch.missing.removeAll { name in
            guard let tensor = tensors[name], !tensor.isUninitialized else { return false }
            let bytes = tensor.layout.byteRange
            return present[tensor.storage, default: []].contains { other in
                other == tensor.layout
                    || other.isContiguous && other.byteRange.lowerBound <= bytes.lowerBound
                        && bytes.upperBound <= other.byteRange.upperBound
            }
        }
    }

    /// What has to be done to write the values; nothing is changed yet.
    ///
    /// - Parameter limits: how much memory parameters that have none yet may take.
    func work(_ limits: ReadLimits) throws -> LoadingWork {
        let fresh = try writes.filter(\.tensor.isUninitialized).map { write in
            try TensorLayout(write.tensor.currentLayout.dtype, shape: write.value.shape).byteCount
        }
        try limits.checkMemory(fresh.saturatingSum, file: mismatch.file ?? "the state dict")
        let shared = SharedNames(entries)
        let destinations = Set(writes.map(\.tensor).filter { !$0.isUninitialized }.map(\.storage))
        var work = LoadingWork()
        for (name, tensor, value) in writes {
            var value = value
            if destinations.contains(value.storage) {
                // The model's own values, which are about to be written to.
                if value.storage === tensor.storage && value.layout == tensor.layout { continue }
                value = try noGrad { try value.copied("load") }
            }
            if let parameter = tensor as? Parameter, !parameter.isInitialized {
                let fresh = try Tensor.zeroed(parameter.currentLayout.dtype, value.shape, on: parameter.device)
                try work.add(value, to: fresh, names: [])
                work.finishing.append { parameter.adopt(fresh) }
            } else {
                try work.add(value, to: tensor, names: shared.group(of: name))
            }
        }
        return work
    }

    private static func fits(_ value: Tensor, _ tensor: Tensor, _ convertsDTypes: Bool) -> Bool {
        let dtype = tensor.currentLayout.dtype
        let isConvertible = convertsDTypes && value.dtype.elementType != nil && dtype.elementType != nil
        guard value.dtype == dtype || isConvertible else { return false }
        return (tensor as? Parameter)?.admits(value.shape) ?? (value.shape == tensor.shape)
    }

    private static func text(_ tensor: Tensor) -> String {
        "\(tensor.currentLayout.dtype) \((tensor as? Parameter)?.shapeDescription ?? "\(tensor.shape)")"
    }
}

extension [Int] {
    /// The sum of numbers that are not negative; the greatest integer if it is more.
    var saturatingSum: Int {
        reduce(0) { sum, number in
            let (sum, overflow) = sum.addingReportingOverflow(number)
            return overflow ? .max : sum
        }
    }
}
