import CCUDA
import NNStore

/// Copies from the staging ring to a device.
final class Upload: DeviceUpload {
    private let gpu: GPU
    private let context: DeviceContext
    private let done: Event

    /// Copies that come after the work of the compute lane so far: their destinations were allocated there.
    init(_ gpu: GPU) throws(DeviceError) {
        self.gpu = gpu
        context = try gpu.context()
        done = try Event(context)
        try done.record(on: .compute)
        try done.hold(.upload)
    }

    var largestCopy: Int { StagingRing.slotSize }

    func send(_ byteCount: Int, to address: UInt64, fill: (Memory) throws -> Void) throws {
        try gpu.ring.withSlot(context) { slot, memory in
            try fill(memory)
            let event = try slot.event(context)
            try context.with { functions throws(DeviceError) in
                // Sound: the slot is lent to nobody else before the event below, and the caller keeps the destination.
                try context.check(
                    unsafe functions.copyToDevice(address, memory.address!, byteCount, context.stream(.upload)),
                    "copying \(byteCount) bytes to the device")
            }
            try event.record(on: .upload)
            return event
        }
    }

    func finish() throws {
        do {
            try done.record(on: .upload)
            // Memory is freed in the compute lane, and not before the copies are over.
            try done.hold(.compute)
            try done.wait()
        } catch {
            context.settle()
            throw error
        }
    }
}
