import Foundation

/// The seed that the environment asks for, to repeat a failed run.
let environmentSeed: UInt64? = ProcessInfo.processInfo.environment["NNSTORE_TEST_SEED"].flatMap { UInt64($0) }

/// Whether `make test-exhaustive` runs: everything instead of a sample.
let isExhaustive = ProcessInfo.processInfo.environment["NNSTORE_EXHAUSTIVE"] == "1"

/// The memory of this process that is in use, in bytes; `nil` where the system does not say.
var residentBytes: Int? {
    guard let status = try? String(contentsOfFile: "/proc/self/status", encoding: .utf8),
        let line = status.split(separator: "\n").first(where: { $0.hasPrefix("VmRSS:") }),
        let size = line.split(separator: " ").dropLast().last.flatMap({ Int($0) })
    else { return nil }
    return size << 10
}
