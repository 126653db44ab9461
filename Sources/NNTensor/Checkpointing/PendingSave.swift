import NNStore
import Synchronization

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

/// A save that goes on in the background.
///
/// If it fails and nobody calls ``wait()``, the next save of the same ``AsyncSaver`` throws instead. A program that ends by
/// returning from its main function or by `exit` waits for all pending saves.
public final class PendingSave: Sendable {
    /// Where the file will appear.
    public let path: String
    private let cancellation: Cancellation
    private let state = ConditionLock(State())
    private let doneBytes = Atomic<Int>(0)
    private let totalBytes = Atomic<Int>(0)

    private struct State: Sendable {
        var result: Result<Void, any Error>?
        /// Whether somebody was told how it ended.
        var isReported = false
    }

    init(_ path: String, _ cancellation: Cancellation) { (self.path, self.cancellation) = (path, cancellation) }

    /// Whether the save has ended, one way or another.
    public var isFinished: Bool { state.change { ($0.result != nil, wakes: false) } }

    /// The bytes of tensors that were saved, and all of them; the file is not there yet when they are equal.
    public var progress: (done: Int, total: Int) {
        (doneBytes.load(ordering: .relaxed), totalBytes.load(ordering: .relaxed))
    }

    /// Waits until the file is there, whole and on stable storage.
    ///
    /// - Throws: what saving throws: `StoreError`, also ``NNStore/StoreError/cancelled``. The destination is then as it was.
    public func wait() throws {
        try state.wait(until: { $0.result != nil }) { state in
            state.isReported = true
            return (state.result!, wakes: false)
        }.get()
    }

    /// Asks the save to stop; it ends within milliseconds, and the destination stays as it was, unless the file was finished
    /// already.
    public func cancel() { cancellation.cancel() }

    /// Waits until it has ended.
    func waitUntilFinished() { state.wait(until: { $0.result != nil }) { _ in ((), wakes: false) } }

    /// Why it failed, if it has, and nobody was told; once. That it was cancelled is no failure.
    func takeFailure() -> (any Error)? {
        state.change { state in
            guard case .failure(let error)? = state.result, !state.isReported else { return (nil, wakes: false) }
            state.isReported = true
            if case StoreError.cancelled = error { return (nil, wakes: false) }
            return (error, wakes: false)
        }
    }

    func report(_ done: Int, _ total: Int?) {
        doneBytes.store(done, ordering: .relaxed)
        if let total { totalBytes.store(total, ordering: .relaxed) }
    }

    func finish(_ result: Result<Void, any Error>) {
        state.change { state in
            state.result = result
            return ((), wakes: true)
        }
    }
}

/// All saves of this process that have not ended: it does not exit before them.
enum PendingSaves {
    private static let running = ConditionLock(0)
    /// A child that was forked has none of them.
    private static let process: pid_t = {
        atexit { PendingSaves.waitAtExit() }
        return getpid()
    }()

    static func begin() {
        _ = process
        running.change { count in
            count += 1
            return ((), wakes: false)
        }
    }

    static func end() {
        running.change { count in
            count -= 1
            return ((), wakes: true)
        }
    }

    private static func waitAtExit() {
        guard getpid() == process else { return }
        running.wait(until: { $0 == 0 }) { _ in ((), wakes: false) }
    }
}
