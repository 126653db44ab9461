import NNDevices
import NNStore

// Checks NNStore on the GPU of the machine that it runs on. Prints one JSON object a line.
// Usage: gpu-check [--goldens FOLDER] [--folder FOLDER] [--bytes COUNT] [--rounds COUNT]

var folder = "/tmp"
var goldens: String?
var byteCount = 4 << 30
var rounds = 3
var arguments = CommandLine.arguments.dropFirst()
while let option = arguments.popFirst() {
    switch (option, arguments.first) {
    case ("--folder", let value?): folder = value
    case ("--goldens", let value?): goldens = value
    case ("--bytes", let value?): byteCount = Int(value) ?? byteCount
    case ("--rounds", let value?): rounds = max(1, Int(value) ?? rounds)
    default:
        print("usage: gpu-check [--goldens FOLDER] [--folder FOLDER] [--bytes COUNT] [--rounds COUNT]")
        throw Failure.usage
    }
    arguments.removeFirst()
}
for device in Device.gpus {
    if let properties = try device.properties() {
        Report.print(
            "devices",
            [
                "device": .text(device.description), "name": .text(properties.name), "uuid": .text(properties.uuid),
                "memory": .integer(properties.memory),
                "compute_capability": .text(
                    "\(properties.computeCapability.major).\(properties.computeCapability.minor)"),
                "multiprocessors": .integer(properties.multiprocessors),
            ])
    }
}
if let reason = Device.whyNoGPU {
    Report.print("devices", ["device": .text("cpu"), "why_no_gpu": .text(reason.description)])
} else {
    if let goldens, try !GoldenPhase(device: .cuda(0), folder: goldens).run() { throw Failure.wrongNumbers }
    try StagingPhase(device: .cuda(0), folder: folder, byteCount: byteCount, rounds: rounds).run()
}
