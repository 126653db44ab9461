import CUDATestDriver
import Foundation
import NNStore
import Testing

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

@testable import NNDevices

/// Everything here runs over the test double of the driver; arithmetic and speed are not what it is for.
@Suite("Staging through pinned memory", .serialized)
struct StagingTests {
    /// Storages large and small, several tensors over one, views, an empty one, a scalar. Some are larger than the ring's
    /// slots, or, if it is to be small, than those that share memory on the device.
    private static func sample(isSmall: Bool = false) throws -> StateTree {
        func tensor(_ dtype: DType, _ shape: [Int], seed: Int) throws -> StateTensor {
            let layout = try TensorLayout(dtype, shape: shape)
            // Values with a pattern that compresses, and differs from storage to storage.
            let bytes = (0..<layout.byteCount).map { UInt8(truncatingIfNeeded: ($0 >> 3) &* 7 &+ seed &* 31) }
            return try StateTensor(storage: Storage(bytes), layout: layout)
        }
        let tied = try tensor(.f32, [isSmall ? 1 : 3, 1000, 1000], seed: 1)
        let half = try StateTensor(
            storage: tied.storage, layout: try TensorLayout(.f32, shape: [1000, 500], strides: [1, 1000], offset: 7))
        var entries: [(String, StateTree)] = [
            ("tied", .tensor(tied)), ("again", .tensor(tied)), ("view", .tensor(half)),
        ]
        for number in 0..<(isSmall ? 3 : 40) {
            entries.append(("small.\(number)", .tensor(try tensor(.bf16, [number * 37 + 1], seed: number))))
        }
        entries.append(("large", .tensor(try tensor(.u8, [(isSmall ? 1 : 5) << 20 | 3], seed: 9))))
        entries.append(("empty", .tensor(try tensor(.f32, [0, 4], seed: 0))))
        entries.append(("scalar", .tensor(try tensor(.i64, [], seed: 5))))
        entries.append(("step", .integer(7)))
        return .dictionary(entries)
    }

    static func withFile<Result>(_ body: (String) throws -> Result) throws -> Result {
        let path = FileManager.default.temporaryDirectory.appendingPathComponent("nnstore-\(UUID().uuidString)").path
        defer { unlink(path) }
        return try body(path)
    }

    private static func save(_ tree: StateTree, _ compression: Compression, to path: String) throws {
        var options = SaveOptions(compression: compression)
        options.existing = .replace
        options.isDurable = false
        try Checkpoint.save(tree, to: path, options: options)
    }

    /// The bytes that a container saved from the tree has.
    private static func contents(_ tree: StateTree) throws -> String {
        try withFile { path in
            try save(tree, .none, to: path)
            return try Checkpoint.open(path).contentID.description
        }
    }

    @Test(
        "gives a container's tensors to the device and takes them back, sharing kept",
        arguments: [Compression.none, .fast], [true, false])
    func thereAndBack(compression: Compression, hasPools: Bool) throws {
        var configuration = TestDriver.usual
        configuration.has_pools = hasPools ? 1 : 0
        configuration.delay = 200
        try TestDriver.with(configuration) { driver in
            let tree = try StagingTests.sample()
            try StagingTests.withFile { path in
                try StagingTests.save(tree, compression, to: path)
                let there = try Checkpoint.open(path).state().copied(to: driver.gpus[0], threads: 4)
                let tied = try #require(there["tied"]?.tensor), view = try #require(there["view"]?.tensor)
                #expect(tied.storage === view.storage)
                #expect(tied.storage.deviceBacking?.deviceName == "cuda:0")
                #expect(!tied.storage.isResident)
                #expect(try StagingTests.contents(there) == StagingTests.contents(tree))
                let back = try there.copied(to: nil)
                #expect(try StagingTests.contents(back) == StagingTests.contents(tree))
                let other = try there.copied(to: driver.gpus[1])
                #expect(try StagingTests.contents(other) == StagingTests.contents(tree))
            }
        }
    }

    @Test("reads bytes on a device as a copy and does not let them be written")
    func accessFromTheCPU() throws {
        try TestDriver.with { driver in
            let bytes: [UInt8] = [1, 2, 3, 4]
            let tree = StateTree.tensor(
                try StateTensor(storage: try Storage(bytes), layout: try TensorLayout(.u8, shape: [4])))
            let there = try #require(try tree.copied(to: driver.gpus[0]).tensor)
            #expect(try there.storage.withBytes { $0.array } == bytes)
            #expect(!there.storage.isResident)
            let error = #expect(throws: StoreError.self) { try there.storage.withMutableBytes { $0.zero() } }
            #expect(error?.description.contains("cuda:0") == true)
        }
    }

    @Test("copies small storages together")
    func smallStorages() throws {
        try TestDriver.with { driver in
            let entries = try (0..<1000).map { number in
                (
                    "\(number)",
                    StateTree.tensor(
                        try StateTensor(
                            storage: try Storage(copying: [Int64(number)]), layout: try TensorLayout(.i64, shape: [1])))
                )
            }
            let tree = StateTree.dictionary(entries)
            let there = try tree.copied(to: driver.gpus[0])
            #expect(driver.calls("cuMemAllocFromPoolAsync") == 1)
            #expect(driver.calls("cuMemcpyHtoDAsync") == 1)
            #expect(try StagingTests.contents(there) == StagingTests.contents(tree))
        }
    }

    @Test("copies to each allocation by itself, also where two stand side by side", arguments: [1 << 20, 256])
    func allocations(byteCount: Int) throws {
        try TestDriver.with { driver in
            let tree = StateTree.list(
                try (0..<5).map { seed in
                    .tensor(
                        try StateTensor(
                            storage: Storage((0..<byteCount).map { UInt8(truncatingIfNeeded: $0 &* 3 &+ seed) }),
                            layout: TensorLayout(.u8, shape: [byteCount])))
                })
            let copy = try DeviceStorage.$sharesBlocks.withValue(false) { try tree.copied(to: driver.gpus[0]) }
            #expect(driver.calls("cuMemcpyHtoDAsync") == 5)
            #expect(try StagingTests.contents(copy) == StagingTests.contents(tree))
        }
    }

    @Test("keeps the process's memory to the ring, which it makes once")
    func boundedMemory() throws {
        try TestDriver.with { driver in
            let tree = try StagingTests.sample()
            for _ in 0..<3 { _ = try tree.copied(to: driver.gpus[0]) }
            _ = try tree.copied(to: driver.gpus[1])
            #expect(driver.calls("cuMemHostRegister") == 1)
            #expect(driver.calls("cuMemHostAlloc") == 0)
        }
    }

    @Test("has the driver allocate pinned memory where none can be registered")
    func refusedRegistering() throws {
        var configuration = TestDriver.usual
        configuration.refuses_registering = 1
        try TestDriver.with(configuration) { driver in
            let tree = try StagingTests.sample()
            let there = try tree.copied(to: driver.gpus[0])
            #expect(try StagingTests.contents(there) == StagingTests.contents(tree))
            #expect(driver.calls("cuMemHostAlloc") == 1)
        }
    }

    @Test("throws and leaves nothing behind, whichever call of a load fails", arguments: [true, false])
    func failingLoads(hasPools: Bool) throws {
        var configuration = TestDriver.usual
        configuration.has_pools = hasPools ? 1 : 0
        let tree = try StagingTests.sample(isSmall: true)
        let expected = try StagingTests.contents(tree)
        try StagingTests.withFile { path in
            try StagingTests.save(tree, .fast, to: path)
            let lazy = try Checkpoint.open(path).state()
            let (calls, failed) = try everyCall(configuration) {
                _ = try lazy.copied(to: $0, threads: 2)
            } check: { driver in
                let there = try lazy.copied(to: driver.gpus[0])
                #expect(try StagingTests.contents(there) == expected)
            }
            #expect(calls > 40)
            // A failure of giving something back, or of the first of two tries, is none of the load.
            #expect(failed > calls / 3)
        }
    }

    @Test("throws and leaves nothing behind, whichever call of a save fails")
    func failingSaves() throws {
        let tree = try StagingTests.sample(isSmall: true)
        let (calls, failed) = try everyCall(TestDriver.usual) { gpu in
            let there = try tree.copied(to: gpu, threads: 1)
            try StagingTests.withFile { try StagingTests.save(there, .fast, to: $0) }
        }
        #expect(calls > 100)
        #expect(failed > calls / 3)
    }

    /// Runs `body` once for each of its calls of the driver, and lets that one fail.
    private func everyCall(
        _ configuration: cuda_test_configuration, _ body: (GPU) throws -> Void,
        check: (TestDriver) throws -> Void = { _ in }
    ) throws -> (calls: Int, failed: Int) {
        var calls = 0
        try TestDriver.with(configuration) { driver in
            driver.fail(call: 0)
            try body(driver.gpus[0])
            calls = driver.calls()
        }
        var failed = 0
        for call in 1...calls {
            try TestDriver.with(configuration) { driver in
                driver.fail(call: call)
                do {
                    try body(driver.gpus[0])
                } catch {
                    failed += 1
                }
                driver.fail(call: 0)
                // The GPU is as good as before.
                try check(driver)
            }
        }
        return (calls, failed)
    }

    @Test("says that the device is lost, and then only lets go of what is on the process's side")
    func lostContext() throws {
        try TestDriver.with(losesDevice: true) { driver in
            let tree = try StagingTests.sample()
            _ = try tree.copied(to: driver.gpus[0])
            driver.fail("cuMemcpyHtoDAsync", call: 2, with: 719)
            let error = #expect(throws: DeviceError.self) { try tree.copied(to: driver.gpus[0]) }
            #expect(error?.code == "context-lost")
            #expect(error?.description.contains("CUDA_ERROR_LAUNCH_FAILED (719)") == true)
            #expect(throws: DeviceError.self) { try tree.copied(to: driver.gpus[0]) }
        }
    }

    @Test("says how much memory was wanted and is free")
    func outOfMemory() throws {
        var configuration = TestDriver.usual
        configuration.memory = 8 << 20
        try TestDriver.with(configuration) { driver in
            let error = #expect(throws: DeviceError.self) { try StagingTests.sample().copied(to: driver.gpus[0]) }
            #expect(error?.code == "out-of-device-memory")
            #expect(error?.description.contains("of 8388608 are free") == true)
        }
    }

    @Test("stops when asked to, with every copy over")
    func cancellation() throws {
        var configuration = TestDriver.usual
        configuration.delay = 2000
        try TestDriver.with(configuration) { driver in
            let cancellation = Cancellation()
            cancellation.cancel()
            #expect(throws: StoreError.cancelled) {
                try StagingTests.sample().copied(to: driver.gpus[0], cancellation: cancellation)
            }
        }
    }

    @Test("gives nothing of a damaged container to anybody")
    func damagedContainer() throws {
        try TestDriver.with { driver in
            try StagingTests.withFile { path in
                try StagingTests.save(try StagingTests.sample(), .none, to: path)
                let descriptor = open(path, O_RDWR)
                var byte: UInt8 = 0
                pread(descriptor, &byte, 1, 6 << 20)
                byte ^= 1
                pwrite(descriptor, &byte, 1, 6 << 20)
                close(descriptor)
                let error = #expect(throws: StoreError.self) {
                    try Checkpoint.open(path).state().copied(to: driver.gpus[0])
                }
                #expect(error?.code == "damaged")
            }
        }
    }
}
