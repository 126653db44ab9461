import ArgumentParser
import NNDevices
import NNInterop

struct DevicesCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "devices",
        abstract: "Lists the devices that tensors can be on, and says why there is no GPU if there is none.",
        discussion: """
            The driver is looked for as libcuda.so.1, or at the path that the variable NNSTORE_CUDA_DRIVER holds.

            Examples:
              ckpt-tool devices
              ckpt-tool devices --json
            """)

    @Flag(help: "Print one JSON object.")
    var json = false

    func run() throws {
        let gpus = try Device.gpus.compactMap { try $0.properties() }
        let reason = Device.whyNoGPU?.description
        if json {
            JSONOutput.print([
                "devices": .array([.object(["device": .string("cpu")])] + gpus.map(description)),
                "why_no_gpu": JSONOutput.text(reason),
            ])
            return
        }
        Terminal.print("cpu")
        for gpu in gpus {
            Terminal.print(
                "cuda:\(gpu.ordinal)  \(printable(gpu.name)), \(Quantities.bytes(gpu.memory)), "
                    + "compute capability \(capability(gpu)), \(gpu.uuid)")
        }
        if let reason { Terminal.print(printable(reason)) }
    }

    private func description(_ gpu: DeviceProperties) -> JSONValue {
        .object([
            "device": .string("cuda:\(gpu.ordinal)"), "name": .string(gpu.name), "uuid": .string(gpu.uuid),
            "memory": .integer(gpu.memory), "compute_capability": .string(capability(gpu)),
            "multiprocessors": .integer(gpu.multiprocessors),
        ])
    }

    private func capability(_ gpu: DeviceProperties) -> String {
        "\(gpu.computeCapability.major).\(gpu.computeCapability.minor)"
    }
}
