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

        /// Whether the shapes are the same.
        fileprivate var differsInDTypeOnly: Bool {
            func shape(_ text: String) -> Substring? { text.firstIndex(of: "[").map { text[$0...] } }
            return shape(model) != nil && shape(model) == shape(state)
        }

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

    /// The file that the state dict comes from, if it comes from one.
    public var file: String?
    /// Names that the model has and the state dict lacks.
    public var missing: [String] = []
    /// Names that the state dict has and the model lacks.
    public var unexpected: [String] = []
    /// Entries whose dtypes or shapes differ.
    public var different: [Difference] = []
    /// Where the two do not agree about what is tied to what.
    public var sharing: [Sharing] = []

    /// Names that share memory in both, but look at it in other ways, so that the model can't hold the values of all of them.
    public var views: [[String]] = []

    /// Nothing does.
    public init() {}

    /// Whether everything fits.
    public var isEmpty: Bool {
        missing.isEmpty && unexpected.isEmpty && different.isEmpty && sharing.isEmpty && views.isEmpty
    }
}

extension StateMismatch: CustomStringConvertible {
    /// Everything in one text.
    public var description: String {
        let state = file == nil ? "state dict" : "file"
        if isEmpty { return (file.map { "\($0): " } ?? "") + "the \(state) fits the model" }
        func list(_ names: [String]) -> String { names.map { "\"\($0)\"" }.joined(separator: ", ") }
        func tied(_ names: [String], _ place: String) -> String {
            names.count > 1
                ? "\(list(names)) are tied in the \(place)" : "\(list(names)) is tied to nothing in the \(place)"
        }
        var parts = different.map { "\"\($0.name)\" is \($0.state) in the \(state) and \($0.model) in the model" }
        if !missing.isEmpty { parts.append("missing: \(list(missing))") }
        if !unexpected.isEmpty { parts.append("unexpected: \(list(unexpected))") }
        parts += sharing.map { "\(tied($0.model, "model")), \(tied($0.state, state))" }
        parts += views.map { "\(list($0)) are tied in both, but look at their memory in different ways" }
        return (file.map { "\($0): " } ?? "") + "the \(state) does not fit the model: \(parts.joined(separator: "; "))"
    }

    /// What can be done about it.
    var advice: String {
        if let commonPrefix {
            return
                "The names of the \(file == nil ? "state dict" : "file") begin with \"\(commonPrefix)\": load with prefix: "
                + "\"\(commonPrefix)\""
        }
        var advice: [String] = []
        if different.contains(where: { $0.differsInDTypeOnly }) {
            advice.append("LoadOptions(convertsDTypes: true) converts dtypes")
        }
        if !sharing.isEmpty { advice.append("LoadOptions(ignoresSharing: true) passes over what is tied") }
        if !missing.isEmpty || !unexpected.isEmpty || different.contains(where: { !$0.differsInDTypeOnly }) {
            advice.append("a module's load(from:strict: false) takes what fits")
        }
        return advice.joined(separator: "; ")
    }

    /// What all missing names have in front of them in the state dict: `module.`, `model.`.
    private var commonPrefix: String? {
        guard let first = missing.first else { return nil }
        let found = Set(unexpected)
        return unexpected.lazy.filter { $0.hasSuffix("." + first) }.map { String($0.dropLast(first.count)) }
            .first { prefix in missing.allSatisfy { found.contains(prefix + $0) } }
    }
}
