import CCodec

/// How often each value occurs among some bytes.
///
/// Sound: the C functions read the bytes of a span and write 256 counters.
enum ByteCounts {
    static let valueCount = 256
    /// Of as many bytes a quarter shows enough.
    private static let smallestSampled = 32 << 10
    /// With more values that occur but not in the sample, it shows too little.
    private static let mostUnseen = 4

    /// Counts all bytes.
    static func all(of bytes: RawSpan) -> [UInt32] {
        unsafe make(bytes) { unsafe nnstore_count_bytes($0, $1, $2) }
    }

    /// Counts all bytes, or some and multiplies: then no value that occurs has zero, but others may have more.
    static func about(of bytes: RawSpan) -> [UInt32] {
        if bytes.byteCount < smallestSampled { return all(of: bytes) }
        let range = unsafe bytes.withUnsafeBytes { bytes in
            unsafe nnstore_byte_range(bytes.assumingMemoryBound(to: UInt8.self).baseAddress, bytes.count)
        }
        var counts = unsafe make(bytes) { unsafe nnstore_count_quarter($0, $1, $2) }
        var unseen = 0
        func add(_ value: Int) {
            if counts[value] == 0 { unseen += 1 }
            counts[value] = max(1, 4 * counts[value])
        }
        if range.has_zero { add(0) }
        if range.largest > 0 { for value in range.smallest...range.largest { add(Int(value)) } }
        return unseen > mostUnseen ? all(of: bytes) : counts
    }

    private static func make(
        _ bytes: RawSpan, _ count: (UnsafePointer<UInt8>?, Int, UnsafeMutablePointer<UInt32>?) -> Void
    ) -> [UInt32] {
        unsafe [UInt32](unsafeUninitializedCapacity: valueCount) { counts, initializedCount in
            unsafe bytes.withUnsafeBytes { bytes in
                unsafe count(bytes.assumingMemoryBound(to: UInt8.self).baseAddress, bytes.count, counts.baseAddress)
            }
            initializedCount = valueCount
        }
    }

    /// The order-0 entropy of bytes that occur so often, in bits.
    static func entropy(_ counts: [UInt32]) -> Int {
        var count = 0
        var sum = 0
        for occurrences in counts where occurrences > 0 {
            count += Int(occurrences)
            sum += Int(occurrences) * FixedLogarithm.roughBase2(Int(occurrences))
        }
        return count == 0 ? 0 : (count * FixedLogarithm.roughBase2(count) - sum) >> 16
    }
}
