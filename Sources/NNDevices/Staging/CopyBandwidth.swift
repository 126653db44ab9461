import CCUDA
import NNStore

/// How fast bytes go between pinned memory and a device, for benchmarks: what staging can reach at best.
package enum CopyBandwidth {
    /// The bytes of one copy.
    package static let copySize = 64 << 20

    /// Copies `byteCount` bytes to the device or from it, in large pieces from pinned memory that nobody else uses, and gives
    /// the bytes per second.
    package static func measure(_ byteCount: Int, on device: Device, toDevice: Bool) throws -> Double {
        let context = try device.gpu().context()
        let host = try PinnedMemory.allocate(copySize, context)
        let memory = try DeviceMemory(context, byteCount: copySize)
        let lane: DeviceContext.Lane = toDevice ? .upload : .download
        let event = try Event(context)
        try event.record(on: .compute)
        try event.hold(lane)
        func copy() throws(DeviceError) {
            try context.with { functions throws(DeviceError) in
                // Sound: both blocks are kept until the wait below is over.
                try context.check(
                    toDevice
                        ? unsafe functions.copyToDevice(memory.address, host.address!, copySize, context.stream(lane))
                        : unsafe functions.copyToHost(host.address!, memory.address, copySize, context.stream(lane)),
                    "copying")
            }
        }
        defer { context.settle() }
        try copy()
        try event.record(on: lane)
        try event.wait()
        let count = max(1, byteCount / copySize)
        let time = try ContinuousClock().measure {
            for _ in 0..<count { try copy() }
            try event.record(on: lane)
            try event.wait()
        }
        return Double(count * copySize) / (time / .seconds(1))
    }
}
