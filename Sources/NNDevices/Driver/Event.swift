import CCUDA

/// A point in the work of a device, to wait for.
///
/// Sound to send: the handle is valid until the object goes, and the driver's functions may be called from any thread.
@safe final class Event: @unchecked Sendable {
    let context: DeviceContext
    private let handle: nnstore_cu_event

    /// An event at which a waiting thread sleeps; one that spins would take a core from decoding.
    init(_ context: DeviceContext) throws(DeviceError) {
        self.context = context
        unsafe handle = try context.with { functions throws(DeviceError) in
            var handle: nnstore_cu_event?
            let flags = nnstore_cu_event_blocking_sync | nnstore_cu_event_disable_timing
            try context.check(unsafe functions.createEvent(&handle, UInt32(flags)), "making an event")
            return unsafe handle!
        }
    }

    deinit {
        if !context.isUsable { return }
        _ = try? context.with { functions throws(DeviceError) in unsafe functions.destroyEvent(handle) }
    }

    /// Moves the event to the end of what was begun in a lane until now.
    func record(on lane: DeviceContext.Lane) throws(DeviceError) {
        try context.with { functions throws(DeviceError) in
            try context.check(unsafe functions.recordEvent(handle, context.stream(lane)), "recording an event")
        }
    }

    /// Whether the device has come to the event, or never will.
    var isReached: Bool {
        let status = try? context.with { functions throws(DeviceError) in unsafe functions.queryEvent(handle) }
        return status.map { Int($0) != nnstore_cu_not_ready } ?? true
    }

    /// Waits until the device has come to the event.
    func wait() throws(DeviceError) {
        try context.with { functions throws(DeviceError) in
            try context.check(unsafe functions.synchronizeEvent(handle), "waiting for the device")
        }
    }

    /// Lets what is begun in a lane from now on wait for the event. Returns at once.
    func hold(_ lane: DeviceContext.Lane) throws(DeviceError) {
        try context.with { functions throws(DeviceError) in
            try context.check(
                unsafe functions.streamWaitEvent(context.stream(lane), handle, 0), "having a stream wait")
        }
    }
}
