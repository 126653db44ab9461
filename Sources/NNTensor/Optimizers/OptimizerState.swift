import NNStore

extension Optimizer {
    /// All that the optimizer keeps, in the shape of PyTorch's: `state`, by the number of the parameter, and `param_groups`
    /// with learning rates, other options and the numbers of their parameters. The tensors are the optimizer's own.
    ///
    /// - Throws: `StoreError` if a layout can't be stored.
    public final func stateDict() throws -> StateTree { try stateDict(names: [:]) }

    /// - Parameter names: the names of parameters in the models that they belong to. Where those of a whole group are known,
    ///   they are part of the state, `param_names`.
    final func stateDict(names: [ObjectIdentifier: String]) throws -> StateTree {
        var state = StateDictionary()
        var next = 0
        var parameterGroups: [StateTree] = []
        for group in groups {
            let numbers = next..<next + group.parameters.count
            next = numbers.upperBound
            for number in numbers {
                let kept = try self.state(of: number).map { ($0.name, StateTree.tensor(try $0.tensor.stateTensor())) }
                if !kept.isEmpty { state[.integer(number)] = .dictionary(kept) }
            }
            var entries = options(of: group) + [("params", .list(numbers.map { .integer($0) }))]
            if let names = group.names(names) { entries.append(("param_names", .list(names.map { .string($0) }))) }
            parameterGroups.append(.dictionary(entries))
        }
        return .dictionary([("state", .dictionary(state)), ("param_groups", .list(parameterGroups))])
    }

    /// Takes over what another optimizer of this kind kept, as ``stateDict()`` gave it, here or in PyTorch. The tensors are
    /// copied. All is compared before anything is changed.
    ///
    /// - Throws: ``TensorError/invalidArgument(operation:reason:)`` with what does not fit: groups, numbers of parameters,
    ///   shapes or dtypes.
    public final func load(stateDict: StateTree) throws { try loading(stateDict).run(nil, LoadOptions()) }

    /// Checks a state dict; gives what takes it over.
    ///
    /// - Parameters:
    ///   - names: the names of parameters in the models that they belong to. Where both sides have names, these say which
    ///     parameter is which, and not the order.
    ///   - allowsUninitialized: whether parameters may be without a value yet, because they get one before the work is
    ///     finished.
    ///   - limits: how much memory what is kept may take.
    final func loading(
        _ stateDict: StateTree, names: [ObjectIdentifier: String] = [:], allowsUninitialized: Bool = false,
        limits: ReadLimits = ReadLimits()
    ) throws -> LoadingWork {
        let name = "\(type(of: self))"
        guard case .list(let saved, _)? = stateDict["param_groups"], case .dictionary(let state)? = stateDict["state"]
        else {
            throw OptimizerState.error(name, "a state dict has \"state\" and \"param_groups\"; this one does not")
        }
        guard saved.count == groups.count else {
            throw OptimizerState.error(
                name, "the state dict has \(saved.count) groups of parameters, the optimizer \(groups.count)")
        }
        // A number in the state dict stands for the parameter at the same place of the same group.
        var numbers: [StateKey: Int] = [:]
        var first = 0
        var fresh = groups
        for (place, (group, options)) in zip(groups, saved).enumerated() {
            guard case .list(let saved, _)? = options["params"], saved.count == group.parameters.count else {
                let found = options["params"].map { "\($0.children.count)" } ?? "none"
                throw OptimizerState.error(
                    name,
                    "group \(place) has \(group.parameters.count) parameters here and \(found) in the state dict")
            }
            let places = try group.places(of: options["param_names"], names, group: place, name)
            for (position, number) in saved.enumerated() {
                guard let key = number.int else {
                    throw OptimizerState.error(name, "group \(place): \"params\" should be numbers")
                }
                guard numbers.updateValue(first + places[position], forKey: .integer(key)) == nil else {
                    throw OptimizerState.error(name, "parameter \(key) is in two places of the groups")
                }
            }
            first += saved.count
            fresh[place].learningRate = try options.number("lr", of: name)
            fresh[place].weightDecay = try options.number("weight_decay", of: name)
        }
        // It depends on the options what must be kept.
        let before = options(of: groups[0])
        defer { try? setOptions(.dictionary(before)) }
        if let first = saved.first { try setOptions(first) }
        var work = LoadingWork()
        let states = try prepareStates(state, numbers, name, allowsUninitialized, limits, &work)
        work.finishing.append {
            for (number, kept) in states {
                guard let step = try kept["step"]?.item() else { continue }
                guard step >= 0, step <= Double(TrainingContents.counts.upperBound) else {
                    throw OptimizerState.error(name, "the number of steps of parameter \(number) is \(step)")
                }
            }
            if let first = saved.first { try self.setOptions(first) }
            if allowsUninitialized {
                let likeParameters = Set(self.stateNames.filter(\.isLikeParameter).map(\.name))
                let parameters = self.parameters
                do {
                    for (number, kept) in states {
                        for (key, tensor) in kept where likeParameters.contains(key) {
                            try OptimizerState.check(tensor, key, "\(number)", like: parameters[number], name)
                        }
                    }
                } catch {
                    try self.setOptions(.dictionary(before))
                    throw error
                }
            }
            for number in 0..<numbers.count { self.setState(states[number] ?? [:], of: number) }
            self.groups = fresh
        }
        return work
    }

    /// Fresh tensors for what was kept, which the work will fill.
    private func prepareStates(
        _ state: StateDictionary, _ numbers: [StateKey: Int], _ name: String, _ allowsUninitialized: Bool,
        _ limits: ReadLimits, _ work: inout LoadingWork
    ) throws -> [Int: [String: Tensor]] {
        let parameters = parameters
        var sources: [(number: Int, key: String, value: StateTensor)] = []
        for entry in state {
            guard let number = numbers[entry.key] else {
                throw OptimizerState.error(name, "there is a state for parameter \(entry.key), which is in no group")
            }
            for (key, isLikeParameter) in stateNames {
                guard let value = entry.value[key] else {
                    // PyTorch keeps None where there is no momentum.
                    throw OptimizerState.error(name, "the state of parameter \(entry.key) has no \"\(key)\"")
                }
                if case .null = value { continue }
                guard let tensor = try value.stateTensorValue() else {
                    throw OptimizerState.error(name, "\"\(key)\" of parameter \(entry.key) is no tensor")
                }
                let view = try Tensor(storage: tensor.storage, layout: tensor.layout)
                if !isLikeParameter {
                    guard view.count == 1, view.dtype.elementType != nil else {
                        throw OptimizerState.error(name, "\"\(key)\" of parameter \(entry.key) is not a number")
                    }
                } else if !(allowsUninitialized && parameters[number].isUninitialized) {
                    try OptimizerState.check(view, key, "\(entry.key)", like: parameters[number], name)
                }
                sources.append((number, key, tensor))
            }
        }
        let layouts = try sources.map { try TensorLayout($0.value.dtype, shape: $0.value.shape) }
        try limits.checkMemory(layouts.map(\.byteCount).saturatingSum, file: name)
        let memories = try Memory.allocate(layouts.map(\.byteCount))
        var states: [Int: [String: Tensor]] = [:]
        for ((source, layout), memory) in zip(zip(sources, layouts), memories) {
            let tensor = Tensor(Storage(memory: memory), layout)
            try work.add(source.value, to: tensor, names: [])
            states[source.number, default: [:]][source.key] = tensor
        }
        return states
    }
}

extension Optimizer.ParameterGroup {
    /// The names of all its parameters, if they are known.
    fileprivate func names(_ names: [ObjectIdentifier: String]) -> [String]? {
        let found = parameters.compactMap { names[ObjectIdentifier($0)] }
        return found.count == parameters.count ? found : nil
    }

    /// For each of the saved parameters, which of the group's it is: the one of its name where names are known on both
    /// sides, otherwise the one at its place.
    fileprivate func places(
        of saved: StateTree?, _ names: [ObjectIdentifier: String], group: Int, _ optimizer: String
    ) throws -> [Int] {
        guard case .list(let list, _)? = saved, list.count == parameters.count, let own = self.names(names) else {
            return Array(parameters.indices)
        }
        var places: [String: Int] = [:]
        for (place, name) in own.enumerated() { places[name] = place }
        return try list.map { name in
            guard let name = name.string, let place = places.removeValue(forKey: name) else {
                throw OptimizerState.error(
                    optimizer,
                    "group \(group) has the state of \"\(name.string ?? "?")\", and the model no such parameter in it")
            }
            return place
        }
    }
}

enum OptimizerState {
    /// Checks that something that is kept for a parameter has its dtype and shape.
    static func check(
        _ tensor: Tensor, _ key: String, _ label: String, like parameter: Parameter, _ name: String
    ) throws {
        if parameter.isUninitialized || tensor.shape != parameter.shape || tensor.dtype != parameter.dtype {
            throw error(
                name,
                "\"\(key)\" of parameter \(label) is \(tensor.dtype) \(tensor.shape), the parameter "
                    + "\(parameter.currentLayout.dtype) \(parameter.shapeDescription)")
        }
    }

    static func error(_ name: String, _ reason: String) -> TensorError {
        .invalidArgument(operation: "\(name).load(stateDict:)", reason: reason)
    }
}

extension StateTree {
    /// A number, be it an integer or a double.
    var number: Double? { double ?? int.map(Double.init) }

    /// A learning rate and the like.
    func number(_ key: String, of name: String) throws -> Double {
        guard let value = self[key]?.number, value >= 0, value.isFinite else {
            throw OptimizerState.error(name, "\"\(key)\" should be a number that is not negative")
        }
        return value
    }

    func flag(_ key: String, of name: String) throws -> Bool {
        guard let value = self[key]?.bool else {
            throw OptimizerState.error(name, "\"\(key)\" should be true or false")
        }
        return value
    }

    /// The tensor, or a number as one.
    fileprivate func stateTensorValue() throws -> StateTensor? {
        if let tensor { return tensor }
        return try number.map { try Tensor($0).stateTensor() }
    }
}
