import Synchronization

/// Where a storage's bytes come from when they are not in memory: a file, a device.
///
/// Readers of other formats implement this to be lazy; NNStore reads such storages piece by piece when it saves them.
public protocol StorageBacking: Sendable {
    /// The number of bytes.
    var byteCount: Int { get }

    /// Copies the bytes of `range` to `destination`, which has just that size. May be called from several threads at
    /// once.
    func read(_ range: Range<Int>, into destination: inout MutableRawSpan) throws

    /// Copies the bytes of `range` for a caller who reads all bytes once, piece by piece in any order, and throws all of them away
    /// if one piece can't be read: a backing that can only check all of its bytes together does so on the way. The default
    /// is ``read(_:into:)``.
    func readPiece(_ range: Range<Int>, into destination: inout MutableRawSpan) throws

    /// Called before memory for all bytes is allocated; throws if that is more than the backing's owner allows.
    func willLoad() throws

    /// Copies all bytes into fresh memory. The default calls ``read(_:into:)`` once; a backing that can do better in
    /// one go (several cores, a mapping) does so.
    func readAll(into destination: inout MutableRawSpan) throws
}

extension StorageBacking {
    /// Allows everything.
    public func willLoad() throws {}

    /// Copies them as ``read(_:into:)`` does.
    public func readPiece(_ range: Range<Int>, into destination: inout MutableRawSpan) throws {
        try read(range, into: &destination)
    }

    /// Copies all bytes through ``read(_:into:)``.
    public func readAll(into destination: inout MutableRawSpan) throws {
        try read(0..<byteCount, into: &destination)
    }
}

/// One block of memory that tensors look into: the unit of identity.
///
/// Tensors are aliases of each other exactly if they have the same `Storage` object. Its ``id`` is never given out
/// again in this process, so neither equal bytes nor a reused address can tie strangers.
///
/// The bytes are reached through ``withBytes(_:)`` and ``withMutableBytes(_:)`` only. What stands behind them may be
/// replaced (read from a file on first use, copied out of a read-only mapping before the first write, moved to another
/// device), and every tensor over the storage follows.
///
/// A storage may be used from several threads at once; as with all memory, nobody may read bytes while somebody else
/// writes them.
public final class Storage: Sendable {
    /// Identifies the storage among all that this process ever had.
    public let id: UInt64
    /// The number of bytes.
    public let byteCount: Int

    private let state: Mutex<State>
    /// Whether the bytes are on a device; looked at by every operation, so beside the lock.
    private let isOnDevice: Atomic<Bool>

    private struct State {
        var contents: Contents
        var version: UInt64 = 0
    }

    private enum Contents {
        case memory(Memory)
        case elsewhere(any StorageBacking)
        case device(any DeviceBacking)
        case nowhere(String)

        var isOnDevice: Bool { if case .device = self { true } else { false } }
    }

    private static let lastID = Atomic<UInt64>(0)

    private init(byteCount: Int, _ contents: Contents) {
        id = Storage.lastID.add(1, ordering: .relaxed).newValue
        self.byteCount = byteCount
        state = Mutex(State(contents: contents))
        isOnDevice = Atomic(contents.isOnDevice)
    }

    /// A storage of zeros.
    ///
    /// - Throws: ``StoreError`` if there is not enough memory or `byteCount` is negative.
    public convenience init(byteCount: Int) throws(StoreError) {
        guard byteCount >= 0 else { throw .invalidArgument(reason: "a storage of \(byteCount) bytes is impossible") }
        self.init(byteCount: byteCount, .memory(try Memory.allocate(byteCount)))
    }

    /// A storage that holds a copy of `bytes`.
    public convenience init(_ bytes: [UInt8]) throws(StoreError) {
        try self.init(byteCount: bytes.count)
        try withMemory { (memory: Memory) throws(StoreError) in
            memory.withMutableBytes(in: 0..<bytes.count) { unsafe $0.copy(bytes.span.bytes) }
        }
    }

    /// A storage that holds a copy of `elements`, in this machine's byte order (little-endian everywhere Swift runs
    /// with 64 bits).
    public convenience init<Element: BitwiseCopyable>(copying elements: [Element]) throws(StoreError) {
        try self.init(byteCount: elements.count * MemoryLayout<Element>.stride)
        try withMemory { (memory: Memory) throws(StoreError) in
            memory.withMutableBytes(in: 0..<memory.byteCount) { unsafe $0.copy(elements.span.bytes) }
        }
    }

    /// A storage whose bytes are elsewhere and are read when they are needed.
    public convenience init(backing: any StorageBacking) {
        self.init(byteCount: backing.byteCount, .elsewhere(backing))
    }

    /// A storage over memory that is there already.
    package convenience init(memory: Memory) {
        self.init(byteCount: memory.byteCount, .memory(memory))
    }

    /// A storage whose bytes are in the memory of a device.
    package convenience init(on backing: any DeviceBacking) {
        self.init(byteCount: backing.byteCount, .device(backing))
    }

    /// A storage that is only an identity and a size; reading it throws with `reason`.
    package convenience init(identityOf byteCount: Int, reason: String) {
        self.init(byteCount: byteCount, .nowhere(reason))
    }

    /// How often the bytes were opened for writing. Autograd compares it to find values that were overwritten.
    public var version: UInt64 { state.withLock { $0.version } }

    /// Whether the bytes are in memory, so that reading them costs no I/O.
    public var isResident: Bool {
        state.withLock { state in
            if case .memory = state.contents { true } else { false }
        }
    }

    /// Calls `body` with all bytes, reading them into memory first if they are elsewhere. Those on a device are copied for this
    /// call, after waiting for the device's work.
    ///
    /// - Throws: what reading the bytes throws, and what `body` throws.
    public func withBytes<Result>(_ body: (RawSpan) throws -> Result) throws -> Result {
        try resident().withBytes(body)
    }

    /// Calls `body` with all bytes, to change them. All tensors over the storage see the change.
    ///
    /// Counts ``version`` up. A read-only backing is replaced by a private copy first, so nothing is ever written to
    /// a file this way.
    ///
    /// - Throws: ``StoreError/bytesNotAvailable(reason:)`` if the bytes are on a device; what reading them throws, and what
    ///   `body` throws.
    public func withMutableBytes<Result>(_ body: (inout MutableRawSpan) throws -> Result) throws -> Result {
        try writable().withMutableBytes(in: 0..<byteCount, body)
    }

    /// Copies the bytes of `range` to `destination` without keeping them in memory.
    ///
    /// - Throws: ``StoreError/invalidArgument(reason:)`` if `range` is not inside the storage or `destination` has not its
    ///   size; what reading the bytes throws.
    public func read(_ range: Range<Int>, into destination: inout MutableRawSpan) throws {
        guard range.lowerBound >= 0, range.upperBound <= byteCount, destination.byteCount == range.count else {
            throw StoreError.invalidArgument(
                reason:
                    "bytes \(range) of a storage of \(byteCount) do not fit a destination of \(destination.byteCount)")
        }
        let contents = state.withLock { $0.contents }
        switch contents {
        case .memory(let memory): memory.withBytes(in: range) { destination.copy($0) }
        case .elsewhere(let backing): try backing.read(range, into: &destination)
        case .device(let backing): try backing.read(range, into: &destination)
        case .nowhere(let reason): throw StoreError.bytesNotAvailable(reason: reason)
        }
    }

    /// Copies the bytes of `range` as ``read(_:into:)`` does, for a caller who reads all bytes of the storage once and uses none of
    /// them if that fails.
    ///
    /// - Precondition: `range` lies inside the storage and has the destination's size.
    func readPiece(_ range: Range<Int>, into destination: inout MutableRawSpan) throws {
        precondition(range.lowerBound >= 0 && range.upperBound <= byteCount && destination.byteCount == range.count)
        if let backing { return try backing.readPiece(range, into: &destination) }
        try read(range, into: &destination)
    }

    /// Reads the bytes into memory if they are not there.
    public func load() throws { _ = try resident() }

    /// Says that a device was told to change the bytes. Counts ``version`` up.
    package func countWrite() { state.withLock { $0.version += 1 } }

    /// Where the bytes are, if they are not in memory.
    var backing: (any StorageBacking)? {
        state.withLock { state in
            if case .elsewhere(let backing) = state.contents { backing } else { nil }
        }
    }

    /// Where on a device the bytes are, if they are on one.
    package var deviceBacking: (any DeviceBacking)? {
        if !isOnDevice.load(ordering: .acquiring) { return nil }
        return state.withLock { state in
            if case .device(let backing) = state.contents { backing } else { nil }
        }
    }

    /// Takes the place of another storage's bytes, which are a copy of these and belong to nobody else: in memory, or on a
    /// device. All tensors over this storage follow.
    package func takeContents(of copy: Storage) {
        precondition(copy.byteCount == byteCount)
        let contents = copy.state.withLock { $0.contents }
        // What was there is freed after the lock is given up.
        let previous = state.withLock { state in
            defer {
                state.contents = contents
                isOnDevice.store(contents.isOnDevice, ordering: .releasing)
            }
            return state.contents
        }
        withExtendedLifetime(previous) {}
    }

    /// The memory, if the bytes are in memory: for callers that work on a range of it on several threads.
    package func withMemory<Result, Failure: Error>(
        _ body: (Memory) throws(Failure) -> Result
    ) throws(Failure) -> Result? {
        let contents = state.withLock { $0.contents }
        guard case .memory(let memory) = contents else { return nil }
        return try body(memory)
    }

    /// The bytes in memory, to be read by the caller, after reading them if they are elsewhere.
    package func readableMemory() throws -> Memory { try resident() }

    /// The bytes in memory, to be written by the caller: for work on several threads. Counts ``version`` up.
    package func writableMemory() throws -> Memory { try writable() }

    private func resident() throws -> Memory {
        try state.withLock { state throws in try Storage.makeResident(&state) }
    }

    private func writable() throws -> Memory {
        try state.withLock { state throws in
            if case .device(let backing) = state.contents {
                throw StoreError.bytesNotAvailable(
                    reason:
                        "they are on \(backing.deviceName) and can't be written from the CPU; copy the tensor to the CPU"
                )
            }
            var memory = try Storage.makeResident(&state)
            if memory.isReadOnly {
                let copy = try Memory.allocate(memory.byteCount)
                copy.withMutableBytes(in: 0..<copy.byteCount) { destination in
                    memory.withBytes { destination.copy($0) }
                }
                memory = copy
                state.contents = .memory(copy)
            }
            state.version += 1
            return memory
        }
    }

    private static func makeResident(_ state: inout sending State) throws -> Memory {
        switch state.contents {
        case .memory(let memory):
            return memory
        case .nowhere(let reason):
            throw StoreError.bytesNotAvailable(reason: reason)
        case .elsewhere(let backing):
            try backing.willLoad()
            let memory = try Memory.allocate(backing.byteCount)
            try memory.withMutableBytes(in: 0..<memory.byteCount) { (destination: inout MutableRawSpan) throws in
                try backing.readAll(into: &destination)
            }
            state.contents = .memory(memory)
            return memory
        case .device(let backing):
            let memory = try Memory.allocateUninitialized(backing.byteCount)
            try memory.withMutableBytes(in: 0..<memory.byteCount) { (destination: inout MutableRawSpan) throws in
                try backing.readAll(into: &destination)
            }
            return memory
        }
    }
}

extension Storage: Hashable {
    /// Whether both are the same storage. Equal bytes do not count.
    public static func == (left: Storage, right: Storage) -> Bool { left === right }

    /// Hashes the identity.
    public func hash(into hasher: inout Hasher) { hasher.combine(id) }
}
