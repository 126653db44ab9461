extension Module: CustomStringConvertible {
    /// The module and all inside of it in the layout of PyTorch.
    public final var description: String { text(around: []) }

    private func text(around: Set<ObjectIdentifier>) -> String {
        let around = around.union([ObjectIdentifier(self)])
        var lines = details.isEmpty ? [] : [details]
        var hasChildren = false
        for (name, member) in members {
            guard case .module(let child) = member, !around.contains(ObjectIdentifier(child)) else { continue }
            hasChildren = true
            let inner = child.text(around: around).split(separator: "\n", omittingEmptySubsequences: false)
            lines.append("(\(name)): \(inner.joined(separator: "\n  "))")
        }
        if !hasChildren { return "\(typeName)(\(details))" }
        return "\(typeName)(\n  \(lines.joined(separator: "\n  "))\n)"
    }
}

extension Bool {
    /// As Python prints it.
    var pythonText: String { self ? "True" : "False" }
}

extension [Int] {
    /// As Python prints a tuple.
    var tupleText: String { count == 1 ? "(\(self[0]),)" : "(\(map(String.init).joined(separator: ", ")))" }
}
