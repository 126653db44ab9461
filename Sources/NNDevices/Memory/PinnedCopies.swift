import CCUDA
import NNStore
import Synchronization

/// Copies from a program's pinned memory to a device that nobody waits for. The memory is kept until they are over.
///
/// They belong to the GPU and not to its context, which memory and events themselves keep.
final class PinnedCopies: Sendable {
    private let running = Mutex<[(memory: Memory, event: Event)]>([])

    /// Begins to copy all of `memory`, after the compute lane's work so far and before what is begun there from now on.
    func begin(_ memory: Memory, to address: nnstore_cu_pointer, _ context: DeviceContext) throws(DeviceError) {
        release()
        let event = try Event(context)
        try event.record(on: .compute)
        try event.hold(.upload)
        do throws(DeviceError) {
            try context.with { functions throws(DeviceError) in
                // Sound: the memory is kept below, or until the device has settled.
                try context.check(
                    unsafe functions.copyToDevice(
                        address, memory.address!, memory.byteCount, context.stream(.upload)),
                    "copying \(memory.byteCount) bytes to the device")
            }
            try event.record(on: .upload)
            try event.hold(.compute)
        } catch {
            context.settle()
            throw error
        }
        running.withLock { $0.append((memory, event)) }
    }

    /// Lets go of what has been copied.
    func release() {
        let done = running.withLock { running in
            let isReached = running.map(\.event.isReached)
            defer { running = zip(running, isReached).filter { !$0.1 }.map(\.0) }
            return zip(running, isReached).filter(\.1).map(\.0)
        }
        // After the lock is given up: releasing calls the driver.
        withExtendedLifetime(done) {}
    }
}
