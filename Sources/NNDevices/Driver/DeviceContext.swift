import CCUDA
import Synchronization

/// The primary context of a GPU and its streams, with what lives in it: memory, kernels, cuBLAS.
///
/// Sound to send: the handles are valid until the object goes, and the driver's functions may be called from any thread. Every
/// call is made inside ``with(_:_:)``, which makes the context the thread's current one.
@safe final class DeviceContext: @unchecked Sendable {
    /// In what order work is done.
    enum Lane: Int {
        /// Operations, allocations and releases.
        case compute
        /// Copies to the device.
        case upload
        /// Copies from the device.
        case download
    }

    /// A queue of work. Safe to hold: only calls of the driver use the handle.
    @safe private struct Stream {
        let handle: nnstore_cu_stream
    }

    private let driver: Driver
    /// What messages call the device.
    let name: String
    private let device: nnstore_cu_device
    private let handle: nnstore_cu_context
    private let streams: [Stream]
    private let lost = Atomic<Bool>(false)
    let allocator: DeviceAllocator
    let kernels = KernelModules()
    let indexProblem = IndexProblem()
    private let blas = Mutex<BlasState>(.untried)

    private enum BlasState {
        case untried
        case ready(Blas)
        case unusable
    }

    /// Makes the GPU ready.
    init(_ gpu: GPU) throws(DeviceError) {
        driver = gpu.driver
        let (driver, properties) = (gpu.driver, gpu.properties)
        let name = "cuda:\(properties.ordinal)"
        self.name = name
        if driver.isForked { throw .afterFork(device: name) }
        var device: nnstore_cu_device = 0
        // Sound here and below: every pointer given is to a variable that lives until the call returns, and handles are used
        // only between their making and their end.
        try driver.check(
            unsafe driver.functions.device(&device, Int32(properties.ordinal)), "looking for the device", on: name)
        var handle: nnstore_cu_context?
        try driver.check(
            unsafe driver.functions.retainPrimaryContext(&handle, device), "making its context", on: name)
        self.device = device
        unsafe self.handle = unsafe handle!
        do throws(DeviceError) {
            (streams, allocator) = try unsafe DeviceContext.current(driver, handle!, name) { () throws(DeviceError) in
                var streams: [Stream] = []
                do throws(DeviceError) {
                    for _ in 0..<3 {
                        var stream: nnstore_cu_stream?
                        try driver.check(
                            unsafe driver.functions.createStream(
                                &stream, UInt32(nnstore_cu_stream_non_blocking)), "making a stream", on: name)
                        streams.append(unsafe Stream(handle: stream!))
                    }
                    let ordinal = properties.hasMemoryPools ? properties.ordinal : nil
                    return (streams, try DeviceAllocator(driver, poolsOf: ordinal, name))
                } catch {
                    for stream in streams { _ = unsafe driver.functions.destroyStream(stream.handle) }
                    throw error
                }
            }
        } catch {
            _ = driver.functions.releasePrimaryContext(device)
            throw error
        }
    }

    deinit {
        if !isUsable { return }
        settle()
        try? with { functions throws(DeviceError) in
            blas.withLock { $0 = .unusable }
            indexProblem.release(functions)
            kernels.release(functions)
            allocator.release(functions)
            for stream in streams { _ = unsafe functions.destroyStream(stream.handle) }
        }
        _ = driver.functions.releasePrimaryContext(device)
    }

    /// Whether calls make sense: the context was not lost, and the process is the one that made it.
    var isUsable: Bool { !lost.load(ordering: .relaxed) && !driver.isForked }

    /// Calls `body` with the driver's functions while the context is the thread's current one.
    func with<Result>(
        _ body: (DriverFunctions) throws(DeviceError) -> Result
    ) throws(DeviceError) -> Result {
        if driver.isForked { throw .afterFork(device: name) }
        return try unsafe DeviceContext.current(driver, handle, name) { () throws(DeviceError) in
            try body(driver.functions)
        }
    }

    private static func current<Result>(
        _ driver: Driver, _ handle: nnstore_cu_context, _ name: String, _ body: () throws(DeviceError) -> Result
    ) throws(DeviceError) -> Result {
        var result = unsafe driver.functions.pushContext(handle)
        // Twice, because nothing can be given back to the device without it.
        if result != 0 { result = unsafe driver.functions.pushContext(handle) }
        try driver.check(result, "making its context current", on: name)
        defer {
            var popped: nnstore_cu_context?
            _ = unsafe driver.functions.popContext(&popped)
        }
        return try body()
    }

    /// Throws unless `result` is success, and remembers if the context is lost.
    func check(_ result: nnstore_cu_result, _ operation: @autoclosure () -> String) throws(DeviceError) {
        do throws(DeviceError) {
            try driver.check(result, operation(), on: name)
        } catch {
            if case .contextLost = error { lost.store(true, ordering: .relaxed) }
            throw error
        }
    }

    /// The stream of a lane.
    @unsafe func stream(_ lane: Lane) -> nnstore_cu_stream { unsafe streams[lane.rawValue].handle }

    /// Waits until all work that was begun is done.
    func waitForAll() throws(DeviceError) {
        let event = try Event(self)
        for lane in [Lane.compute, .upload, .download] {
            try event.record(on: lane)
            try event.wait()
        }
    }

    /// Waits until the device uses no memory of the process any more; if it can't be waited for, it counts as lost.
    func settle() {
        if !isUsable { return }
        if (try? waitForAll()) == nil { lost.store(true, ordering: .relaxed) }
    }

    func memoryInfo() throws(DeviceError) -> (free: Int, total: Int) {
        var (free, total) = (0, 0)
        try with { functions throws(DeviceError) in
            try check(unsafe functions.memoryInfo(&free, &total), "asking for free memory")
        }
        return (free, total)
    }

    /// Calls `body` with cuBLAS on this device, which is made ready at the first time; `false` if it can't be.
    func withBlas(_ library: BlasLibrary, _ body: (Blas) -> Bool) throws(DeviceError) -> Bool {
        try with { _ throws(DeviceError) in
            blas.withLock { state in
                if case .untried = state {
                    let blas = unsafe Blas(library, stream: stream(.compute)) { try? allocator.allocate($0, self) }
                    state = blas.map { .ready($0) } ?? .unusable
                }
                if case .ready(let blas) = state { return body(blas) }
                return false
            }
        }
    }
}
