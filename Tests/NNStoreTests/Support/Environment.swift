import Foundation

/// The seed that the environment asks for, to repeat a failed run.
let environmentSeed: UInt64? = ProcessInfo.processInfo.environment["NNSTORE_TEST_SEED"].flatMap { UInt64($0) }

/// Whether `make test-exhaustive` runs: everything instead of a sample.
let isExhaustive = ProcessInfo.processInfo.environment["NNSTORE_EXHAUSTIVE"] == "1"

/// How often a file is replaced under its readers' eyes: a thousand times, fewer where everything is ten times slower.
let replacements = ProcessInfo.processInfo.environment["NNSTORE_REPLACEMENTS"].flatMap { Int($0) } ?? 1000
