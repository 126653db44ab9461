/// What the driver says of a GPU.
public struct DeviceProperties: Sendable {
    /// Its number in this process, from 0 on.
    public let ordinal: Int
    /// Its name, such as `NVIDIA H100 80GB HBM3`.
    public let name: String
    /// Its identity across processes and machines, such as `GPU-8c187e7c-...`.
    public let uuid: String
    /// The bytes of its memory.
    public let memory: Int
    /// What its processors can do, such as (9, 0).
    public let computeCapability: (major: Int, minor: Int)
    /// The number of its multiprocessors.
    public let multiprocessors: Int
    /// Whether the driver can allocate its memory in the order of a stream.
    let hasMemoryPools: Bool

    init(
        ordinal: Int, name: String, uuid: String, memory: Int, computeCapability: (Int, Int), multiprocessors: Int,
        hasMemoryPools: Bool
    ) {
        self.ordinal = ordinal
        self.name = name
        self.uuid = uuid
        self.memory = memory
        self.computeCapability = computeCapability
        self.multiprocessors = multiprocessors
        self.hasMemoryPools = hasMemoryPools
    }

    /// A UUID as NVIDIA's tools write it.
    static func text(ofUUID bytes: [UInt8]) -> String {
        var text = "GPU-"
        for (number, byte) in bytes.enumerated() {
            if [4, 6, 8, 10].contains(number) { text += "-" }
            text += byte < 16 ? "0" + String(byte, radix: 16) : String(byte, radix: 16)
        }
        return text
    }
}
