import Foundation
import Testing

@testable import NNStore

/// A fault that is planted to see whether ThreadSanitizer finds it; `make test-tsan` fails if it does not.
@Suite("Planted faults")
struct SanitizerTests {
    /// Shared between threads without a lock, on purpose.
    private final class Unguarded: @unchecked Sendable {
        var count = 0
    }

    @Test("two threads add to a number without a lock, where NNSTORE_PLANT_RACE asks for it")
    func race() {
        guard ProcessInfo.processInfo.environment["NNSTORE_PLANT_RACE"] == "1" else {
            print("no race was planted: NNSTORE_PLANT_RACE is not set")
            return
        }
        let shared = Unguarded()
        // Enough work for both to be at it at once.
        let threads = (0..<2).compactMap { _ in Thread { for _ in 0..<5_000_000 { shared.count += 1 } } }
        for thread in threads { thread.join() }
        #expect(threads.count == 2 && shared.count > 0)
    }
}
