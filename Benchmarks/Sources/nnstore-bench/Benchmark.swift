import ArgumentParser
import Foundation
import NNInterop
import NNStore

/// Times what NNStore does with one state dict, and prints a JSON object a row, in the shape that peers.py has.
@main
struct Benchmark: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "nnstore-bench", abstract: "Times NNStore's work on the tensors of a safetensors file.")

    @Argument(help: "The safetensors file.")
    var file: String

    @Option(help: "A folder for what is written.")
    var dir: String

    @Option(help: "Timed runs of each operation; one more before them is not timed.")
    var runs = 5

    @Option(help: "Threads.")
    var threads = 1

    @Option(help: "The operations, separated by commas; all unless given.")
    var ops: String?

    func run() throws {
        let wanted = ops?.split(separator: ",").map(String.init)
        let subject = try Subject(file: file, folder: dir, threads: threads)
        for operation in Operation.all where wanted?.contains(operation.name) ?? true {
            try measure(operation, subject)
        }
        for compression in [Compression.fast, .smallest] where wanted?.contains("ratio") ?? true {
            try subject.printRatio(compression)
        }
        subject.removeFiles()
    }

    private func measure(_ operation: Operation, _ subject: Subject) throws {
        var times: [Double] = []
        var memory = 0
        for _ in 0...runs {
            try operation.prepare(subject)
            Process.returnFreeMemory()
            let before = Process.residentBytes
            Process.resetPeak()
            let start = ContinuousClock.now
            let result = try operation.body(subject)
            let elapsed = ContinuousClock.now - start
            memory = max(memory, Process.peakBytes - before - operation.ownBytes(subject))
            withExtendedLifetime(result) {}
            times.append(Double(elapsed.components.seconds) + Double(elapsed.components.attoseconds) / 1e18)
        }
        let timed = times.dropFirst().sorted()
        let median =
            timed.count % 2 == 1 ? timed[timed.count / 2] : (timed[timed.count / 2 - 1] + timed[timed.count / 2]) / 2
        var row: [String: Any] = [
            "peer": "nnstore", "op": operation.name, "min_s": timed[0], "median_s": median,
            "gbps": Double(subject.logicalBytes) / median / 1e9, "logical_bytes": subject.logicalBytes,
            "threads": threads, "peak_extra_bytes": memory,
        ]
        if let bytes = operation.file.flatMap({ subject.size($0) }) { row["file_bytes"] = bytes }
        try printRow(row)
    }
}

func printRow(_ row: [String: Any]) throws {
    let text = try JSONSerialization.data(withJSONObject: row, options: .sortedKeys)
    FileHandle.standardOutput.write(text + Data("\n".utf8))
}

/// What the system says of this process's memory.
enum Process {
    static var residentBytes: Int { value("VmRSS:") }
    static var peakBytes: Int { value("VmHWM:") }

    /// Gives freed memory back to the system, so that what is timed gets fresh pages, as in a program that loads once.
    static func returnFreeMemory() {
        // Swift's Glibc does not show malloc_trim.
        guard let symbol = dlsym(nil, "malloc_trim") else { return }
        _ = unsafeBitCast(symbol, to: (@convention(c) (Int) -> Int32).self)(0)
    }

    /// Makes the peak begin anew.
    static func resetPeak() { try? Data("5".utf8).write(to: URL(fileURLWithPath: "/proc/self/clear_refs")) }

    private static func value(_ name: String) -> Int {
        let status = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
        let line = status.split(separator: "\n").first { $0.hasPrefix(name) } ?? ""
        return (line.split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap { Int($0) } ?? 0) << 10
    }
}
