import NNStore
import Synchronization

/// How many threads operations use.
///
/// The number never changes a result: what is calculated together is decided by shapes alone.
public enum Parallelism {
    private static let limit = Atomic<Int>(0)

    /// The number of threads that large operations use; as many as there are processors for this process unless it is set.
    public static var threads: Int {
        get {
            let set = limit.load(ordering: .relaxed)
            return set > 0 ? set : processors
        }
        set { limit.store(max(0, min(newValue, 512)), ordering: .relaxed) }
    }

    private static let processors = Workers.defaultCount

    /// Calls `body` with each index of `0..<count`, on up to `threads` threads.
    static func forEach(_ count: Int, threads: Int = threads, _ body: @Sendable (Int) -> Void) {
        if threads <= 1 || count <= 1 {
            for index in 0..<count { body(index) }
        } else {
            // Nothing here throws, and there is no context that could fail.
            try? Workers.forEach(count, threads: threads, context: {}) { index, _ in body(index) }
        }
    }
}
