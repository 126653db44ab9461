import CCUDA
import NNStore
import Synchronization

/// Memory of this process whose pages stay where they are, so that devices copy from and to it by themselves.
enum PinnedMemory {
    private static let touchedAtOnce = 1 << 20
    private static let ofLostDevices = Mutex<[Memory]>([])

    /// Pinned memory that all devices of the context's driver can use.
    ///
    /// It is allocated in huge pages, touched on all cores, and then registered with the driver, which is twice as fast as
    /// having the driver allocate it. Where registering is impossible, the driver allocates it.
    static func allocate(_ byteCount: Int, _ context: DeviceContext) throws -> Memory {
        let memory = try Memory.allocate(byteCount)
        try Workers.forEach(
            (byteCount + touchedAtOnce - 1) / touchedAtOnce, threads: Workers.defaultCount, context: {}
        ) { number, _ in
            let start = number * touchedAtOnce
            memory.withMutableBytes(in: start..<min(start + touchedAtOnce, byteCount)) { $0.zero() }
        }
        // Sound: the memory is retained by the closure below, which is called when nobody uses it any more, and only then
        // is it unregistered.
        let start = unsafe memory.address!
        let flags = UInt32(nnstore_cu_host_portable)
        let registered = try context.with { functions throws(DeviceError) in
            unsafe functions.registerHostMemory(start, byteCount, flags)
        }
        if registered == 0 {
            return unsafe Memory.pinned(UnsafeMutableRawBufferPointer(start: start, count: byteCount)) {
                let unregistered = try? context.with { functions throws(DeviceError) in
                    unsafe functions.unregisterHostMemory(memory.address!)
                }
                // A device that was lost may still be copying, so the memory stays for the life of the process.
                if unregistered == nil || !context.isUsable { ofLostDevices.withLock { $0.append(memory) } }
            }
        }
        return try context.with { functions throws(DeviceError) in
            var start: UnsafeMutableRawPointer?
            try context.check(
                unsafe functions.allocateHostMemory(&start, byteCount, flags), "pinning \(byteCount) bytes of memory")
            let block = unsafe PinnedBlock(start: start!)
            return unsafe Memory.pinned(UnsafeMutableRawBufferPointer(start: start, count: byteCount)) {
                if !context.isUsable { return }
                _ = try? context.with { functions throws(DeviceError) in unsafe functions.freeHostMemory(block.start) }
            }
        }
    }

    /// Sound to send: the address is only given back to the driver, once.
    @safe private struct PinnedBlock: @unchecked Sendable {
        let start: UnsafeMutableRawPointer
    }
}
