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

    func run() throws {
        let seed = seed ?? UInt64.random(in: 0...UInt64.max)
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("nnstore-soak-\(UUID().uuidString)")
            .path
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        print("seed \(seed)")
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
                print("operation \(operations) with seed \(seed): \(error)")
                throw ExitCode(1)
            }
            operations += 1
            if settled == nil, passed > seconds / 10 { settled = try Soak.residentByteCount() }
            if Date() > nextReport {
                print("\(Int(passed)) s, \(operations) operations, \(try Soak.residentByteCount() >> 20) MiB")
                nextReport += 60
            }
        }
        let end = try Soak.residentByteCount()
        let counts = soak.counts.sorted { $0.key < $1.key }.map { "\($0.value) × \($0.key)" }.joined(separator: ", ")
        print("\(operations) operations (\(counts)), none with a mismatch")
        print("memory \((settled ?? end) >> 20) MiB after a tenth of the time, \(end >> 20) MiB at the end")
        let left = try FileManager.default.contentsOfDirectory(atPath: folder).filter { $0.hasPrefix(".nnstore-") }
        let descriptors = try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count
        print("\(left.count) temporary files left, \(descriptors) descriptors open")
        if end - (settled ?? end) > growth || !left.isEmpty || descriptors > 20 { throw ExitCode(1) }
    }

    /// The memory that the process has now.
    private static func residentByteCount() throws -> Int {
        let status = try String(contentsOfFile: "/proc/self/statm", encoding: .utf8)
        return Int(status.split(separator: " ")[1])! * 4096
    }
}
