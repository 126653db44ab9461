import ArgumentParser
import Foundation
import NNStore
import NNTensor

/// Times saving and loading of a model of a gibibyte, and prints a row of JSON for each operation, in the shape of
/// model_peers.py, which says what the operations are.
@main
struct ModelBenchmark: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "model-bench", abstract: "Times saving and loading of a model of a gibibyte.")

    @Argument(help: "save, load or async.")
    var operation: String

    @Option(help: "F32 or BF16.")
    var dtype = "F32"

    @Option(help: "How often the operation is timed, after a warm-up.")
    var runs = 3

    @Option(help: "Where files may be written.")
    var folder = "."

    func run() throws {
        let dtype: DType = self.dtype == "BF16" ? .bf16 : .f32
        let net = try Layers(dtype)
        let path = "\(folder)/model.nnck"
        switch operation {
        case "save":
            try time(
                "save+fsync",
                before: {
                    unlink(path); sync()
                }
            ) { try net.save(to: path) }
        case "load":
            if access(path, F_OK) != 0 { try net.save(to: path) }
            try time("load") { try net.load(from: path) }
        default:
            try? FileManager.default.removeItem(atPath: path)
            let saver = AsyncSaver()
            // The first one also makes the memory for the snapshot.
            for name in ["stop, first", "stop"] {
                var last: PendingSave?
                try time(
                    name, runs: name == "stop" ? runs : 0,
                    before: {
                        try last?.wait(); unlink(path); sync()
                    }
                ) {
                    last = try net.saveAsync(to: path, saver: saver)
                }
                try last?.wait()
            }
        }
        unlink(path)
    }

    private final class Layers: Module {
        let layers: [Linear]
        init(_ dtype: DType) throws {
            let count = (1 << 30) / (2048 * 2048 * dtype.bytesPerBlock)
            layers = (0..<count).map { _ in Linear(2048, 2048, bias: false, dtype: dtype) }
            super.init()
            for layer in layers { try Initializer.normal(layer.weight, standardDeviation: 0.02) }
        }
    }

    private func time(
        _ name: String, runs: Int? = nil, before: () throws -> Void = {}, _ body: () throws -> Void
    ) throws {
        let clock = ContinuousClock()
        var seconds: [Double] = []
        var peak = 0
        for _ in 0...(runs ?? self.runs) {
            try before()
            let start = Memory.resetPeak()
            let elapsed = try clock.measure(body)
            peak = max(peak, Memory.peak - start)
            seconds.append(Double(elapsed.components.seconds) + Double(elapsed.components.attoseconds) * 1e-18)
        }
        if seconds.count > 1 { seconds.removeFirst() }
        seconds.sort()
        let row: [String: Any] = [
            "peer": "nntensor", "op": name, "median_s": seconds[seconds.count / 2], "peak_extra_bytes": peak,
        ]
        print(String(decoding: try JSONSerialization.data(withJSONObject: row, options: .sortedKeys), as: UTF8.self))
    }

    private enum Memory {
        private static func status(_ name: String) -> Int {
            let text = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
            let line = text.split(separator: "\n").first { $0.hasPrefix(name) }
            return (line.flatMap { Int($0.filter(\.isNumber)) } ?? 0) << 10
        }

        static var peak: Int { status("VmHWM") }

        /// Makes the memory of now the largest so far, and gives it.
        static func resetPeak() -> Int {
            try? "5".write(toFile: "/proc/self/clear_refs", atomically: false, encoding: .utf8)
            return status("VmRSS")
        }
    }
}
