import CSystemCalls
import Synchronization

/// Asks a long call to stop. Calls look at it between chunks, so they stop within milliseconds.
public final class Cancellation: Sendable {
    private let flag = Atomic<Bool>(false)
    private let parent: Cancellation?

    /// A request that has not been made yet.
    public init() { parent = nil }

    /// A request that counts as made, too, when another one is.
    public init(alsoBy parent: Cancellation?) { self.parent = parent }

    /// Makes the request. The call that it was given to throws ``StoreError/cancelled``.
    public func cancel() { flag.store(true, ordering: .relaxed) }

    /// Whether the request has been made.
    public var isCancelled: Bool { flag.load(ordering: .relaxed) || parent?.isCancelled ?? false }

    /// - Throws: ``StoreError/cancelled`` if the request has been made.
    public func check() throws(StoreError) {
        if isCancelled { throw .cancelled }
    }
}

/// Plain threads, started for one call and gone when it returns.
///
/// No Swift tasks and no dispatch queues: their threads do not exist in a forked child, and NNStore sits in other
/// people's processes.
package enum Workers {
    /// How many threads a call uses unless it is told otherwise: the processors that this process may run on.
    package static var defaultCount: Int {
        max(1, Int(nnstore_processor_count()))
    }

    /// How many threads a call uses that was asked for `wanted`: at least one, and no more than are of any use.
    package static func count(_ wanted: Int?) -> Int { min(max(1, wanted ?? defaultCount), 512) }

    private struct Progress {
        var next = 0
        var failure: (index: Int, error: any Error)?
    }

    /// Runs `body` for every index of `0..<count`, on up to `threads` threads, the calling one included.
    ///
    /// Each thread makes itself a context (a decoder, a buffer) before its first index and uses it for all of its
    /// indices. Indices are begun in order. After a failure no new ones are begun, and the error of the lowest index
    /// that failed is thrown, so that the outcome does not depend on the scheduling where one bad thing alone is wrong.
    package static func forEach<Context>(
        _ count: Int, threads: Int, cancellation: Cancellation? = nil, context: @Sendable () throws -> Context,
        _ body: @Sendable (Int, Context) throws -> Void
    ) throws {
        let progress = Mutex(Progress())
        @Sendable func work() {
            var own: Context?
            while true {
                let index: Int? = progress.withLock { progress in
                    guard progress.failure == nil, progress.next < count else { return nil }
                    progress.next += 1
                    return progress.next - 1
                }
                guard let index else { return }
                do {
                    try cancellation?.check()
                    let context = try own ?? context()
                    own = context
                    try body(index, context)
                } catch {
                    progress.withLock { progress in
                        if progress.failure.map({ index < $0.index }) ?? true { progress.failure = (index, error) }
                    }
                }
            }
        }
        withHelpers(max(0, min(threads, count) - 1), work, work)
        if let failure = progress.withLock({ $0.failure }) { throw failure.error }
    }

    /// What `body` makes of every index of `0..<count`, a few of them, each on a thread of its own; the error of the lowest
    /// index that failed.
    static func map<Item: Sendable>(
        _ count: Int, _ body: @Sendable (Int) throws(StoreError) -> Item
    ) throws(StoreError) -> [Item] {
        let progress = Mutex((next: 0, results: [Result<Item, StoreError>?](repeating: nil, count: count)))
        @Sendable func work() {
            while true {
                let index = progress.withLock { progress in
                    defer { progress.next += 1 }
                    return progress.next
                }
                guard index < count else { return }
                let result = Result { () throws(StoreError) in try body(index) }
                progress.withLock { $0.results[index] = result }
            }
        }
        withHelpers(max(0, count - 1), work, work)
        return try progress.withLock { $0.results }.map { (result) throws(StoreError) in try result!.get() }
    }

    /// Runs two closures, at the same time if that is worth a thread, and gives what both return. If both fail, the first
    /// one's error is thrown.
    static func both<One: Sendable, Other>(
        atOnce: Bool, _ one: @Sendable () throws(StoreError) -> One, _ other: () throws(StoreError) -> Other
    ) throws(StoreError) -> (One, Other) {
        let result = Mutex<Result<One, StoreError>?>(nil)
        @Sendable func runOne() {
            let value = Result(catching: one)
            result.withLock { $0 = value }
        }
        var second: Result<Other, StoreError>?
        withHelpers(atOnce && defaultCount > 1 ? 1 : 0, runOne) { second = Result(catching: other) }
        // Without a helper nobody has run it yet.
        if result.withLock({ $0 == nil }) { runOne() }
        return (try result.withLock { $0! }.get(), try second!.get())
    }

    /// Makes items in parallel and consumes them in order: `produce` runs on worker threads, `consume` on the calling
    /// thread, with at most `window` items made and not yet consumed. Contexts are as in
    /// ``forEach(_:threads:cancellation:context:_:)``.
    ///
    /// With one thread everything happens on the calling thread.
    package static func pipeline<Item: Sendable, Context>(
        _ count: Int, threads: Int, window: Int, cancellation: Cancellation? = nil,
        context: @Sendable () throws -> Context, produce: @Sendable (Int, Context) throws -> Item,
        consume: (Int, Item) throws -> Void
    ) throws {
        @Sendable func make(_ index: Int, _ own: inout Context?) -> Result<Item, any Error> {
            do {
                try cancellation?.check()
                let context = try own ?? context()
                own = context
                return .success(try produce(index, context))
            } catch {
                return .failure(error)
            }
        }
        var own: Context?
        if threads <= 1 || count <= 1 {
            for index in 0..<count { try consume(index, try make(index, &own).get()) }
            return
        }
        let queue = OrderedQueue<Item>(count: count, window: max(window, threads))
        var failure: (any Error)?
        withHelpers(min(threads, count)) {
            var own: Context?
            while let index = queue.takeIndex() { queue.put(index, make(index, &own)) }
        } _: {
            do {
                for index in 0..<count { try consume(index, try queue.take(index) { make($0, &own) }.get()) }
            } catch let error {
                failure = error
            }
            queue.stop()
        }
        if let failure { throw failure }
    }

    /// Runs `helper` on up to `count` new threads (fewer if the system has no more to give) and `body` on this one,
    /// and returns when all have returned. `body` must get by without the helpers.
    private static func withHelpers(_ count: Int, _ helper: @Sendable () -> Void, _ body: () -> Void) {
        withoutActuallyEscaping(helper) { helper in
            let threads = (0..<count).compactMap { _ in Thread(helper) }
            body()
            // All threads end here, so the closure does not escape.
            for thread in threads { thread.join() }
        }
    }
}
