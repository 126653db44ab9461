/// What an export could not write as it was. A tool prints it to standard error.
public struct ExportReport: Sendable, Equatable {
    /// What became a nearest plain value, one sentence each.
    public internal(set) var converted: [String] = []
    /// What was left out, one sentence each.
    public internal(set) var dropped: [String] = []

    /// Whether everything was written as it was.
    public var isEmpty: Bool { converted.isEmpty && dropped.isEmpty }
    /// All sentences, those about what was left out first.
    public var lines: [String] { dropped + converted }
}
