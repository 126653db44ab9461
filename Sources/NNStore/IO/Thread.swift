#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

/// A POSIX thread that runs one closure. All signals are blocked in it, so that the host's handlers run on the host's threads.
package struct Thread: Sendable {
    private let identifier: pthread_t

    /// Starts a thread; `nil` if the system has none to give.
    package init?(_ body: @escaping @Sendable () -> Void) {
        final class Box: Sendable {
            let body: @Sendable () -> Void
            init(_ body: @escaping @Sendable () -> Void) { self.body = body }
        }
        // Sound: the retain taken here is given to the thread, which releases it; if no thread starts, it is
        // released below.
        let box = unsafe Unmanaged.passRetained(Box(body))
        var identifier = pthread_t()
        var everything = sigset_t()
        var previous = sigset_t()
        unsafe sigfillset(&everything)
        unsafe pthread_sigmask(SIG_SETMASK, &everything, &previous)
        defer { unsafe pthread_sigmask(SIG_SETMASK, &previous, nil) }
        let status = unsafe pthread_create(
            &identifier, nil,
            { argument in
                unsafe Unmanaged<Box>.fromOpaque(argument!).takeRetainedValue().body()
                return nil
            }, box.toOpaque())
        guard status == 0 else {
            unsafe box.release()
            return nil
        }
        self.identifier = identifier
    }

    /// Starts a thread that nobody waits for; `nil` if the system has none to give.
    package static func detached(_ body: @escaping @Sendable () -> Void) -> Thread? {
        guard let thread = Thread(body) else { return nil }
        pthread_detach(thread.identifier)
        return thread
    }

    /// Waits until the closure has returned. To be called once.
    package func join() { pthread_join(identifier, nil) }
}

/// Hands out the indices `0..<count` to producers and takes their items back in order, with at most `window` indices
/// handed out beyond the one that is consumed next.
final class OrderedQueue<Item: Sendable>: Sendable {
    private let lock = ConditionLock(State())

    private struct State {
        var nextIndex = 0
        var consumed = 0
        var items: [Int: Result<Item, any Error>] = [:]
        var isStopped = false
    }

    private let count: Int
    private let window: Int

    init(count: Int, window: Int) {
        self.count = count
        self.window = window
    }

    /// The next index to produce; waits while the window is full; `nil` when there is nothing more to do.
    func takeIndex() -> Int? {
        lock.wait(until: { [count, window] in
            $0.isStopped || $0.nextIndex >= count || $0.nextIndex - $0.consumed < window
        }) { [count] state in
            guard !state.isStopped, state.nextIndex < count else { return (nil, wakes: false) }
            state.nextIndex += 1
            return (state.nextIndex - 1, wakes: false)
        }
    }

    /// Gives back what was made for an index.
    func put(_ index: Int, _ item: Result<Item, any Error>) {
        lock.change { state in
            state.items[index] = item
            // Nobody waits for any other.
            return ((), wakes: index == state.consumed)
        }
    }

    /// The item of an index, which the calling thread makes itself if no producer has begun with it.
    func take(_ index: Int, orMake make: (Int) -> Result<Item, any Error>) -> Result<Item, any Error> {
        let isMine = lock.change { state in
            guard state.nextIndex == index else { return (false, wakes: false) }
            state.nextIndex += 1
            return (true, wakes: false)
        }
        if isMine {
            let item = make(index)
            lock.change { [window] state in ((), wakes: OrderedQueue.consume(index, &state, window)) }
            return item
        }
        return lock.wait(until: { $0.items[index] != nil }) { [window] state in
            let item = state.items.removeValue(forKey: index)!
            return (item, wakes: OrderedQueue.consume(index, &state, window))
        }
    }

    /// Counts an item as consumed. Returns whether producers wait for that.
    private static func consume(_ index: Int, _ state: inout State, _ window: Int) -> Bool {
        let wasFull = state.nextIndex - state.consumed >= window
        state.consumed = index + 1
        return wasFull
    }

    /// Lets the producers end.
    func stop() {
        lock.change { state in
            state.isStopped = true
            return ((), wakes: true)
        }
    }
}

/// A value behind a lock that threads can wait on.
///
/// Sound: the value is only touched with the mutex held, and mutex and condition live at fixed addresses until the
/// last reference goes.
@safe package final class ConditionLock<Value: Sendable>: @unchecked Sendable {
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var value: Value

    package init(_ value: Value) {
        self.value = value
        unsafe pthread_mutex_init(mutex, nil)
        unsafe pthread_cond_init(condition, nil)
    }

    deinit {
        unsafe pthread_mutex_destroy(mutex)
        unsafe pthread_cond_destroy(condition)
        unsafe mutex.deallocate()
        unsafe condition.deallocate()
    }

    /// Changes the value, and wakes everybody who waits if `body` says so.
    @discardableResult
    package func change<Result>(_ body: (inout Value) -> (Result, wakes: Bool)) -> Result {
        wait(until: { _ in true }, body)
    }

    /// Waits until the value meets `predicate`, then changes it, and wakes everybody else who waits if `body` says so.
    package func wait<Result>(until predicate: (Value) -> Bool, _ body: (inout Value) -> (Result, wakes: Bool))
        -> Result
    {
        unsafe pthread_mutex_lock(mutex)
        while !predicate(value) { unsafe pthread_cond_wait(condition, mutex) }
        let (result, wakes) = body(&value)
        unsafe pthread_mutex_unlock(mutex)
        if wakes { unsafe pthread_cond_broadcast(condition) }
        return result
    }
}
