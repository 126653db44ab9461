#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

extension MutableRawSpan {
    /// Copies `source` to the beginning.
    ///
    /// Sound because the size is checked and a mutable span is exclusive, so the two can't overlap.
    ///
    /// - Precondition: `source` is not longer.
    package mutating func copy(_ source: RawSpan) {
        precondition(source.byteCount <= byteCount)
        if source.isEmpty { return }
        unsafe withUnsafeMutableBytes { destination in
            unsafe source.withUnsafeBytes { source in
                if let to = destination.baseAddress, let from = source.baseAddress {
                    unsafe memcpy(to, from, source.count)
                }
            }
        }
    }

    /// Calls `body` with the bytes of a range, to change them.
    ///
    /// Sound because the range is checked and `self` can't be used until `body` returns.
    ///
    /// - Precondition: `range` lies inside the span.
    package mutating func withBytes<Result, Failure: Error>(
        in range: Range<Int>, _ body: (inout MutableRawSpan) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        precondition(range.lowerBound >= 0 && range.upperBound <= byteCount)
        return try unsafe withUnsafeMutableBytes { bytes throws(Failure) in
            var span = unsafe MutableRawSpan(_unsafeBytes: UnsafeMutableRawBufferPointer(rebasing: bytes[range]))
            return try body(&span)
        }
    }

    /// Sets all bytes to zero.
    package mutating func zero() { fill(0) }

    /// Sets all bytes to `byte`.
    package mutating func fill(_ byte: UInt8) {
        unsafe withUnsafeMutableBytes { bytes in
            if let start = bytes.baseAddress { unsafe memset(start, Int32(byte), bytes.count) }
        }
    }
}

extension RawSpan {
    /// The position of the first byte that is not zero.
    package var firstNonZero: Int? {
        // Whole words first: this runs over all padding and over memory that should still be zero.
        var position = 0
        while position + 8 <= byteCount, unsafe unsafeLoadUnaligned(fromByteOffset: position, as: UInt64.self) == 0 {
            position += 8
        }
        while position < byteCount {
            if unsafe unsafeLoad(fromByteOffset: position, as: UInt8.self) != 0 { return position }
            position += 1
        }
        return nil
    }

    /// The byte that all bytes are; `nil` if they differ or there are none.
    package var constantByte: UInt8? {
        if isEmpty { return nil }
        // Every byte equals its successor. Where they do not all, the comparison ends at the first that does not.
        return unsafe withUnsafeBytes { bytes in
            let start = bytes.baseAddress!
            return unsafe memcmp(start, start + 1, bytes.count - 1) == 0 ? bytes[0] : nil
        }
    }

    /// Whether the first byte's address is a multiple of `alignment`.
    package func isAligned(to alignment: Int) -> Bool {
        unsafe withUnsafeBytes { UInt(bitPattern: $0.baseAddress) % UInt(alignment) == 0 }
    }

    /// Whether both have the same bytes.
    package func hasSameBytes(as other: RawSpan) -> Bool {
        if byteCount != other.byteCount { return false }
        return unsafe withUnsafeBytes { own in
            unsafe other.withUnsafeBytes { other in
                guard let own = own.baseAddress, let other = other.baseAddress else { return true }
                return unsafe memcmp(own, other, byteCount) == 0
            }
        }
    }

    /// The bytes as an array.
    package var array: [UInt8] {
        unsafe withUnsafeBytes { unsafe [UInt8]($0) }
    }

    /// The little-endian integer at `offset`.
    ///
    /// - Precondition: all of its bytes are inside the span.
    package func littleEndian<Integer: FixedWidthInteger & BitwiseCopyable>(
        at offset: Int, as type: Integer.Type = Integer.self
    ) -> Integer {
        precondition(offset >= 0 && offset <= byteCount - MemoryLayout<Integer>.size)
        return Integer(littleEndian: unsafe unsafeLoadUnaligned(fromByteOffset: offset, as: Integer.self))
    }
}

extension Array<UInt8> {
    /// Calls `body` with the elements as a raw span.
    package func withRawSpan<Result, Failure: Error>(
        _ body: (RawSpan) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        // Sound: bytes have no padding that a raw view could show.
        try body(unsafe span.bytes)
    }

    /// Calls `body` with the elements as a mutable raw span.
    package mutating func withMutableRawSpan<Result, Failure: Error>(
        _ body: (inout MutableRawSpan) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        // Sound: every pattern of bits is a UInt8.
        var elements = mutableSpan
        var bytes = unsafe elements.mutableBytes
        return try body(&bytes)
    }

    /// Appends an integer, least significant byte first.
    package mutating func append<Integer: FixedWidthInteger>(littleEndian value: Integer) {
        unsafe Swift.withUnsafeBytes(of: value.littleEndian) { unsafe append(contentsOf: $0) }
    }
}
