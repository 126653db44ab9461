import NNDevices
import NNStore

/// Containers to a GPU and back: that the bytes are the same, and how long it takes.
struct StagingPhase {
    let device: Device
    let folder: String
    let byteCount: Int
    let rounds: Int

    func run() throws {
        let toDevice = try CopyBandwidth.measure(4 << 30, on: device, toDevice: true)
        let fromDevice = try CopyBandwidth.measure(4 << 30, on: device, toDevice: false)
        Report.print(
            "copies",
            ["pinned_to_device_gb_s": .number(toDevice / 1e9), "device_to_pinned_gb_s": .number(fromDevice / 1e9)])
        let state = try SampleWeights.make(.bf16, byteCount: byteCount)
        let bytes = state.tensors.reduce(0) { $0 + $1.tensor.storage.byteCount }
        let cold = try ContinuousClock().measure { _ = try state.copied(to: device) }
        Report.print("first use", ["seconds": .number(cold / .seconds(1)), "bytes": .integer(bytes)])
        for compression in [Compression.none, .fast] {
            try run(state, bytes, compression, limit: toDevice)
        }
    }

    private func run(_ state: StateTree, _ bytes: Int, _ compression: Compression, limit: Double) throws {
        let path = folder + "/gpu-check-\(compression.rawValue).nnck"
        defer { System.remove(path) }
        try Checkpoint.save(state, to: path, compression: compression)
        let expected = try Checkpoint.open(path).contentID
        // Once, so that the file is in the page cache and the ring is there.
        let loaded = try load(path)
        // Back from the device, into another file.
        let back = folder + "/gpu-check-back.nnck"
        defer { System.remove(back) }
        let synced = try seconds { try Checkpoint.save(loaded, to: back, options: saving(compression, synced: true)) }
        let saved = try seconds { try Checkpoint.save(loaded, to: back, options: saving(compression, synced: false)) }
        let isEqual = try Checkpoint.open(back).contentID == expected
        let host = try seconds { try Checkpoint.save(state, to: back, options: saving(compression, synced: false)) }
        var times: [Double] = []
        var filling: [Double] = []
        var memory: [Double] = []
        for _ in 0..<rounds {
            filling.append(try seconds { try fillOnly(path) })
            times.append(try seconds { _ = try load(path) })
            memory.append(try seconds { _ = try Checkpoint.open(path).readAll() })
        }
        let time = median(times)
        let ceiling = min(limit, Double(bytes) / median(filling))
        Report.print(
            "staging",
            [
                "compression": .text(compression.rawValue), "bytes": .integer(bytes), "equal": .flag(isEqual),
                "load_seconds": .number(time), "load_gb_s": .number(Double(bytes) / time / 1e9),
                "filling_gb_s": .number(Double(bytes) / median(filling) / 1e9),
                "of_limit": .number(Double(bytes) / time / ceiling),
                "load_to_cpu_seconds": .number(median(memory)),
                "save_gb_s": .number(Double(bytes) / saved / 1e9),
                "save_synced_gb_s": .number(Double(bytes) / synced / 1e9),
                "save_from_cpu_gb_s": .number(Double(bytes) / host / 1e9),
            ])
        if !isEqual { throw Failure.different(path) }
    }

    private func saving(_ compression: Compression, synced: Bool) -> SaveOptions {
        var options = SaveOptions(compression: compression)
        options.existing = .replace
        options.isDurable = synced
        return options
    }

    private func load(_ path: String) throws -> StateTree {
        let tree = try Checkpoint.open(path).state().copied(to: device)
        try device.synchronize()
        return tree
    }

    private func fillOnly(_ path: String) throws {
        let storages = try Checkpoint.open(path).state().tensors.map(\.tensor.storage)
        try storages.copyBytes(to: try NoDevice.allocate(storages.map(\.byteCount)))
    }

    private func seconds(_ body: () throws -> Void) throws -> Double {
        try ContinuousClock().measure(body) / .seconds(1)
    }

    private func median(_ values: [Double]) -> Double { values.sorted()[values.count / 2] }
}

enum Failure: Error {
    case different(String)
    case usage(String)
    /// A check did not hold; what was printed says which.
    case wrong
}
