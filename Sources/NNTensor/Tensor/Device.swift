/// Where a tensor's elements are and its operations run.
public struct Device: Sendable, Hashable, CustomStringConvertible {
    /// `cpu`.
    public let description: String

    /// The processor and its memory.
    public static let cpu = Device(description: "cpu")
}
