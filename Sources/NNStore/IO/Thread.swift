#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

/// A POSIX thread that runs one closure.
struct Thread: Sendable {
    private let identifier: pthread_t

    /// Starts a thread; `nil` if the system has none to give.
    init?(_ body: @escaping @Sendable () -> Void) {
        final class Box: Sendable {
            let body: @Sendable () -> Void
            init(_ body: @escaping @Sendable () -> Void) { self.body = body }
        }
        // Sound: the retain taken here is given to the thread, which releases it; if no thread starts, it is
        // released below.
        let box = unsafe Unmanaged.passRetained(Box(body))
        var identifier = pthread_t()
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

    /// Waits until the closure has returned. To be called once.
    func join() { pthread_join(identifier, nil) }
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
            guard !state.isStopped, state.nextIndex < count else { return nil }
            state.nextIndex += 1
            return state.nextIndex - 1
        }
    }

    /// Gives back what was made for an index.
    func put(_ index: Int, _ item: Result<Item, any Error>) {
        lock.change { $0.items[index] = item }
    }

    /// The item of an index, which the calling thread makes itself if no producer has begun with it.
    func take(_ index: Int, orMake make: (Int) -> Result<Item, any Error>) -> Result<Item, any Error> {
        let isMine = lock.change { state in
            guard state.nextIndex == index else { return false }
            state.nextIndex += 1
            return true
        }
        if isMine {
            let item = make(index)
            lock.change { $0.consumed = index + 1 }
            return item
        }
        return lock.wait(until: { $0.items[index] != nil }) { state in
            state.consumed = index + 1
            return state.items.removeValue(forKey: index)!
        }
    }

    /// Lets the producers end.
    func stop() { lock.change { $0.isStopped = true } }
}

/// A value behind a lock that threads can wait on.
///
/// Sound: the value is only touched with the mutex held, and mutex and condition live at fixed addresses until the
/// last reference goes.
@safe private final class ConditionLock<Value: Sendable>: @unchecked Sendable {
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var value: Value

    init(_ value: Value) {
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

    /// Changes the value and wakes everybody who waits.
    @discardableResult
    func change<Result>(_ body: (inout Value) -> Result) -> Result {
        unsafe pthread_mutex_lock(mutex)
        defer {
            unsafe pthread_cond_broadcast(condition)
            unsafe pthread_mutex_unlock(mutex)
        }
        return body(&value)
    }

    /// Waits until the value meets `predicate`, then changes it.
    func wait<Result>(until predicate: (Value) -> Bool, _ body: (inout Value) -> Result) -> Result {
        unsafe pthread_mutex_lock(mutex)
        while !predicate(value) { unsafe pthread_cond_wait(condition, mutex) }
        defer {
            unsafe pthread_cond_broadcast(condition)
            unsafe pthread_mutex_unlock(mutex)
        }
        return body(&value)
    }
}
