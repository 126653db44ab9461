/// A storage's bytes in the memory of a device, which this process can't address.
///
/// NNStore knows no device: whoever does implements this, and containers are decoded into it and saved from it.
package protocol DeviceBacking: AnyObject, StorageBacking {
    /// What messages call the device, such as `cuda:0`.
    var deviceName: String { get }
    /// The same for all backings on one device, and for no others.
    var device: ObjectIdentifier { get }
    /// Where the bytes begin in the device's memory.
    var address: UInt64 { get }
    /// The same for all backings in one allocation of the device, and for no others: copies must not go beyond it, whatever
    /// stands behind it.
    var allocation: ObjectIdentifier { get }
    /// How many bytes behind the storage's own are nobody's, so that a copy may run over them into the next storage;
    /// `nil` if the storage stands alone.
    var padding: Int? { get }

    /// A copy of a range of the bytes as they are after all work that was begun, made on the device without waiting for it;
    /// `nil` if there is no room for one.
    func snapshot(of range: Range<Int>) throws -> (any DeviceBacking)?

    /// Begins copies into memories of this device, which become visible to its work when they are finished.
    func beginUpload() throws -> any DeviceUpload
}

/// Copies into the memory of a device that are under way. Every upload that was begun is finished, also after an error.
package protocol DeviceUpload: AnyObject, Sendable {
    /// The most bytes that one copy can have: 4 MiB or more.
    var largestCopy: Int { get }

    /// Lets `fill` write `byteCount` bytes to memory that the device can copy from, and begins to copy them. May be
    /// called from several threads at once; waits while all such memory is in use.
    func send(_ byteCount: Int, to address: UInt64, fill: (Memory) throws -> Void) throws

    /// Waits for all copies.
    ///
    /// - Throws: what went wrong on the device.
    func finish() throws
}
