import NNStore

/// All that a training checkpoint holds, before it is saved.
struct TrainingContents {
    /// The names that parts can't have.
    static let reservedNames: Set<String> = ["step", "epoch", "values", "metrics", defaultGenerator]
    static let defaultGenerator = "default_generator"
    /// The numbers that steps and epochs may have: all that a double can count.
    static let counts = 0...(1 << 53)

    let tree: StateTree
    let metadata: StateTree

    init(
        step: Int, epoch: Int?, parts: [(name: String, part: any TrainingPart)], values: StateTree,
        metrics: [String: Double], sequence: Int = 0
    ) throws {
        guard TrainingContents.counts.contains(step), epoch.map(TrainingContents.counts.contains) ?? true else {
            throw TensorError.invalidArgument(
                operation: "TrainingCheckpoint", reason: "step \(step) and epoch \(epoch ?? 0) should be from 0 to 2^53"
            )
        }
        var root = StateDictionary()
        root["step"] = .integer(step)
        if let epoch { root["epoch"] = .integer(epoch) }
        var modules: [ModuleVersions.Module] = []
        let names = TrainingContents.parameterNames(parts)
        for (name, part) in parts {
            let saved =
                if let optimizer = part as? Optimizer {
                    PartState(try optimizer.stateDict(names: names))
                } else {
                    try part.trainingState()
                }
            root[name] = saved.tree
            modules += saved.state?.moduleVersions(below: name) ?? []
        }
        root[TrainingContents.defaultGenerator] = try Generator.default.trainingState().tree
        if case .dictionary(let entries) = values, entries.isEmpty {} else { root["values"] = values }
        if !metrics.isEmpty {
            let sorted = metrics.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }
            root["metrics"] = .dictionary(sorted.map { ($0.key, .double($0.value)) })
        }
        tree = .dictionary(root)
        var metadata = StateDictionary()
        ModuleVersions.write(modules, to: &metadata)
        metadata[TrainingRecord.key] = TrainingRecord.current(
            types: parts.map { ($0.name, "\(type(of: $0.part))") }, sequence: sequence)
        self.metadata = .dictionary(metadata)
    }

    /// The names of all parameters of the models among the parts: `model.0.weight`.
    static func parameterNames(_ parts: [(name: String, part: any TrainingPart)]) -> [ObjectIdentifier: String] {
        var names: [ObjectIdentifier: String] = [:]
        for (part, module) in parts {
            for (name, parameter) in (module as? Module)?.namedParameters() ?? []
            where names[ObjectIdentifier(parameter)] == nil {
                names[ObjectIdentifier(parameter)] = part.joined(name)
            }
        }
        return names
    }

    /// Parts by their names: those of their kinds, and those that were given.
    ///
    /// - Throws: ``TensorError/invalidArgument(operation:reason:)`` if two would have one name, or one a name that is taken.
    static func named(
        _ parts: [any TrainingPart], _ others: KeyValuePairs<String, any TrainingPart>
    ) throws -> [(name: String, part: any TrainingPart)] {
        let all = parts.map { (name: type(of: $0).partName, part: $0) } + others.map { (name: $0.key, part: $0.value) }
        var seen = Set<String>()
        for (name, part) in all {
            guard !reservedNames.contains(name), !name.isEmpty, !name.contains(".") else {
                throw TensorError.invalidArgument(
                    operation: "TrainingCheckpoint",
                    reason: "a part can't have the name \"\(name)\": it has dots, is empty, or is one of "
                        + reservedNames.sorted().joined(separator: ", "))
            }
            guard seen.insert(name).inserted else {
                throw TensorError.invalidArgument(
                    operation: "TrainingCheckpoint",
                    reason: "two parts have the name \"\(name)\", one of them of type \(type(of: part)). Give names: "
                        + "named: [\"actor\": ..., \"critic\": ...]")
            }
        }
        return all
    }
}
