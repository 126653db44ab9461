/// What keeps a state dict from fitting a model, all of it at once.
public struct StateMismatch: Sendable, Hashable {
    /// An entry that both have, but not alike.
    public struct Difference: Sendable, Hashable {
        /// The name of the entry.
        public var name: String
        /// Dtype and shape in the model.
        public var model: String
        /// Dtype and shape in the state dict.
        public var state: String

        /// An entry and what it is on both sides.
        public init(name: String, model: String, state: String) {
            (self.name, self.model, self.state) = (name, model, state)
        }
    }

    /// Names that share memory on one side only.
    public struct Sharing: Sendable, Hashable {
        /// Names that are one in the model.
        public var model: [String]
        /// Names that are one in the state dict.
        public var state: [String]

        /// Names that are one on each side.
        public init(model: [String], state: [String]) { (self.model, self.state) = (model, state) }
    }

    /// Names that the model has and the state dict lacks.
    public var missing: [String] = []
    /// Names that the state dict has and the model lacks.
    public var unexpected: [String] = []
    /// Entries whose dtypes or shapes differ.
    public var different: [Difference] = []
    /// Where the two do not agree about what is tied to what.
    public var sharing: [Sharing] = []

    /// Nothing does.
    public init() {}

    /// Whether everything fits.
    public var isEmpty: Bool { missing.isEmpty && unexpected.isEmpty && different.isEmpty && sharing.isEmpty }
}

extension StateMismatch: CustomStringConvertible {
    /// Everything in one text.
    public var description: String {
        if isEmpty { return "the state dict fits the model" }
        func list(_ names: [String]) -> String { names.map { "\"\($0)\"" }.joined(separator: ", ") }
        func tied(_ names: [String], _ place: String) -> String {
            names.count > 1 ? "\(list(names)) are one in the \(place)" : "\(list(names)) stands alone in the \(place)"
        }
        var parts = different.map { "\"\($0.name)\" is \($0.state) in the state dict and \($0.model) in the model" }
        if !missing.isEmpty { parts.append("missing: \(list(missing))") }
        if !unexpected.isEmpty { parts.append("unexpected: \(list(unexpected))") }
        parts += sharing.map { "\(tied($0.model, "model")), \(tied($0.state, "state dict"))" }
        return "the state dict does not fit the model: \(parts.joined(separator: "; ")). "
            + "Load with strict: false to take what fits"
    }
}
