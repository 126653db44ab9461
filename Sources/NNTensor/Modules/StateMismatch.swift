import NNStore

/// What keeps a state dict from fitting a model, all of it at once.
public struct StateMismatch: Sendable, Equatable, CustomStringConvertible {
    /// Names that the model has and the state dict lacks.
    public var missing: [String] = []
    /// Names that the state dict has and the model lacks.
    public var unexpected: [String] = []
    /// Names under which both have something that does not fit: what each has.
    public var different: [(name: String, model: String, state: String)] = []

    /// Nothing keeps it.
    public var isEmpty: Bool { missing.isEmpty && unexpected.isEmpty && different.isEmpty }

    /// Whether both name the same.
    public static func == (left: StateMismatch, right: StateMismatch) -> Bool {
        left.missing == right.missing && left.unexpected == right.unexpected
            && left.different.elementsEqual(right.different, by: ==)
    }

    /// Everything in one text.
    public var description: String {
        func list(_ title: String, _ names: [String]) -> [String] {
            names.isEmpty ? [] : ["\(title): \(names.map { "\"\($0)\"" }.joined(separator: ", "))"]
        }
        let parts =
            different.map { "\"\($0.name)\" is \($0.state) in the state dict and \($0.model) in the model" }
            + list("missing", missing) + list("unexpected", unexpected)
        return "the state dict does not fit the model: \(parts.joined(separator: "; ")). "
            + "Load with strict: false to take what fits"
    }
}
