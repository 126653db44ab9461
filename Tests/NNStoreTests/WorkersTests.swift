import Foundation
import Synchronization
import Testing

@testable import NNStore

@Suite("Work on several threads")
struct WorkersTests {
    private struct Broken: Error, Equatable { let index: Int }

    @Test("every index is worked on once, with one context a thread")
    func forEach() throws {
        final class Context: Sendable {}
        for threads in [1, 2, 7] {
            let seen = Mutex([Int](repeating: 0, count: 1000))
            let contexts = Mutex(Set<ObjectIdentifier>())
            let kept = Mutex<[Context]>([])
            try Workers.forEach(1000, threads: threads) {
                let context = Context()
                kept.withLock { $0.append(context) }
                return context
            } _: { index, context in
                seen.withLock { $0[index] += 1 }
                contexts.withLock { _ = $0.insert(ObjectIdentifier(context)) }
            }
            #expect(seen.withLock { $0.allSatisfy { $0 == 1 } })
            #expect(contexts.withLock { $0.count } <= threads)
        }
        try Workers.forEach(0, threads: 4, context: {}) { _, _ in Issue.record("there was nothing to do") }
    }

    @Test("the error of the lowest index is thrown, and no new work is begun after it")
    func failure() throws {
        let begun = Mutex(0)
        #expect(throws: Broken(index: 5)) {
            try Workers.forEach(100_000, threads: 4, context: {}) { index, _ in
                begun.withLock { $0 += 1 }
                if index >= 5 { throw Broken(index: index) }
            }
        }
        #expect(begun.withLock { $0 } < 100)
        #expect(throws: Broken(index: 0)) {
            try Workers.forEach(10, threads: 4, context: { throw Broken(index: 0) }) { _, _ in }
        }
    }

    @Test("a pipeline consumes in order, and runs ahead by no more than its window")
    func pipeline() throws {
        for threads in [1, 2, 5] {
            let ahead = Mutex((consumed: 0, most: 0))
            var order: [Int] = []
            try Workers.pipeline(500, threads: threads, window: 8, context: {}) { index, _ in
                ahead.withLock { $0.most = max($0.most, index - $0.consumed) }
                if index % 50 == 0 { usleep(2000) }
                return index * 2
            } consume: { index, item in
                #expect(item == index * 2)
                order.append(index)
                ahead.withLock { $0.consumed = index + 1 }
            }
            #expect(order == Array(0..<500))
            #expect(ahead.withLock { $0.most } <= 8)
        }
    }

    @Test("a pipeline ends on an error of either side, without a thread left waiting")
    func pipelineFailure() throws {
        for threads in [1, 3] {
            #expect(throws: Broken(index: 17)) {
                try Workers.pipeline(1000, threads: threads, window: 4, context: {}) { index, _ in
                    if index == 17 { throw Broken(index: index) }
                    return index
                } consume: { _, _ in
                }
            }
            #expect(throws: Broken(index: 3)) {
                try Workers.pipeline(1000, threads: threads, window: 4, context: {}) { index, _ in
                    index
                } consume: { index, _ in
                    if index == 3 { throw Broken(index: index) }
                }
            }
        }
    }

    @Test("workers block all signals")
    func signals() throws {
        @Sendable func blocksSignals() -> Bool {
            var set = sigset_t()
            pthread_sigmask(SIG_SETMASK, nil, &set)
            return sigismember(&set, SIGTERM) == 1 && sigismember(&set, SIGUSR1) == 1
        }
        let caller = pthread_self()
        let before = blocksSignals()
        let counts = Mutex((workers: 0, open: 0))
        try Workers.forEach(100, threads: 4, context: {}) { _, _ in
            if pthread_equal(pthread_self(), caller) != 0 {
                usleep(100)
            } else {
                let isOpen = !blocksSignals()
                counts.withLock {
                    $0.workers += 1
                    $0.open += isOpen ? 1 : 0
                }
            }
        }
        #expect(counts.withLock { $0.workers } > 0)
        #expect(counts.withLock { $0.open } == 0)
        #expect(blocksSignals() == before, "the caller's mask is as it was")
    }
}
