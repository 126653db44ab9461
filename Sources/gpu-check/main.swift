import NNDevices
import NNStore

// Checks NNStore on the GPU of the machine that it runs on. Prints one JSON object a line; exits with 1 if something is wrong.

/// What the program is told.
struct Options {
    static let usage = """
        usage: gpu-check [--goldens FOLDER] [--folder FOLDER] [--bytes COUNT] [--rounds COUNT] [--phases NAME,...] \
        [--blocks shared|alone]
        """

    /// Where files are written.
    var folder = "/tmp"
    /// Where PyTorch's numbers are; without them there is no phase for them.
    var goldens: String?
    /// The size of the state dict of the staging phase.
    var byteCount = 4 << 30
    var rounds = 3
    var phases = ["goldens", "semantics", "speed", "staging"]
    /// Whether small storages share blocks of memory; not for compute-sanitizer, which sees only what is outside of a block.
    var sharesBlocks = true

    init(_ arguments: some Collection<String>) throws {
        var rest = Array(arguments)[...]
        while let option = rest.popFirst() {
            guard let value = rest.popFirst() else { throw Failure.usage(Options.usage) }
            switch option {
            case "--folder": folder = value
            case "--goldens": goldens = value
            case "--bytes": byteCount = try Options.number(value)
            case "--rounds": rounds = try Options.number(value)
            case "--phases": phases = value.split(separator: ",").map(String.init)
            case "--blocks" where value == "shared" || value == "alone": sharesBlocks = value == "shared"
            default: throw Failure.usage(Options.usage)
            }
        }
    }

    private static func number(_ text: String) throws -> Int {
        guard let number = Int(text), number > 0 else { throw Failure.usage(usage) }
        return number
    }
}

func run(_ options: Options) throws {
    for device in Device.gpus {
        if let properties = try device.properties() {
            let (major, minor) = properties.computeCapability
            Report.print(
                "devices",
                [
                    "device": .text(device.description), "name": .text(properties.name),
                    "uuid": .text(properties.uuid), "memory": .integer(properties.memory),
                    "compute_capability": .text("\(major).\(minor)"),
                    "multiprocessors": .integer(properties.multiprocessors),
                ])
        }
    }
    if let reason = Device.whyNoGPU {
        return Report.print("devices", ["device": .text("cpu"), "why_no_gpu": .text(reason.description)])
    }
    let device = Device.cuda(0)
    var isGood = true
    if options.phases.contains("goldens"), let goldens = options.goldens {
        isGood = try GoldenPhase(device: device, folder: goldens).run()
    }
    if options.phases.contains("semantics") {
        isGood = SemanticsPhase(device: device, folder: options.folder).run() && isGood
    }
    if options.phases.contains("speed") { try SpeedPhase(device: device).run() }
    if options.phases.contains("staging") {
        try StagingPhase(
            device: device, folder: options.folder, byteCount: options.byteCount, rounds: options.rounds
        ).run()
    }
    if !isGood { throw Failure.wrong }
}

do {
    let options = try Options(CommandLine.arguments.dropFirst())
    try DeviceStorage.$sharesBlocks.withValue(options.sharesBlocks) { try run(options) }
} catch {
    Report.print("failure", ["error": .text("\(error)")])
    System.exit(1)
}
