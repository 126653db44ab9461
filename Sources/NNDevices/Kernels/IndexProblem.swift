import CCUDA
import Synchronization

/// Where kernels note an index that is not there: a few words of this process that the device writes to.
///
/// Whoever asks for values hears of it, once; saving what is on the device fails as long as nobody has, because what was
/// calculated since is not what it should be.
final class IndexProblem: Sendable {
    /// Sendable because it stands behind the lock. Safe to hold: the words are valid until ``release(_:)``; kernels write the
    /// flag last, and it is looked at after waiting for them.
    @safe private struct Words: @unchecked Sendable {
        /// Whether there was one, the index, and the extent that it was for.
        let address: UnsafeMutablePointer<Int64>
    }

    private let words = Mutex<Words?>(nil)

    /// Where the words are, for a kernel.
    func address(_ context: DeviceContext) throws(DeviceError) -> UInt64 {
        try words.withLock { words throws(DeviceError) in
            if let words { return unsafe UInt64(UInt(bitPattern: words.address)) }
            let made = try context.with { functions throws(DeviceError) in
                // Sound: eight words fit. With unified addressing, which all devices of 64-bit programs have, a device knows
                // the memory by the same address.
                var start: UnsafeMutableRawPointer?
                let flags = UInt32(nnstore_cu_host_portable | nnstore_cu_host_mapped)
                try context.check(
                    unsafe functions.allocateHostMemory(&start, 64, flags), "pinning memory for problems")
                return unsafe Words(address: start!.initializeMemory(as: Int64.self, repeating: 0, count: 8))
            }
            words = made
            return unsafe UInt64(UInt(bitPattern: made.address))
        }
    }

    /// Throws if a kernel that was waited for was given an index that is not there.
    func check(_ device: String) throws(DeviceError) {
        try words.withLock { words throws(DeviceError) in
            guard let words, unsafe words.address[0] != 0 else { return }
            let (index, extent) = unsafe (Int(words.address[1]), Int(words.address[2]))
            throw .indexOutOfRange(device: device, index: index, extent: extent)
        }
    }

    /// Waits for the next bad index: this one was told of.
    func forget() { words.withLock { words in if let words { unsafe words.address[0] = 0 } } }

    /// Gives the words back, when no kernel runs any more. The context is the current one.
    func release(_ functions: DriverFunctions) {
        words.withLock { words in
            if let words { _ = unsafe functions.freeHostMemory(words.address) }
            words = nil
        }
    }
}
