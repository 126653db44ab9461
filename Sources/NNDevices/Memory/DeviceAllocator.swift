import CCUDA
import Synchronization

/// Where a device's memory comes from: a pool of the driver, or, where it has none, blocks that are kept when they are freed.
///
/// Everything happens in the order of the compute lane: a block that was freed there may be used by what is begun there later.
///
/// Sound to send: the pool's handle is valid until ``release(_:)``, which the owning context calls last, and only calls of the
/// driver use it.
@safe final class DeviceAllocator: @unchecked Sendable {
    private let pool: nnstore_cu_pool?
    /// Freed blocks by size, where the driver has no pools.
    private let freed = Mutex<[Int: [nnstore_cu_pointer]]>([:])

    /// - Parameter ordinal: the device's number, if the driver has pools for it. Its context is the current one.
    init(_ driver: Driver, poolsOf ordinal: Int?, _ name: String) throws(DeviceError) {
        unsafe pool =
            if let ordinal { unsafe try DeviceAllocator.makePool(driver, ordinal, name) } else { nil }
    }

    /// A pool that keeps what is freed: giving it back would stop the device each time.
    private static func makePool(
        _ driver: Driver, _ ordinal: Int, _ name: String
    ) throws(DeviceError) -> nnstore_cu_pool {
        var properties = nnstore_cu_pool_properties()
        properties.allocation_type = 1
        properties.location_type = 1
        properties.location = Int32(ordinal)
        var pool: nnstore_cu_pool?
        try driver.check(unsafe driver.functions.createPool(&pool, &properties), "making a memory pool", on: name)
        var threshold = UInt64.max
        let result = unsafe driver.functions.setPoolAttribute(
            pool!, Int32(nnstore_cu_pool_release_threshold), &threshold)
        do throws(DeviceError) {
            try driver.check(result, "setting up a memory pool", on: name)
        } catch {
            _ = unsafe driver.functions.destroyPool(pool!)
            throw error
        }
        return unsafe pool!
    }

    /// Gives everything back, when nothing on the device uses it any more. The context is the current one.
    func release(_ functions: DriverFunctions) {
        for block in takeFreed() { _ = functions.free(block) }
        if let pool = unsafe pool { _ = unsafe functions.destroyPool(pool) }
    }

    private func takeFreed() -> [nnstore_cu_pointer] {
        freed.withLock { freed in
            defer { freed = [:] }
            return freed.values.flatMap(\.self)
        }
    }

    /// Allocates memory, for work of the compute lane that is begun from now on.
    func allocate(_ byteCount: Int, _ context: DeviceContext) throws(DeviceError) -> nnstore_cu_pointer {
        if let block = freed.withLock({ $0[byteCount]?.popLast() }) { return block }
        var address: nnstore_cu_pointer = 0
        func attempt() throws(DeviceError) -> nnstore_cu_result {
            try context.with { functions throws(DeviceError) in
                if let pool = unsafe pool {
                    return unsafe functions.allocateFromPool(&address, byteCount, pool, context.stream(.compute))
                }
                return unsafe functions.allocate(&address, byteCount)
            }
        }
        var result = try attempt()
        if Int(result) == nnstore_cu_out_of_memory {
            try empty(context)
            result = try attempt()
        }
        if Int(result) == nnstore_cu_out_of_memory {
            let info = try context.memoryInfo()
            throw .outOfMemory(device: context.name, wanted: byteCount, free: info.free, total: info.total)
        }
        try context.check(result, "allocating \(byteCount) bytes")
        return address
    }

    /// Frees memory after the work of the compute lane that was begun until now.
    func free(_ address: nnstore_cu_pointer, _ byteCount: Int, _ context: DeviceContext) {
        // What a lost context held is gone; in a forked child nothing was ever there.
        if !context.isUsable { return }
        if unsafe pool == nil {
            freed.withLock { $0[byteCount, default: []].append(address) }
            return
        }
        try? context.with { functions throws(DeviceError) in
            try context.check(
                unsafe functions.freeAsync(address, context.stream(.compute)), "freeing \(byteCount) bytes")
        }
    }

    /// Gives memory that was freed and kept back to the device, after waiting for all work.
    private func empty(_ context: DeviceContext) throws(DeviceError) {
        try context.waitForAll()
        let blocks = takeFreed()
        try context.with { functions throws(DeviceError) in
            if let pool = unsafe pool {
                try context.check(unsafe functions.trimPool(pool, 0), "giving memory back")
            }
            for block in blocks { try context.check(functions.free(block), "giving memory back") }
        }
    }
}
