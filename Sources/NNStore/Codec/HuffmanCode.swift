/// A Huffman code as zstd frames describe it (RFC 8878 section 4.2.1): the bytes that have codes, and their lengths.
struct HuffmanCode {
    /// The longest code in bits (RFC 8878 section 4.2.1).
    static let longest = 11

    /// For each window of ``longest`` bits the byte whose code it begins with, and in the high byte the code's bits.
    private(set) var windows = [UInt16](repeating: 0, count: 1 << longest)

    /// Reads a code's description at the beginning of `bytes` and returns its size; `nil` if it is not a valid one.
    mutating func read(_ bytes: RawSpan) -> Int? {
        guard let (weights, size) = HuffmanWeights.read(bytes) else { return nil }
        return fill(weights) ? size : nil
    }

    /// Makes the windows of weights, the last of which is not among them but follows from the others.
    private mutating func fill(_ described: [UInt8]) -> Bool {
        var counts = [Int](repeating: 0, count: HuffmanCode.longest + 1)
        var sum = 0
        for weight in described {
            guard weight <= HuffmanCode.longest else { return false }
            counts[Int(weight)] += 1
            if weight > 0 { sum += 1 << (weight - 1) }
        }
        guard sum > 0, described.count < 256 else { return false }
        // The shortest power of two that leaves something for the last one, which has to be a power of two as well.
        let depth = Int.bitWidth - sum.leadingZeroBitCount
        let rest = 1 << depth - sum
        guard depth <= HuffmanCode.longest, rest & (rest - 1) == 0 else { return false }
        let weights = described + [UInt8(rest.trailingZeroBitCount + 1)]
        counts[Int(weights.last!)] += 1
        // A code that is complete has two longest codes at least.
        guard counts[1] >= 2, counts[1] % 2 == 0 else { return false }
        // Low weights, long codes, come first; equal ones in the order of their bytes.
        let scale = HuffmanCode.longest - depth
        var next = [Int](repeating: 0, count: HuffmanCode.longest + 2)
        for weight in 1...HuffmanCode.longest {
            next[weight + 1] = next[weight] + counts[weight] << (weight - 1 + scale)
        }
        for (byte, weight) in weights.enumerated() where weight > 0 {
            let window = UInt16(byte) | UInt16(depth + 1 - Int(weight)) << 8
            let start = next[Int(weight)]
            let end = start + 1 << (Int(weight) - 1 + scale)
            for index in start..<end { windows[index] = window }
            next[Int(weight)] = end
        }
        return true
    }
}
