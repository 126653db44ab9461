import CCUDA
import NNStore
import Synchronization

/// A GPU as this process uses it.
package final class GPU: Sendable {
    /// The GPUs of the process's driver, or why there is no driver.
    private static let ofProcess = Driver.shared.flatMap { driver in
        Result { () throws(DeviceError) in try GPU.all(of: driver) }
    }

    /// GPUs that stand for those of the process, in tests.
    @TaskLocal package static var substitutes: [GPU]?

    /// The GPUs that `Device` names, or why there are none.
    static var all: Result<[GPU], DeviceError> { substitutes.map { .success($0) } ?? ofProcess }

    /// The GPUs of a driver.
    static func all(of driver: Driver) throws(DeviceError) -> [GPU] {
        let ring = StagingRing(driver)
        return try driver.devices().map { GPU($0, driver, ring) }
    }

    package let properties: DeviceProperties
    let driver: Driver
    /// The pinned memory that all GPUs of the driver share.
    let ring: StagingRing
    let copies = PinnedCopies()
    /// What is made when the GPU is first used.
    private let used = Mutex<DeviceContext?>(nil)

    private init(_ properties: DeviceProperties, _ driver: Driver, _ ring: StagingRing) {
        (self.properties, self.driver, self.ring) = (properties, driver, ring)
    }

    deinit {
        // What is being copied from is let go next.
        used.withLock { $0 }?.settle()
    }

    /// The GPU's context, which is made when it is first asked for.
    func context() throws(DeviceError) -> DeviceContext {
        try used.withLock { used throws(DeviceError) in
            if let used { return used }
            let context = try DeviceContext(self)
            used = context
            return context
        }
    }

    /// The GPU's name among devices.
    package var device: Device { .cuda(properties.ordinal) }

    /// Where a kernel notes an index that is not there; whoever asks for values from the device next hears of it.
    package func problemAddress() throws(DeviceError) -> UInt64 {
        let context = try context()
        return try context.indexProblem.address(context)
    }

    func memory() throws(DeviceError) -> (free: Int, total: Int) { try context().memoryInfo() }

    /// Waits until all work that was begun is done.
    ///
    /// - Throws: ``DeviceError/indexOutOfRange(device:index:extent:)`` if an operation was given an index that is not there.
    func synchronize() throws(DeviceError) {
        let context = try context()
        try context.waitForAll()
        copies.release()
        defer { context.indexProblem.forget() }
        try context.indexProblem.check(context.name)
    }
}
