import NNStore

/// Bytes of a storage with some bits turned over or bytes turned round while they are read: numbers of the other byte order, and
/// tensors that PyTorch keeps as the conjugate or the negative of what their storage has.
struct TransformedBacking: StorageBacking {
    /// What is done to each number of a storage.
    struct Transform: Hashable, Sendable {
        /// How many bytes are turned round; 1 turns none.
        var swappedSize = 1
        /// The size of an element in bytes; 1 where no sign is turned.
        var elementSize = 1
        /// The bytes of an element whose highest bit is the sign of a number that changes its sign, after the swap.
        var signBytes: [Int] = []

        var isNothing: Bool { swappedSize == 1 && signBytes.isEmpty }
        fileprivate var granule: Int { max(swappedSize, elementSize) }
    }

    let base: any StorageBacking
    let transform: Transform

    var byteCount: Int { base.byteCount }

    func willLoad() throws { try base.willLoad() }

    func read(_ range: Range<Int>, into destination: inout MutableRawSpan) throws {
        let granule = transform.granule
        // Bytes behind the last whole number are none's, and stay as they are.
        let whole = byteCount / granule * granule
        let lower = range.lowerBound / granule * granule
        let upper = min((range.upperBound + granule - 1) / granule * granule, max(whole, range.upperBound))
        if lower == range.lowerBound && upper == range.upperBound {
            try base.read(range, into: &destination)
            apply(to: &destination, upTo: max(0, min(whole, upper) - lower))
            return
        }
        let memory = try Memory.allocate(upper - lower)
        try memory.withMutableBytes(in: 0..<upper - lower) { bytes throws in
            try base.read(lower..<upper, into: &bytes)
            apply(to: &bytes, upTo: max(0, min(whole, upper) - lower))
            destination.copy(bytes.bytes.extracting(range.lowerBound - lower..<range.upperBound - lower))
        }
    }

    func readAll(into destination: inout MutableRawSpan) throws {
        try base.readAll(into: &destination)
        apply(to: &destination, upTo: byteCount / transform.granule * transform.granule)
    }

    private func apply(to bytes: inout MutableRawSpan, upTo count: Int) {
        let size = transform.swappedSize
        if size > 1 { bytes.reverseEach(size, upTo: count) }
        for byte in transform.signBytes {
            bytes.flipHighestBits(from: byte, stride: transform.elementSize, upTo: count)
        }
    }
}

extension MutableRawSpan {
    /// Turns the bytes of each `size` round.
    fileprivate mutating func reverseEach(_ size: Int, upTo count: Int) {
        withMutableElements { elements in
            var start = 0
            while start + size <= count {
                for step in 0..<size / 2 { elements.swapAt(start + step, start + size - 1 - step) }
                start += size
            }
        }
    }

    fileprivate mutating func flipHighestBits(from first: Int, stride: Int, upTo count: Int) {
        withMutableElements { elements in
            var place = first
            while place < count {
                elements[place] ^= 0x80
                place += stride
            }
        }
    }

    /// The bytes as elements.
    ///
    /// Sound because a byte has no alignment and any bits, and `self` can't be used meanwhile.
    private mutating func withMutableElements(_ body: (inout MutableSpan<UInt8>) -> Void) {
        unsafe withUnsafeMutableBytes { bytes in
            var elements = unsafe MutableSpan<UInt8>(_unsafeElements: bytes.assumingMemoryBound(to: UInt8.self))
            body(&elements)
        }
    }
}
