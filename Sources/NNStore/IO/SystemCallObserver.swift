import Synchronization

/// The system calls that ``SystemCall`` makes, by what they do.
package enum SystemCallKind: String, Sendable, CaseIterable {
    case open, create, close, read, write, seek, setDirect, sync, syncFolder, status, resolve, setPermissions, rename,
        renameIfAbsent, link, unlink, lock, list, createFolder, map, advise
}

/// One attempt of a system call, as an observer sees it.
package struct ObservedCall: Sendable {
    package let kind: SystemCallKind
    /// The path, or that of the open file.
    package let path: String
    /// The second path of a call that has two: what `path` is renamed or linked to.
    package var target: String?
}

/// What happens instead of a system call.
package enum InjectedOutcome: Sendable, Hashable {
    /// The call fails with this error number; one that closes a descriptor closes it nevertheless, as Linux does.
    case error(Int32)
    /// A read or write is asked for no more than so many bytes.
    case atMost(Int)
}

/// Sees the system calls that concern a folder, and may have something else happen instead: the seam for tests that
/// inject faults or record what a crash would leave. The code that ships is the code that they run.
package protocol SystemCallObserver: AnyObject, Sendable {
    /// Called before each attempt.
    func outcome(of call: ObservedCall) -> InjectedOutcome?
    /// Called after an attempt that succeeded.
    func succeeded(_ call: ObservedCall)
    /// Called with the bytes of a write that succeeded; they stand at the file's position before it.
    func wrote(_ bytes: RawSpan, to path: String)
    /// Called when a file's position was set.
    func seeked(to offset: Int, in path: String)
}

extension SystemCallObserver {
    package func outcome(of call: ObservedCall) -> InjectedOutcome? { nil }
    package func succeeded(_ call: ObservedCall) {}
    package func wrote(_ bytes: RawSpan, to path: String) {}
    package func seeked(to offset: Int, in path: String) {}
}

extension SystemCall {
    private static let observers = Mutex<[(folder: String, observer: any SystemCallObserver)]>([])
    /// How many there are: without any, a call costs a look at this.
    private static let observerCount = Atomic<Int>(0)

    /// Has `observer` see the calls that concern files in `folder`, or the folder, while `body` runs; those of all threads.
    package static func observing<Result>(
        _ folder: String, with observer: any SystemCallObserver, _ body: () throws -> Result
    ) rethrows -> Result {
        observers.withLock { $0.append((folder, observer)) }
        observerCount.add(1, ordering: .sequentiallyConsistent)
        defer {
            observerCount.subtract(1, ordering: .sequentiallyConsistent)
            observers.withLock { $0.removeAll { $0.observer === observer } }
        }
        return try body()
    }

    /// The observer of a path, if there is one.
    static func observer(of path: String) -> (any SystemCallObserver)? {
        if observerCount.load(ordering: .relaxed) == 0 { return nil }
        return observers.withLock { $0.first { path.hasPrefix($0.folder) }?.observer }
    }
}
