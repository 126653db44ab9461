import ArgumentParser
import Foundation
import NNTensor

/// Times tensor operations, and prints a row of JSON for each.
@main
struct TensorBenchmark: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "nntensor-bench", abstract: "Times NNTensor, and prints a row of JSON for each operation.")

    @Option(help: "How often each operation is timed, after a warm-up.")
    var runs = 15

    @Option(help: "The number of threads.")
    var threads = 1

    @Option(help: "Some of the operations, by name, with commas between them.")
    var ops: String?

    func run() throws {
        Parallelism.threads = threads
        let wanted = ops.map { Set($0.split(separator: ",").map(String.init)) }
        for operation in try operations() where wanted?.contains(operation.name) ?? true {
            try time(operation)
        }
    }

    private struct Operation {
        let name: String
        /// The bytes that have to be read and written, or 0.
        let bytes: Int
        /// The floating point operations, or 0.
        let flops: Int
        let body: () throws -> Void
    }

    private func operations() throws -> [Operation] {
        let a = Tensor.randn(1024, 1024), b = Tensor.randn(1024, 1024)
        let count = 64 << 18
        let x = Tensor.randn([count]), y = Tensor.randn([count])
        let step = try trainingStep()
        // A result is freed when the next one is there, as in a loop that keeps the last.
        let last = Last()
        return [
            Operation(name: "matmul 1024", bytes: 0, flops: 2 << 30) { last.tensor = try matmul(a, b) },
            Operation(name: "add 64 MiB", bytes: 3 * 4 * count, flops: 0) { last.tensor = x + y },
            Operation(name: "add 64 MiB in place", bytes: 3 * 4 * count, flops: 0) { x += y },
            Operation(name: "relu 64 MiB", bytes: 2 * 4 * count, flops: 0) { last.tensor = try relu(x) },
            Operation(name: "sum 64 MiB", bytes: 4 * count, flops: 0) { last.tensor = try x.sum() },
            Operation(name: "MLP step", bytes: 0, flops: 0) { try step() },
            Operation(name: "small add", bytes: 0, flops: 0) {
                var z = Tensor.ones(10)
                for _ in 0..<1000 { z = z + 1 }
                last.tensor = z
            },
        ]
    }

    private final class Last {
        var tensor: Tensor?
    }

    /// One step of training: forward, loss, backward, SGD.
    private func trainingStep() throws -> () throws -> Void {
        let net = Sequential(Linear(784, 512), ReLU(), Linear(512, 512), ReLU(), Linear(512, 10))
        let optimizer = SGD(net.parameters(), learningRate: 1e-3)
        let x = Tensor.randn(128, 784)
        let classes = Tensor.randint(0..<10, [128])
        return {
            optimizer.zeroGrad()
            try crossEntropy(net(x), classes).backward()
            try optimizer.step()
        }
    }

    private func time(_ operation: Operation) throws {
        let clock = ContinuousClock()
        // Small ones several times, so that a run takes milliseconds.
        var repetitions = 1
        for _ in 0..<3 { try operation.body() }
        let once = try clock.measure { try operation.body() }
        if once < .milliseconds(5) { repetitions = max(1, Int(5e15 / Double(max(1, once.attoseconds)))) }
        var seconds: [Double] = []
        for _ in 0..<runs {
            let elapsed = try clock.measure { for _ in 0..<repetitions { try operation.body() } }
            seconds.append(
                (Double(elapsed.components.seconds) + Double(elapsed.components.attoseconds) * 1e-18)
                    / Double(repetitions))
        }
        seconds.sort()
        let row: [String: Any] = [
            "peer": "nntensor", "op": operation.name, "threads": threads, "median_s": seconds[seconds.count / 2],
            "min_s": seconds[0], "bytes": operation.bytes, "flops": operation.flops,
        ]
        print(String(decoding: try JSONSerialization.data(withJSONObject: row, options: .sortedKeys), as: UTF8.self))
    }
}

extension Duration {
    fileprivate var attoseconds: Int64 { components.attoseconds }
}
