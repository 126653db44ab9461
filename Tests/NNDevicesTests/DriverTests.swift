import CUDATestDriver
import Testing

@testable import NNDevices

/// What a forked child looks at: a C function can't capture.
private enum ForkedChild {
    nonisolated(unsafe) static var gpu: GPU?

    /// 0 if the child is told that the driver does not work there.
    static func check() -> Int32 {
        do {
            _ = try gpu?.memory()
            return 1
        } catch {
            return "\(error)".contains("forked") && cuda_test_calls(nil) == 0 ? 0 : 2
        }
    }
}

extension StagingTests {
    /// In the same suite, because the test double is global.
    @Suite("The driver")
    struct DriverTests {
        @Test("that is not there means that there is no GPU, and why")
        func missing() {
            let error = #expect(throws: DeviceError.self) { try Driver(path: "/nowhere/libcuda.so.1") }
            #expect(error?.code == "no-driver")
            #expect(error?.description.contains("/nowhere/libcuda.so.1") == true)
        }

        @Test("that is some other library is refused, naming the function it lacks")
        func otherLibrary() {
            let error = #expect(throws: DeviceError.self) { try Driver(path: "libc.so.6") }
            #expect(error?.description.contains("cuInit") == true)
        }

        @Test("that is too old is refused")
        func tooOld() throws {
            var configuration = TestDriver.usual
            configuration.version = 11040
            cuda_test_reset(configuration)
            let error = #expect(throws: DeviceError.self) { try TestDriver.driver() }
            #expect(error?.description.contains("older than CUDA 12.0") == true)
        }

        @Test(
            "that does not start says why and what to do",
            arguments: [
                (Int32(100), "--gpus all"), (34, "stubs/libcuda.so"), (803, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH"),
                (802, "nvidia-fabricmanager"),
            ])
        func notStarting(code: Int32, advice: String) throws {
            var configuration = TestDriver.usual
            configuration.start_result = code
            cuda_test_reset(configuration)
            let error = #expect(throws: DeviceError.self) { try TestDriver.driver() }
            #expect(error?.code == "no-driver")
            #expect(error?.description.contains(advice) == true)
        }

        @Test("tells what its devices are")
        func properties() throws {
            try TestDriver.with { driver in
                #expect(driver.gpus.count == 2)
                let properties = driver.gpus[1].properties
                #expect(properties.name == "Test double 1")
                #expect(properties.uuid == "GPU-10111213-1415-1617-1819-1a1b1c1d1e1f")
                #expect(properties.memory == 1 << 30)
                #expect(properties.computeCapability == (7, 5))
            }
        }

        @Test("does not work in a forked child, which is told so and gives nothing back")
        func forkedChild() throws {
            try TestDriver.with { driver in
                ForkedChild.gpu = driver.gpus[0]
                defer { ForkedChild.gpu = nil }
                _ = try driver.gpus[0].memory()
                driver.fail(call: 0)
                #expect(cuda_test_in_child { ForkedChild.check() } == 0)
                #expect(driver.calls() == 0)
            }
        }

        @Test("makes no context before a GPU is used, and one for all its uses")
        func contexts() throws {
            try TestDriver.with { driver in
                #expect(driver.calls("cuDevicePrimaryCtxRetain") == 0)
                _ = try driver.gpus[0].memory()
                try driver.gpus[0].synchronize()
                #expect(driver.calls("cuDevicePrimaryCtxRetain") == 1)
            }
        }
    }

    @Suite("Devices")
    struct DeviceTests {
        @Test("are the CPU where there is no GPU")
        func names() throws {
            #expect(Device.cpu.description == "cpu")
            #expect(Device.cuda(3).description == "cuda:3")
            if Device.gpus.isEmpty {
                #expect(Device.tryGPU(0) == .cpu)
                #expect(Device.tryAllGPUs() == [.cpu])
                #expect(Device.whyNoGPU != nil)
            } else {
                #expect(Device.tryGPU(0) == .cuda(0))
                #expect(Device.whyNoGPU == nil)
            }
            #expect(Device.tryGPU(99) == .cpu)
        }

        @Test("that are not there are refused with what is there, or with why there is none")
        func absent() throws {
            let error = #expect(throws: DeviceError.self) { try Device.cuda(99).memory() }
            #expect(error?.code == (Device.gpus.isEmpty ? "no-driver" : "no-such-device"))
        }
    }
}
