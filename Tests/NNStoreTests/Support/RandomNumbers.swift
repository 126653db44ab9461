import TestSupport

typealias SeededGenerator = TestSupport.SeededGenerator

/// The seed of this run: `NNSTORE_TEST_SEED`, or a new one.
var testSeed: UInt64 {
    environmentSeed ?? UInt64.random(in: 0...UInt64.max)
}
