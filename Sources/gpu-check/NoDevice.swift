import NNStore

/// A destination that takes bytes where a device's ring would, and leaves them there: how fast reading and decoding alone fill
/// such a ring is the limit that loading is compared with. No device, and nothing is kept.
final class NoDevice: DeviceBacking, DeviceUpload {
    let byteCount: Int
    private let buffers: Buffers

    private final class Buffers: Sendable {
        private let free: ConditionLock<[Memory]>

        init(count: Int, size: Int) throws {
            free = ConditionLock(try (0..<count).map { _ in try Memory.allocate(size) })
        }

        func with(_ body: (Memory) throws -> Void) rethrows {
            let memory = free.wait(until: { !$0.isEmpty }) { ($0.removeFirst(), wakes: false) }
            defer { free.change { free in (free.append(memory), wakes: true) } }
            try body(memory)
        }
    }

    let largestCopy = 4 << 20

    private init(byteCount: Int, _ buffers: Buffers) { (self.byteCount, self.buffers) = (byteCount, buffers) }

    /// Destinations of the given sizes, over as many buffers as the ring has.
    static func allocate(_ byteCounts: [Int]) throws -> [Storage] {
        let buffers = try Buffers(count: min(2 * Workers.defaultCount + 4, 32), size: 4 << 20)
        return byteCounts.map { Storage(on: NoDevice(byteCount: $0, buffers)) }
    }

    let deviceName = "no device"
    var device: ObjectIdentifier { ObjectIdentifier(buffers) }
    var allocation: ObjectIdentifier { ObjectIdentifier(self) }
    let address: UInt64 = 0
    let padding: Int? = nil

    func read(_ range: Range<Int>, into destination: inout MutableRawSpan) throws {
        throw StoreError.bytesNotAvailable(reason: "they were not kept")
    }
    func snapshot(of range: Range<Int>) throws -> (any DeviceBacking)? { nil }
    func beginUpload() throws -> any DeviceUpload { self }
    func send(_ byteCount: Int, to address: UInt64, fill: (Memory) throws -> Void) throws {
        try buffers.with(fill)
    }
    func finish() throws {}
}
