import GoldenCases
import NNStore
import NNTensor
import Testing

@testable import NNDevices

extension StagingTests {
    /// The kernels' sources, compiled as C++, run on the test double: that they calculate what they should, not that a GPU
    /// does.
    @Suite("The numbers of PyTorch, by the kernels that GPUs run")
    struct GoldenCasesOnGPUTests {
        @Test("are those of forward, loss and gradients", arguments: GoldenCase.names)
        func gradients(_ name: String) throws {
            try TestDriver.with { _ in
                let difference = try GoldenCase(name).gradientDifference(on: .cuda(0))
                #expect(difference <= 1, "\(name)")
            }
        }

        @Test("are those of five steps of each optimizer", arguments: GoldenCase.names, GoldenCase.optimizers)
        func steps(_ name: String, _ kind: String) throws {
            try TestDriver.with { _ in
                let difference = try GoldenCase(name).stepDifference(kind, on: .cuda(0))
                #expect(difference <= 1, "\(name), \(kind)")
            }
        }

        @Test("come without waiting for the device inside a step", arguments: ["mlp", "tied_lm", "cnn"])
        func noWaiting(_ name: String) throws {
            try TestDriver.with { driver in
                let golden = try GoldenCase(name)
                let net = try golden.model().to(.cuda(0))
                let optimizer = golden.optimizer("adamw", net)
                let numbers = try golden.moved(to: .cuda(0))
                func step() throws {
                    optimizer.zeroGrad()
                    try golden.loss(net(numbers["x"]!), numbers["target"]!).backward()
                    try optimizer.step()
                }
                // The first one compiles kernels and makes what the optimizer keeps.
                try step()
                driver.fail(call: 0)
                try step()
                #expect(driver.calls("cuEventSynchronize") == 0)
                #expect(driver.calls("cuMemcpyDtoHAsync") == 0)
                #expect(driver.calls("cuLaunchKernel") > 0)
            }
        }
    }
}
