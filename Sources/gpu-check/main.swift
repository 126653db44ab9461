import NNDevices
import NNStore

// Checks NNStore on the GPU of the machine that it runs on. Prints one JSON object a line; exits with 1 if something is wrong.

let usage =
    "usage: gpu-check [--goldens FOLDER] [--folder FOLDER] [--bytes COUNT] [--rounds COUNT] [--phases NAME,...] "
    + "[--blocks shared|alone]"
var folder = "/tmp"
var goldens: String?
var byteCount = 4 << 30
var rounds = 3
var sharesBlocks = true
var phases = ["goldens", "semantics", "speed", "staging"]
var arguments = CommandLine.arguments.dropFirst()
while let option = arguments.popFirst() {
    guard let value = arguments.popFirst() else { throw Failure.usage(usage) }
    switch option {
    case "--folder": folder = value
    case "--goldens": goldens = value
    case "--bytes": byteCount = Int(value) ?? byteCount
    case "--rounds": rounds = max(1, Int(value) ?? rounds)
    // Alone, for compute-sanitizer, which sees only what is outside of a block.
    case "--blocks": sharesBlocks = value != "alone"
    case "--phases": phases = value.split(separator: ",").map(String.init)
    default: throw Failure.usage(usage)
    }
}
try DeviceStorage.$sharesBlocks.withValue(sharesBlocks) { try run() }

func run() throws {
    for device in Device.gpus {
        if let properties = try device.properties() {
            let (major, minor) = properties.computeCapability
            Report.print(
                "devices",
                [
                    "device": .text(device.description), "name": .text(properties.name), "uuid": .text(properties.uuid),
                    "memory": .integer(properties.memory), "compute_capability": .text("\(major).\(minor)"),
                    "multiprocessors": .integer(properties.multiprocessors),
                ])
        }
    }
    if let reason = Device.whyNoGPU {
        Report.print("devices", ["device": .text("cpu"), "why_no_gpu": .text(reason.description)])
    } else {
        let device = Device.cuda(0)
        var isGood = true
        if phases.contains("goldens"), let goldens { isGood = try GoldenPhase(device: device, folder: goldens).run() }
        if phases.contains("semantics") { isGood = SemanticsPhase(device: device, folder: folder).run() && isGood }
        if phases.contains("speed") { try SpeedPhase(device: device).run() }
        if phases.contains("staging") {
            try StagingPhase(device: device, folder: folder, byteCount: byteCount, rounds: rounds).run()
        }
        if !isGood { throw Failure.wrong }
    }
}
