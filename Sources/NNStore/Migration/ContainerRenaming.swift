extension PathRenaming {
    /// A container's trees with other names, those of its modules too.
    func applied(
        state: StateTree, metadata: StateTree, file: String
    ) throws(StoreError) -> (state: StateTree, metadata: StateTree) {
        let (renamed, counts) = try applied(to: state)
        if let unused = zip(rules, counts).first(where: { $0.1 == 0 })?.0 {
            throw .invalidArgument(reason: "\(file): the rule \(unused) is about no entry of it")
        }
        guard case .dictionary(var entries) = metadata else { return (renamed, metadata) }
        let modules = ModuleVersions.read(from: metadata).map { module in
            ModuleVersions.Module(path: applied(to: module.path), type: module.type, version: module.version)
        }
        ModuleVersions.write(modules, to: &entries)
        guard case .dictionary(var record)? = entries[LibraryMetadata.trainingKey], case .dictionary(var root) = renamed
        else {
            return (renamed, .dictionary(entries))
        }
        // A training checkpoint: its parts, and the names of parameters that its optimizers keep (spec section 8).
        guard root["step"] != nil else {
            throw .invalidArgument(
                reason:
                    "\(file): the rules would give \"step\" another name, and it would be no training checkpoint any more"
            )
        }
        if case .dictionary(let types)? = record["types"] {
            var parts = StateDictionary()
            for (name, type) in types { parts[.text(applied(to: name.description))] = type }
            record["types"] = .dictionary(parts)
            entries[LibraryMetadata.trainingKey] = .dictionary(record)
        }
        for (name, part) in root {
            guard case .dictionary(var optimizer) = part, case .list(let groups, let tag)? = optimizer["param_groups"]
            else {
                continue
            }
            optimizer["param_groups"] = .list(groups.map(renamingParameters), tag: tag)
            root[name] = .dictionary(optimizer)
        }
        return (.dictionary(root), .dictionary(entries))
    }

    /// A group of an optimizer with the new names of its parameters.
    private func renamingParameters(_ group: StateTree) -> StateTree {
        guard case .dictionary(var entries) = group, case .list(let names, let tag)? = entries["param_names"] else {
            return group
        }
        let renamed = names.map { name in name.string.map { StateTree.string(applied(to: $0)) } ?? name }
        entries["param_names"] = .list(renamed, tag: tag)
        return .dictionary(entries)
    }
}
