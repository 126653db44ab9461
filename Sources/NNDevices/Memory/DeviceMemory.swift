import CCUDA

/// A block of a device's memory, freed with the object, in the order of the compute lane.
final class DeviceMemory: Sendable {
    let context: DeviceContext
    /// Where it begins; 0 if it is empty.
    let address: nnstore_cu_pointer
    let byteCount: Int

    /// Memory that holds anything.
    ///
    /// - Throws: ``DeviceError/outOfMemory(device:wanted:free:total:)`` if there is not enough.
    init(_ context: DeviceContext, byteCount: Int) throws(DeviceError) {
        self.context = context
        self.byteCount = byteCount
        address = byteCount == 0 ? 0 : try context.allocator.allocate(byteCount, context)
    }

    deinit {
        if byteCount > 0 { context.allocator.free(address, byteCount, context) }
    }
}
