import CSystemCalls
import SystemPackage

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

/// A block of memory, allocated or mapped from a file, that frees itself.
///
/// This is where NNStore's pointers to tensor bytes begin and end. It is sound because the pointer never leaves the
/// object except as a span inside a closure, for whose whole time the object is retained; spans check their bounds.
///
/// Sendable on the terms of all memory: several threads may read it, or write disjoint ranges of it, and nobody reads
/// what another thread is writing. NNStore's own workers keep to that; for a user's bytes it is the user's duty.
@safe package final class Memory: @unchecked Sendable {
    private let bytes: UnsafeMutableRawBufferPointer
    private let release: Release
    /// Whether writing would fault: a read-only mapping.
    package let isReadOnly: Bool

    @safe private enum Release {
        case nothing
        case free
        case unmap(UnsafeMutableRawPointer, Int)
        /// The bytes are part of this memory, and go back to the system.
        case giveBack(Memory)
        /// The bytes are part of this memory, which keeps them.
        case keep(Memory)
        /// The bytes are this block of a cache.
        case recycle(Memory, MemoryCache)
        /// The bytes were pinned for devices, by somebody who is told.
        case unpin(@Sendable () -> Void)
    }

    private init(_ bytes: UnsafeMutableRawBufferPointer, _ release: Release, isReadOnly: Bool) {
        unsafe self.bytes = unsafe bytes
        self.release = release
        self.isReadOnly = isReadOnly
    }

    deinit {
        switch release {
        case .nothing, .keep: break
        case .free: unsafe free(bytes.baseAddress)
        case .unmap(let start, let length): unsafe munmap(start, length)
        case .giveBack(let region): unsafe region.returnPages(of: bytes)
        case .recycle(let block, let cache): cache.take(block)
        case .unpin(let release): release()
        }
    }

    /// The size in bytes.
    package var byteCount: Int { unsafe bytes.count }

    /// From this size on, memory is aligned to huge pages and the kernel is asked for them: first touch of fresh
    /// memory is several times faster so.
    private static let hugePage = 2 << 20
    private static let page = Int(sysconf(Int32(_SC_PAGESIZE)))
    /// Memories as large stand alone; smaller ones share regions that are not larger.
    private static let largestShared = 32 << 20
    /// A part of a region that is as large gives the pages inside it back to the system when it is freed.
    private static let smallestReturned = 16 << 10
    /// Smaller parts have regions of their own, of this size: one that is kept alone keeps no more.
    private static let regionOfSmallParts = 2 << 20
    /// Parts that are as large begin at a page.
    private static let smallestPaged = 64 << 10

    /// Fresh zeroed memory, aligned to 64 bytes at least.
    ///
    /// - Throws: ``StoreError/system(operation:path:errno:)`` if there is not enough.
    package static func allocate(_ byteCount: Int) throws(StoreError) -> Memory {
        if byteCount == 0 {
            return unsafe Memory(UnsafeMutableRawBufferPointer(start: nil, count: 0), .nothing, isReadOnly: false)
        }
        if byteCount >= hugePage { return try allocateHuge(byteCount) }
        let memory = try allocateSmall(byteCount)
        unsafe memset(memory.bytes.baseAddress!, 0, byteCount)
        return memory
    }

    /// Memory that holds anything: whatever was freed before. The caller writes all of it before anybody reads it.
    ///
    /// - Throws: ``StoreError/system(operation:path:errno:)`` if there is not enough.
    package static func allocateUninitialized(_ byteCount: Int) throws(StoreError) -> Memory {
        // Large blocks come from the kernel, which clears them.
        byteCount == 0 || byteCount >= hugePage ? try allocate(byteCount) : try allocateSmall(byteCount)
    }

    private static func allocateSmall(_ byteCount: Int) throws(StoreError) -> Memory {
        var pointer: UnsafeMutableRawPointer?
        let status = unsafe posix_memalign(&pointer, 64, byteCount)
        guard status == 0, let pointer = unsafe pointer else { throw outOfMemory(byteCount, status) }
        return unsafe Memory(UnsafeMutableRawBufferPointer(start: pointer, count: byteCount), .free, isReadOnly: false)
    }

    private static func allocateHuge(_ byteCount: Int) throws(StoreError) -> Memory {
        let (length, overflow) = byteCount.addingReportingOverflow(2 * hugePage)
        guard !overflow else { throw outOfMemory(byteCount, ENOMEM) }
        let start = unsafe mmap(nil, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        guard let start = unsafe start, unsafe start != MAP_FAILED else { throw outOfMemory(byteCount, errno) }
        let aligned = unsafe start.alignedUp(toMultipleOf: hugePage)
        // An end that would leave most of its huge page unused gets small pages.
        _ = unsafe nnstore_advise_huge_pages(aligned, (byteCount + hugePage / 2) / hugePage * hugePage)
        return unsafe Memory(
            UnsafeMutableRawBufferPointer(start: aligned, count: byteCount), .unmap(start, length), isReadOnly: false)
    }

    /// Parts of a region that is not allocated yet.
    private struct Region {
        let capacity: Int
        var byteCount = 0
        var parts: [(number: Int, offset: Int, byteCount: Int)] = []

        /// Adds a part if there is room.
        mutating func add(_ number: Int, _ byteCount: Int) -> Bool {
            let alignment = byteCount >= smallestPaged ? page : 64
            let offset = (self.byteCount + alignment - 1) / alignment * alignment
            guard parts.isEmpty || offset <= capacity && byteCount <= capacity - offset else { return false }
            parts.append((number, offset, byteCount))
            self.byteCount = offset + byteCount
            return true
        }
    }

    /// Fresh zeroed memories of the given sizes. Those that are not large stand side by side in huge pages, because most
    /// tensors of a model are smaller than one; each can be kept while the others are freed.
    ///
    /// - Throws: ``StoreError/system(operation:path:errno:)`` if there is not enough.
    package static func allocate(_ byteCounts: [Int]) throws(StoreError) -> [Memory] {
        var memories = [Memory?](repeating: nil, count: byteCounts.count)
        func make(_ region: Region) throws(StoreError) {
            let memory = try allocate(region.byteCount)
            for part in region.parts { memories[part.number] = memory.part(at: part.offset, part.byteCount) }
        }
        var small = Region(capacity: regionOfSmallParts)
        var medium = Region(capacity: largestShared)
        for (number, byteCount) in byteCounts.enumerated() {
            if byteCount >= largestShared || byteCount == 0 {
                memories[number] = try allocate(byteCount)
            } else if byteCount < smallestReturned {
                if small.add(number, byteCount) { continue }
                try make(small)
                small = Region(capacity: regionOfSmallParts)
                _ = small.add(number, byteCount)
            } else {
                if medium.add(number, byteCount) { continue }
                try make(medium)
                medium = Region(capacity: largestShared)
                _ = medium.add(number, byteCount)
            }
        }
        try make(small)
        try make(medium)
        return memories.map { $0! }
    }

    /// Bytes that are pinned: devices copy from and to them by themselves. `release` gives them back when nobody uses the
    /// memory any more.
    ///
    /// Sound if the bytes stay where they are until then.
    @unsafe package static func pinned(
        _ bytes: UnsafeMutableRawBufferPointer, release: @escaping @Sendable () -> Void
    ) -> Memory {
        unsafe Memory(bytes, .unpin(release), isReadOnly: false)
    }

    /// Whether devices can copy from and to the memory by themselves.
    package var isPinned: Bool {
        switch release {
        case .unpin: true
        case .keep(let whole): whole.isPinned
        default: false
        }
    }

    /// The same bytes as a memory that goes back to a cache when it is freed.
    package func recycled(to cache: MemoryCache) -> Memory {
        unsafe Memory(bytes, .recycle(self, cache), isReadOnly: false)
    }

    private func part(at offset: Int, _ byteCount: Int) -> Memory {
        unsafe Memory(part(offset..<offset + byteCount), .giveBack(self), isReadOnly: false)
    }

    /// A part of this memory as one of its own, which keeps this one alive.
    package func part(in range: Range<Int>) -> Memory {
        unsafe Memory(part(range), .keep(self), isReadOnly: isReadOnly)
    }

    private func part(_ range: Range<Int>) -> UnsafeMutableRawBufferPointer {
        precondition(range.lowerBound >= 0 && range.upperBound <= byteCount)
        return unsafe UnsafeMutableRawBufferPointer(rebasing: bytes[range])
    }

    /// Gives the pages that lie wholly inside a part that was freed back to the system: nobody reads or writes them any
    /// more.
    private func returnPages(of part: UnsafeMutableRawBufferPointer) {
        guard part.count >= Memory.smallestReturned else { return }
        let first = unsafe part.baseAddress!.alignedUp(toMultipleOf: Memory.page)
        let end = unsafe (part.baseAddress! + part.count).alignedDown(toMultipleOf: Memory.page)
        if unsafe end > first { unsafe madvise(first, end - first, MADV_DONTNEED) }
    }

    /// Maps a range of a file, read-only.
    ///
    /// Reading the memory after another process cut the file kills this process with SIGBUS; that is the price of
    /// reading without a copy, and why mapping is never done unless asked for.
    ///
    /// - Throws: ``StoreError/system(operation:path:errno:)`` if the system refuses.
    package static func map(
        _ descriptor: FileDescriptor, range: Range<Int>, path: String
    ) throws(StoreError) -> Memory {
        if range.isEmpty { return try allocate(0) }
        let page = sysconf(Int32(_SC_PAGESIZE))
        let lead = range.lowerBound % page
        let start = try unsafe SystemCall.map(descriptor, range.lowerBound - lead..<range.upperBound, path: path)
        return unsafe Memory(
            UnsafeMutableRawBufferPointer(start: start + lead, count: range.count), .unmap(start, range.count + lead),
            isReadOnly: true)
    }

    private static func outOfMemory(_ byteCount: Int, _ errno: Int32) -> StoreError {
        .system(operation: "allocate \(byteCount) bytes", path: "memory", errno: errno)
    }

    /// Calls `body` with the span's bytes as memory that several threads may write disjoint ranges of.
    ///
    /// Sound as long as `body` does not keep the memory: the span is exclusive until it returns.
    package static func withBorrowed<Result, Failure: Error>(
        _ span: inout MutableRawSpan, _ body: (Memory) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try unsafe span.withUnsafeMutableBytes { bytes throws(Failure) in
            try body(unsafe Memory(bytes, .nothing, isReadOnly: false))
        }
    }

    /// The bytes, to read.
    package func withBytes<Result, Failure: Error>(
        _ body: (RawSpan) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        defer { withExtendedLifetime(self) {} }
        return try unsafe body(RawSpan(_unsafeBytes: UnsafeRawBufferPointer(bytes)))
    }

    /// The bytes of a range, to read.
    package func withBytes<Result, Failure: Error>(
        in range: Range<Int>, _ body: (RawSpan) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try withBytes { (all: RawSpan) throws(Failure) -> Result in try body(all.extracting(range)) }
    }

    /// The address of the first byte, for loops in C over several memories at once; `nil` if there is none.
    ///
    /// Valid as long as the caller retains the memory. The caller keeps inside ``byteCount``, and writes only where
    /// ``withMutableBytes(in:_:)`` would let it.
    @unsafe package var address: UnsafeMutableRawPointer? { unsafe bytes.baseAddress }

    /// The bytes of a range, to write. The caller sees to it that the memory is not read-only and that nobody else
    /// uses the range meanwhile.
    package func withMutableBytes<Result, Failure: Error>(
        in range: Range<Int>, _ body: (inout MutableRawSpan) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        precondition(!isReadOnly && range.lowerBound >= 0 && range.upperBound <= byteCount)
        defer { withExtendedLifetime(self) {} }
        var span = unsafe MutableRawSpan(_unsafeBytes: UnsafeMutableRawBufferPointer(rebasing: bytes[range]))
        return try body(&span)
    }
}
