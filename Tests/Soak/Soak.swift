import ArgumentParser
import Foundation

@main
struct Soak: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "soak",
        abstract:
            "Saves, loads, migrates, compares, rotates, converts and recovers checkpoints at random, and compares each "
            + "with what should be there.")

    @Option(help: "How long, in seconds.")
    var seconds = 60.0

    @Option(help: "What the operations are drawn from; the same seed gives the same ones.")
    var seed: UInt64?

    @Option(help: "By how many bytes memory may grow after the first tenth of the time.")
    var growth = 64 << 20

    @Flag(help: .init("Only let two threads race, to see whether ThreadSanitizer finds it.", visibility: .hidden))
    var plantRace = false

    func run() throws {
        if plantRace { return race() }
        let seed = seed ?? UInt64.random(in: 0...UInt64.max)
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("nnstore-soak-\(UUID().uuidString)")
            .path
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        report("seed \(seed)")
        var soak = try SoakRun(folder: folder, seed: seed)
        let begin = Date()
        var operations = 0
        var settled: Int?
        var nextReport = begin + 60
        while true {
            let passed = Date().timeIntervalSince(begin)
            if passed >= seconds { break }
            do {
                try soak.perform()
            } catch {
                report("operation \(operations) with seed \(seed): \(error)")
                throw ExitCode(1)
            }
            operations += 1
            if settled == nil, passed > seconds / 10 { settled = try Soak.residentByteCount() }
            if Date() > nextReport {
                report("\(Int(passed)) s, \(operations) operations, \(try Soak.residentByteCount() >> 20) MiB")
                nextReport += 60
            }
        }
        let end = try Soak.residentByteCount()
        let counts = soak.counts.sorted { $0.key < $1.key }.map { "\($0.value) × \($0.key)" }.joined(separator: ", ")
        report("\(operations) operations (\(counts)), none with a mismatch")
        report("memory \((settled ?? end) >> 20) MiB after a tenth of the time, \(end >> 20) MiB at the end")
        let left = try FileManager.default.contentsOfDirectory(atPath: folder).filter { $0.hasPrefix(".nnstore-") }
        let descriptors = try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count
        report("\(left.count) temporary files left, \(descriptors) descriptors open")
        if end - (settled ?? end) > growth || !left.isEmpty || descriptors > 20 { throw ExitCode(1) }
    }

    /// Prints a line at once: whoever waits for hours wants to see how far it is, through a pipe too.
    private func report(_ line: String) {
        FileHandle.standardOutput.write(Data((line + "\n").utf8))
    }

    /// The memory that the process has now.
    private static func residentByteCount() throws -> Int {
        let status = try String(contentsOfFile: "/proc/self/statm", encoding: .utf8)
        return Int(status.split(separator: " ")[1])! * 4096
    }

    /// Shared between threads without a lock, and unchecked for that: its race is what ThreadSanitizer has to see. Nothing but
    /// ``race()`` uses it.
    private final class Unguarded: @unchecked Sendable {
        var count = 0
    }

    private func race() {
        let shared = Unguarded()
        let started = DispatchGroup()
        let done = DispatchGroup()
        for _ in 0..<2 {
            started.enter()
            done.enter()
        }
        for _ in 0..<2 {
            Thread.detachNewThread {
                // From here on nothing orders the two threads; few turns, for a sanitizer forgets what is long past.
                started.leave()
                started.wait()
                for _ in 0..<100 { shared.count += 1 }
                done.leave()
            }
        }
        done.wait()
        report("\(shared.count) of 200 additions counted")
    }
}
