#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

/// What a sample of a plane tells about the size it will have when it is encoded.
///
/// Whole numbers alone: a decision that hung on the last bit of a logarithm would give other files on another machine.
struct PlaneSample {
    /// The bytes of the sample.
    let byteCount: Int
    /// The order-0 entropy of the sample in 1/65536 bits, all bytes together, with the correction of Miller and Madow
    /// for what a sample does not show.
    let entropy: Int
    /// How many values of bytes there are.
    let distinctCount: Int
    /// How many windows of eight bytes the sample had before, of about `byteCount`.
    let repeatCount: Int
    /// The binary logarithm of how many of them chance alone would give, in 1/65536.
    let logOfChanceRepeats: Int
    /// How many bytes are zero.
    let zeroCount: Int
    /// How many bytes have the most frequent value.
    let largestCount: Int
    /// A value that about every 256th byte has, or as near to that as there is one: where a run of bytes comes again, so
    /// do those in it that have this value.
    let anchor: UInt8
    /// How many bytes have it.
    let anchorCount: Int

    /// Whether matches may be worth a search. Exponents of weights repeat eight at a time in a twentieth of the places,
    /// or as often as it happens by chance where few values are frequent; rows of zeros, masks and indices nearly
    /// everywhere.
    var hasRepeats: Bool {
        // Huffman codes have a bit at least, however often a value comes.
        if largestCount * 2 > byteCount { return repeatCount * 40 > byteCount }
        return repeatCount * 10 > byteCount && FixedLogarithm.base2(repeatCount) > logOfChanceRepeats + 2 << 16
    }

    /// Whether so many windows came again that a long search may find something.
    var mayHaveRepeats: Bool { repeatCount * 64 > byteCount }

    /// Whether so many of the elements whose exponents these are are zero that matches over whole elements may beat
    /// planes: measured on pruned weights, from 70 % of elements of 4 or 8 bytes and from 85 % of those of 2.
    func isSparse(width: Int) -> Bool { zeroCount * 100 > byteCount * (width == 2 ? 85 : 70) }

    /// The size that a frame of literals will have about, for `count` bytes like these.
    func literalSize(_ count: Int) -> Int {
        if count == 0 || byteCount == 0 { return count }
        // A block has a table of weights, half a byte for each value at most, and some headers.
        let blocks = (count - 1) / LiteralFrameEncoder.largestBlock + 1
        return entropy * count / (byteCount << 19) + 12 + blocks * (16 + distinctCount / 4)
    }
}

/// Takes samples of planes; one a thread.
struct PlaneSampler {
    /// A sample has at most this many bytes, from a few places that are spread evenly.
    private static let sampleSize = 8192
    /// Many: zeros often stand in one run (biases, padding, rows that were never trained), which fewer would miss.
    private static let places = 32

    /// Of planes as large, repeats are looked for in half, in stripes.
    private static let smallestHalved = 128 << 10
    private static let stripe = 4096

    private var counts = [UInt32](repeating: 0, count: 256)
    private var seen = [UInt16](repeating: 0, count: 1 << tableBits)
    private static let tableBits = 13
    private var tallies = [UInt16](repeating: 0, count: 4096)

    /// A sample of `plane`, which is not empty.
    mutating func sample(_ plane: RawSpan) -> PlaneSample {
        for value in 0..<256 { counts[value] = 0 }
        for slot in seen.indices { seen[slot] = 0 }
        var repeats = 0
        let size = plane.byteCount
        if size <= PlaneSampler.sampleSize {
            repeats = add(plane)
        } else {
            let place = PlaneSampler.sampleSize / PlaneSampler.places
            for number in 0..<PlaneSampler.places {
                let start = (size - place) * number / (PlaneSampler.places - 1)
                repeats += add(plane.extracting(start..<start + place))
            }
        }
        let count = min(size, PlaneSampler.sampleSize)
        // n log n - Σ c log c, n and c being counts, is the entropy of all n bytes.
        var entropy = count * FixedLogarithm.base2(count)
        var distinct = 0
        var squares = 0
        var anchor = 0
        let wanted = count / 256 + 1
        for (value, occurrences) in counts.enumerated() where occurrences > 0 {
            if distinct == 0 || abs(Int(occurrences) - wanted) < abs(Int(counts[anchor]) - wanted) {
                anchor = value
            }
            distinct += 1
            squares += Int(occurrences) * Int(occurrences)
            entropy -= Int(occurrences) * FixedLogarithm.base2(Int(occurrences))
        }
        entropy += (distinct - 1) * FixedLogarithm.halfBase2OfE
        // Two windows are equal by chance with the probability (Σ c² / n²)⁸, and there are n²/2 pairs.
        let logOfPairs = 2 * FixedLogarithm.base2(count)
        let chance = logOfPairs - 1 << 16 + 8 * (FixedLogarithm.base2(squares) - logOfPairs)
        return PlaneSample(
            byteCount: count, entropy: entropy, distinctCount: distinct, repeatCount: repeats,
            logOfChanceRepeats: chance,
            zeroCount: Int(counts[0]), largestCount: Int(counts.max()!), anchor: UInt8(anchor),
            anchorCount: Int(counts[anchor]))
    }

    /// Whether what stands in `plane` often stands in it a second time, however far away: repeated rows and blocks, which
    /// no sample of a few places shows.
    ///
    /// Looks at the eight bytes behind each byte that has the sample's anchor, in half of a large plane.
    mutating func hasDistantRepeats(_ plane: RawSpan, _ sample: PlaneSample) -> Bool {
        let size = plane.byteCount
        // A small plane was looked at as a whole.
        if size <= PlaneSampler.sampleSize { return false }
        for slot in seen.indices { seen[slot] = 0 }
        let isHalf = size >= PlaneSampler.smallestHalved
        var places = 0
        var repeats = 0
        // Of many places those count whose windows have a hash that ends in zeros.
        let expected = sample.anchorCount * (size / sample.byteCount) / (isHalf ? 2 : 1)
        var mask: UInt64 = 0
        while expected > PlaneSampler.mostPlaces * Int(mask + 1) { mask = mask << 1 | 1 }
        // Sound: a window begins at most 9 bytes before the end.
        unsafe plane.withUnsafeBytes { bytes in
            guard let start = bytes.baseAddress else { return }
            unsafe seen.withUnsafeMutableBufferPointer { seen in
                for stripe in 0...(size - 9) / PlaneSampler.stripe {
                    // Without order, for rows may come again after any number of stripes.
                    if isHalf, (UInt32(stripe) &* 0x9e37_79b9) >> 31 != 0 { continue }
                    var position = stripe * PlaneSampler.stripe
                    let end = min(size - 8, position + PlaneSampler.stripe)
                    while position < end,
                        let found = unsafe memchr(start + position, Int32(sample.anchor), end - position)
                    {
                        let place = unsafe UnsafeRawPointer(found) - start
                        let window = unsafe bytes.loadUnaligned(fromByteOffset: place + 1, as: UInt64.self)
                        let hash = PlaneSampler.hash(window)
                        position = place + 1
                        if hash & mask != 0 { continue }
                        places &+= 1
                        if unsafe PlaneSampler.isSeen(hash, seen) { repeats &+= 1 }
                    }
                }
            }
        }
        // What comes a second time shows in a quarter of the half, where both are in it.
        return repeats * (isHalf ? 50 : 25) > places
    }

    /// Whether elements come again so often that matches over whole elements may beat planes: palettes, codebooks,
    /// quantised weights. Their bytes say much about each other, which planes do not show.
    ///
    /// - Parameter size: the size of the chunk in planes.
    mutating func hasRepeatedElements(_ source: RawSpan, width: Int, encodedIn size: Int) -> Bool {
        // Two elements of two bytes at a time: one alone comes again by chance. Of bytes, four.
        let window = max(4, width)
        let places = 16
        let windows = PlaneSampler.elements / places
        let place = windows * width + window
        guard source.byteCount >= places * place else { return false }
        for slot in seen.indices { seen[slot] = 0 }
        var repeats = 0
        for slot in tallies.indices { tallies[slot] = 0 }
        // Sound: a place ends inside the source, and its last window inside the place; tallies have 2^12 slots.
        unsafe source.withUnsafeBytes { bytes in
            unsafe seen.withUnsafeMutableBufferPointer { seen in
                for number in 0..<places {
                    let start = (source.byteCount - place) / width * number / (places - 1) * width
                    for index in 0..<windows {
                        let offset = start + index * width
                        let element =
                            window == 4
                            ? UInt64(unsafe bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
                            : unsafe bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
                        let hash = PlaneSampler.hash(element)
                        tallies[Int(truncatingIfNeeded: hash & 0xfff)] &+= 1
                        if unsafe PlaneSampler.isSeen(hash, seen) { repeats &+= 1 }
                    }
                }
            }
        }
        if repeats * 40 < PlaneSampler.elements { return false }
        // The entropy of a window as the sample shows it, in 1/65536 bits. A sample of 4096 shows 12 bits at most, and
        // when it shows so many there are more.
        var entropy = PlaneSampler.elements * FixedLogarithm.base2(PlaneSampler.elements)
        for tally in tallies where tally > 1 { entropy -= Int(tally) * FixedLogarithm.base2(Int(tally)) }
        entropy /= PlaneSampler.elements
        // Matches take more than the entropy.
        return entropy > 11 << 16 || entropy * 4 < (size * 8 * window / source.byteCount * 3) << 16
    }

    /// How many windows are looked at for distant repeats, about.
    private static let mostPlaces = 4096
    /// How many elements are looked at for repeated ones.
    private static let elements = 4096

    private static func hash(_ window: UInt64) -> UInt64 {
        let product = UInt64(littleEndian: window) &* 0x9e37_79b9_7f4a_7c15
        return product ^ product &>> 29
    }

    /// Whether a window with this hash was there before; remembers it.
    ///
    /// Sound for a table of as many slots as ``tableBits`` can number.
    @inline(__always)
    private static func isSeen(_ hash: UInt64, _ seen: UnsafeMutableBufferPointer<UInt16>) -> Bool {
        let slot = Int(hash &>> UInt64(64 - tableBits))
        // Zero stands for an empty slot.
        let tag = UInt16(truncatingIfNeeded: hash &>> 32) | 1
        defer { unsafe seen[slot] = tag }
        return unsafe seen[slot] == tag
    }

    /// Counts bytes and returns how many windows were seen before.
    private mutating func add(_ bytes: RawSpan) -> Int {
        let size = bytes.byteCount
        var repeats = 0
        // Sound: positions stay below the size, a byte is below 256, and a slot below the table's size.
        unsafe bytes.withUnsafeBytes { bytes in
            unsafe counts.withUnsafeMutableBufferPointer { counts in
                for position in 0..<size { unsafe counts[Int(bytes[position])] &+= 1 }
            }
            guard size >= 8 else { return }
            unsafe seen.withUnsafeMutableBufferPointer { seen in
                for position in 0...size - 8 {
                    let window = unsafe bytes.loadUnaligned(fromByteOffset: position, as: UInt64.self)
                    if unsafe PlaneSampler.isSeen(PlaneSampler.hash(window), seen) { repeats &+= 1 }
                }
            }
        }
        return repeats
    }
}
