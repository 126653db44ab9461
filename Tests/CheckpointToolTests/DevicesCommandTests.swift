import Foundation
import Testing

@Suite("ckpt-tool devices")
struct DevicesCommandTests {
    private func devices(_ driver: String, _ options: String...) throws -> Outcome {
        try Tool.start(Tool.path, ["devices"] + options, environment: ["NNSTORE_CUDA_DRIVER": driver])
    }

    @Test("lists the CPU and says why there is no GPU, which is no failure")
    func noDriver() throws {
        let outcome = try devices("/nowhere/libcuda.so")
        #expect(outcome.status == 0 && outcome.error == "")
        #expect(
            outcome.output.hasPrefix(
                "cpu\nno GPU can be used: the driver's library /nowhere/libcuda.so can't be opened"))
    }

    @Test("says of a library that is no driver what it lacks")
    func otherLibrary() throws {
        let outcome = try devices("libc.so.6")
        #expect(outcome.status == 0)
        #expect(outcome.output.contains("has no function cuInit"))
    }

    @Test("--json prints devices and the reason")
    func json() throws {
        let object = try devices("/nowhere/libcuda.so", "--json").json
        #expect((object["devices"] as? [[String: String]]) == [["device": "cpu"]])
        #expect((object["why_no_gpu"] as? String)?.contains("/nowhere/libcuda.so") == true)
    }
}
