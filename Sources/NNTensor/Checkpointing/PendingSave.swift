import NNStore
import Synchronization

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

/// A save that goes on in the background.
///
/// If it fails and nobody calls ``wait()``, the next save of the same ``AsyncSaver`` throws instead. Loading or saving the same
/// file by this module's functions waits for it; NNStore's own, such as `Checkpoint.open`, know nothing of it: call
/// ``wait()`` before them.
///
/// A program that ends by returning from its main function or by `exit` waits for all pending saves, and prints on standard
/// error which of them failed. One that ends by an error that nobody catches, by `fatalError` or by a signal does not: call
/// ``AsyncSaver/wait()`` where the training ends.
public final class PendingSave: Sendable {
    /// Where the file will appear.
    public let path: String
    let cancellation: Cancellation
    /// Whether it was begun by cancelling another one.
    let isReplacement: Bool
    private let state = ConditionLock(State())
    private let doneBytes = Atomic<Int>(0)
    private let totalBytes = Atomic<Int>(0)

    private struct State: Sendable {
        var result: Result<Void, any Error>?
        /// Whether somebody was told how it ended.
        var isReported = false
    }

    /// - Parameter cancellation: the caller's, which may be that of other saves too.
    init(_ path: String, _ cancellation: Cancellation?, isReplacement: Bool) {
        (self.path, self.isReplacement) = (path, isReplacement)
        self.cancellation = Cancellation(alsoBy: cancellation)
    }

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

    /// Whether it has ended by an error.
    var hasFailed: Bool {
        state.change { state in
            if case .failure? = state.result { (true, wakes: false) } else { (false, wakes: false) }
        }
    }

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

/// All saves of this process that have not ended: it does not exit before them, and who reads or writes one of their files
/// waits for it.
enum PendingSaves {
    private static let running = ConditionLock<[(place: String, save: PendingSave)]>([])
    private static let failed = Mutex<[PendingSave]>([])
    /// A child that was forked has none of them.
    private static let process: pid_t = {
        atexit { PendingSaves.waitAtExit() }
        return getpid()
    }()

    static func begin(_ save: PendingSave) {
        _ = process
        let place = place(save.path)
        running.change { running in
            running.append((place, save))
            return ((), wakes: false)
        }
    }

    static func end(_ save: PendingSave) {
        running.change { running in
            running.removeAll { $0.save === save }
            return ((), wakes: true)
        }
        if save.hasFailed { failed.withLock { $0.append(save) } }
    }

    /// Waits until nobody writes to a path.
    static func wait(for path: String) {
        if getpid() != process { return }
        let place = place(path)
        running.wait(until: { !$0.contains { $0.place == place } }) { _ in ((), wakes: false) }
    }

    /// One text for all paths to a file in a folder that is there.
    private static func place(_ path: String) -> String {
        // What is there may be a link to another place.
        if let resolved = try? SystemCall.resolve(path) { return resolved }
        let name = path.split(separator: "/").last.map(String.init) ?? ""
        let folder = path.contains("/") ? String(path.dropLast(name.count)) : "."
        return "\((try? SystemCall.resolve(folder)) ?? folder)/\(name)"
    }

    private static func waitAtExit() {
        guard getpid() == process else { return }
        running.wait(until: { $0.isEmpty }) { _ in ((), wakes: false) }
        for save in failed.withLock({ $0 }) {
            if let error = save.takeFailure() { SystemCall.printError("error: \(save.path) was not saved: \(error)") }
        }
    }
}
