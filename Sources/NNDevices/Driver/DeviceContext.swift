import CCUDA
import NNStore
import Synchronization

/// The primary context of a GPU, its streams, and its memory pool.
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
    private let pool: nnstore_cu_pool?
    /// Freed blocks by size, where the driver has no pools.
    private let freed = Mutex<[Int: [nnstore_cu_pointer]]>([:])
    private let lost = Atomic<Bool>(false)
    private let modules = Mutex(Modules())
    private let problem = Mutex<Problem?>(nil)
    /// Memory that is being copied from, until the events after it.
    private let copying = Mutex<[(memory: Memory, event: Event)]>([])
    private let blas = Mutex<BlasState>(.untried)

    private enum BlasState {
        case untried
        case ready(Blas)
        case unusable
    }

    /// Memory of this process that kernels write to: whether there was a bad index, the index, the extent that it was for.
    ///
    /// Safe to hold: kernels write the flag last, and it is read after waiting for them.
    @safe private struct Problem: @unchecked Sendable {
        let words: UnsafeMutablePointer<Int64>
    }

    /// Kernels that were compiled for the device. Safe to hold: only calls of the driver use the handles.
    private struct Modules: @unchecked Sendable {
        @safe struct Module {
            let handle: nnstore_cu_module
        }
        @safe struct Function {
            let handle: nnstore_cu_function
        }

        var loaded: [UInt32: Module] = [:]
        var functions: [Kernel: Function] = [:]
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
            (streams, unsafe pool) = try unsafe DeviceContext.current(driver, handle!, name) { () throws(DeviceError) in
                var streams: [Stream] = []
                var pool: nnstore_cu_pool?
                do throws(DeviceError) {
                    for _ in 0..<3 {
                        var stream: nnstore_cu_stream?
                        try driver.check(
                            unsafe driver.functions.createStream(
                                &stream, UInt32(nnstore_cu_stream_non_blocking)), "making a stream", on: name)
                        streams.append(unsafe Stream(handle: stream!))
                    }
                    if properties.hasMemoryPools {
                        unsafe pool = try DeviceContext.makePool(driver, properties.ordinal, name)
                    }
                } catch {
                    for stream in streams { _ = unsafe driver.functions.destroyStream(stream.handle) }
                    throw error
                }
                return unsafe (streams, pool)
            }
        } catch {
            _ = driver.functions.releasePrimaryContext(device)
            throw error
        }
    }

    deinit {
        if !isUsable { return }
        settle()
        copying.withLock { $0 = [] }
        try? with { functions throws(DeviceError) in
            blas.withLock { $0 = .unusable }
            problem.withLock { problem in
                if let problem { _ = unsafe functions.freeHostMemory(problem.words) }
            }
            modules.withLock { modules in
                for module in modules.loaded.values { _ = unsafe functions.unloadModule(module.handle) }
            }
            for block in freed.withLock({ $0.values.flatMap(\.self) }) { _ = functions.free(block) }
            if let pool = unsafe pool { _ = unsafe functions.destroyPool(pool) }
            for stream in streams { _ = unsafe functions.destroyStream(stream.handle) }
        }
        _ = driver.functions.releasePrimaryContext(device)
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
    ///
    /// - Throws: ``DeviceError/indexOutOfRange(device:index:extent:)`` if a kernel was given an index that is not there.
    func synchronize() throws(DeviceError) {
        try waitForAll()
        try afterWaiting()
    }

    private func waitForAll() throws(DeviceError) {
        let event = try Event(self)
        for lane in [Lane.compute, .upload, .download] {
            try event.record(on: lane)
            try event.wait()
        }
        releaseCopied()
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

    // MARK: Memory

    /// Lets go of memory that has been copied from.
    func releaseCopied() {
        let done = copying.withLock { copying in
            let done = copying.filter { $0.event.isReached }
            copying.removeAll { entry in done.contains { $0.event === entry.event } }
            return done
        }
        // After the lock is given up: releasing calls the driver.
        withExtendedLifetime(done) {}
    }

    /// Begins to copy pinned memory to the device, after the compute lane's work so far and before what is begun there from
    /// now on, and keeps the memory until that is done.
    func copy(_ memory: Memory, to address: nnstore_cu_pointer) throws(DeviceError) {
        releaseCopied()
        let event = try Event(self)
        try event.record(on: .compute)
        try event.hold(.upload)
        do throws(DeviceError) {
            try with { functions throws(DeviceError) in
                // Sound: the memory is kept below, or until the device has settled.
                try check(
                    unsafe functions.copyToDevice(address, memory.address!, memory.byteCount, stream(.upload)),
                    "copying \(memory.byteCount) bytes to the device")
            }
            try event.record(on: .upload)
            try event.hold(.compute)
        } catch {
            settle()
            throw error
        }
        copying.withLock { $0.append((memory, event)) }
    }

    /// Allocates memory, for work of the compute lane that is begun from now on.
    func allocate(_ byteCount: Int) throws(DeviceError) -> nnstore_cu_pointer {
        if let block = freed.withLock({ $0[byteCount]?.popLast() }) { return block }
        var address: nnstore_cu_pointer = 0
        func attempt() throws(DeviceError) -> nnstore_cu_result {
            try with { functions throws(DeviceError) in
                if let pool = unsafe pool {
                    return unsafe functions.allocateFromPool(&address, byteCount, pool, stream(.compute))
                }
                return unsafe functions.allocate(&address, byteCount)
            }
        }
        var result = try attempt()
        if Int(result) == nnstore_cu_out_of_memory {
            try emptyCache()
            result = try attempt()
        }
        if Int(result) == nnstore_cu_out_of_memory {
            let info = try memoryInfo()
            throw .outOfMemory(device: name, wanted: byteCount, free: info.free, total: info.total)
        }
        try check(result, "allocating \(byteCount) bytes")
        return address
    }

    /// Frees memory after the work of the compute lane that was begun until now.
    func free(_ address: nnstore_cu_pointer, _ byteCount: Int) {
        // What a lost context held is gone; in a forked child nothing was ever there.
        if !isUsable { return }
        if unsafe pool == nil {
            freed.withLock { $0[byteCount, default: []].append(address) }
            return
        }
        try? with { functions throws(DeviceError) in
            try check(unsafe functions.freeAsync(address, stream(.compute)), "freeing \(byteCount) bytes")
        }
    }

    /// Gives memory that was freed and kept back to the device, after waiting for all work.
    func emptyCache() throws(DeviceError) {
        try waitForAll()
        let blocks = freed.withLock { freed in
            defer { freed = [:] }
            return freed.values.flatMap(\.self)
        }
        try with { functions throws(DeviceError) in
            if let pool = unsafe pool { try check(unsafe functions.trimPool(pool, 0), "giving memory back") }
            for block in blocks { try check(functions.free(block), "giving memory back") }
        }
    }

    // MARK: Kernels

    /// Calls `body` with cuBLAS on this device, which is made ready at the first time; `false` if it can't be.
    func withBlas(_ library: BlasLibrary, _ body: (Blas) -> Bool) throws(DeviceError) -> Bool {
        try with { _ throws(DeviceError) in
            blas.withLock { state in
                if case .untried = state {
                    let blas = unsafe Blas(library, stream: stream(.compute)) { try? allocate($0) }
                    state = blas.map { .ready($0) } ?? .unusable
                }
                if case .ready(let blas) = state { return body(blas) }
                return false
            }
        }
    }

    func problemAddress() throws(DeviceError) -> UInt64 {
        try problem.withLock { problem throws(DeviceError) in
            if let problem { return unsafe UInt64(UInt(bitPattern: problem.words)) }
            let made = try with { functions throws(DeviceError) in
                // Sound: three words fit, and they are freed with the context. With unified addressing, which all devices
                // of 64-bit programs have, a device knows the memory by the same address.
                var start: UnsafeMutableRawPointer?
                let flags = UInt32(nnstore_cu_host_portable | nnstore_cu_host_mapped)
                try check(unsafe functions.allocateHostMemory(&start, 64, flags), "pinning memory for problems")
                return unsafe Problem(words: start!.initializeMemory(as: Int64.self, repeating: 0, count: 8))
            }
            problem = made
            return unsafe UInt64(UInt(bitPattern: made.words))
        }
    }

    /// What follows on waiting for the compute lane: memory that was copied from is let go.
    ///
    /// - Throws: ``DeviceError/indexOutOfRange(device:index:extent:)`` if a kernel was given an index that is not there.
    func afterWaiting() throws(DeviceError) {
        releaseCopied()
        try problem.withLock { problem throws(DeviceError) in
            guard let problem, unsafe problem.words[0] != 0 else { return }
            let (index, extent) = unsafe (Int(problem.words[1]), Int(problem.words[2]))
            unsafe problem.words[0] = 0
            throw .indexOutOfRange(device: name, index: index, extent: extent)
        }
    }

    /// Begins a kernel in the compute lane.
    func launch<Arguments: BitwiseCopyable>(
        _ kernel: Kernel, _ blocks: UInt32, _ threads: UInt32, _ arguments: Arguments
    ) throws(DeviceError) {
        var arguments = arguments
        try with { functions throws(DeviceError) in
            let function = try function(kernel, functions)
            // Sound: the kernel takes one argument of this type, which the driver copies before it returns.
            let result = unsafe withUnsafeMutableBytes(of: &arguments) { bytes in
                var parameter = bytes.baseAddress
                return unsafe functions.launch(
                    function.handle, blocks, 1, 1, threads, 1, 1, 0, stream(.compute), &parameter, nil)
            }
            try check(result, "beginning the kernel \(kernel.name)")
        }
    }

    private func function(_ kernel: Kernel, _ functions: DriverFunctions) throws(DeviceError) -> Modules.Function {
        try modules.withLock { modules throws(DeviceError) in
            if let function = modules.functions[kernel] { return function }
            if modules.loaded[kernel.file] == nil {
                var module: nnstore_cu_module?
                let text = unsafe nnstore_kernels_text(nnstore_kernels(rawValue: kernel.file))
                try check(unsafe functions.loadModule(&module, text), "compiling the kernels of \(kernel.name)")
                modules.loaded[kernel.file] = unsafe Modules.Module(handle: module!)
            }
            var handle: nnstore_cu_function?
            try check(
                unsafe functions.moduleFunction(&handle, modules.loaded[kernel.file]!.handle, kernel.name),
                "looking for the kernel \(kernel.name)")
            let function = unsafe Modules.Function(handle: handle!)
            modules.functions[kernel] = function
            return function
        }
    }
}
