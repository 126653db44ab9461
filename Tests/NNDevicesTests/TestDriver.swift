import CUDATestDriver
import Testing

@testable import NNDevices

/// GPUs of the test double, and what it saw. One at a time: it is global.
final class TestDriver {
    static let usual = cuda_test_configuration(
        devices: 2, has_pools: 1, start_result: 0, version: 12020, memory: 1 << 30, delay: 0, refuses_registering: 0)

    private(set) var gpus: [GPU] = []

    /// Calls `body` with GPUs of the double; afterwards nothing may be left of what was made on them, and nothing may have
    /// been done wrong.
    static func with(
        _ configuration: cuda_test_configuration = TestDriver.usual, losesDevice: Bool = false,
        _ location: SourceLocation = #_sourceLocation, _ body: (TestDriver) throws -> Void
    ) throws {
        let driver = try TestDriver(configuration)
        try GPU.$substitutes.withValue(driver.gpus) { try body(driver) }
        cuda_test_fail(nil, 0, 0, 0)
        driver.gpus = []
        #expect(driver.misuse == "", sourceLocation: location)
        // What was on a device that was lost went with it.
        if !losesDevice { #expect(driver.leaks == "", sourceLocation: location) }
    }

    private init(_ configuration: cuda_test_configuration = TestDriver.usual) throws {
        cuda_test_reset(configuration)
        gpus = try GPU.all(of: try TestDriver.driver())
    }

    /// The double as a driver.
    static func driver() throws(DeviceError) -> Driver {
        try Driver(DriverLibrary("the test driver", lookUp: cuda_test_get_proc_address))
    }

    /// Lets the call of this number fail, counted from now, of this entry point or of all.
    func fail(_ entry: String? = nil, call: Int, with code: Int32 = 1, stays: Bool = false) {
        cuda_test_fail(entry, call, code, stays ? 1 : 0)
    }

    func calls(_ entry: String? = nil) -> Int { cuda_test_calls(entry) }

    var misuse: String { String(cString: cuda_test_misuse()) }
    var leaks: String { String(cString: cuda_test_leaks()) }
}
