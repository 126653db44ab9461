import NNStore

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

/// A container in memory: a sink that takes the bytes, and a source that gives them back.
final class MemorySink: ByteSink {
    let name = "memory"
    let capacity: Int
    fileprivate let bytes: UnsafeMutableRawPointer
    private var count = 0

    init(capacity: Int) {
        self.capacity = capacity
        bytes = UnsafeMutableRawPointer.allocate(byteCount: max(1, capacity), alignment: 4096)
        memset(bytes, 0, capacity)
    }

    deinit { bytes.deallocate() }

    func restart() { count = 0 }

    var source: MemorySource { MemorySource(sink: self, count: count) }

    func append(_ span: RawSpan) throws(StoreError) {
        guard span.byteCount <= capacity - count else { throw .invalidArgument(reason: "memory: full") }
        span.withUnsafeBytes { source in
            if let start = source.baseAddress { memcpy(bytes + count, start, source.count) }
        }
        count += span.byteCount
    }

    func finish(_ existing: ExistingDestination) throws(StoreError) {}
    func abandon() {}
}

/// The bytes that a sink took. Sound to send: nobody writes to the sink while it is read from.
struct MemorySource: ByteSource, @unchecked Sendable {
    let name = "memory"
    private let sink: MemorySink
    private let count: Int

    init(sink: MemorySink, count: Int) {
        self.sink = sink
        self.count = count
    }

    func readEnd(_ wanted: Int) throws(StoreError) -> (bytes: [UInt8], version: SourceVersion) {
        let all = UnsafeRawBufferPointer(start: sink.bytes, count: count)
        return (Array(all.suffix(wanted)), SourceVersion(byteCount: count))
    }

    func read(
        _ ranges: [Range<Int>], of version: SourceVersion, into destination: inout MutableRawSpan
    ) throws(StoreError) {
        var position = 0
        destination.withUnsafeMutableBytes { target in
            for range in ranges {
                precondition(range.lowerBound >= 0 && range.upperBound <= count)
                if range.isEmpty { continue }
                memcpy(target.baseAddress! + position, sink.bytes + range.lowerBound, range.count)
                position += range.count
            }
        }
    }
}
