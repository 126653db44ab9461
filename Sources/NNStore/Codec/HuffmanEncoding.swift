/// A Huffman code made for bytes that occur so and so often.
struct HuffmanEncoding {
    /// For each byte its code in the highest bits, and how many bits that has in the lowest; 0 for a byte without a code.
    let codes: [UInt64]
    /// The code as a frame describes it (RFC 8878 section 4.2.1).
    let description: [UInt8]

    /// The shortest code for bytes with such counts, no code of it longer than ``HuffmanCode/longest``; `nil` for fewer
    /// than two different bytes, and where the code can't be described because it would shorten nothing.
    init?(_ counts: [UInt32]) {
        guard let lengths = HuffmanEncoding.lengths(counts) else { return nil }
        let depth = Int(lengths.max()!)
        // Long codes come first; equally long ones in the order of their bytes.
        var next = [Int](repeating: 0, count: depth + 2)
        for length in lengths where length > 0 { next[depth + 2 - Int(length)] += 1 << (depth - Int(length)) }
        for weight in 1...depth { next[weight + 1] += next[weight] }
        var codes = [UInt64](repeating: 0, count: 256)
        var weights = [UInt8](repeating: 0, count: 256)
        var last = 0
        for byte in 0..<256 where lengths[byte] > 0 {
            let length = Int(lengths[byte])
            let weight = depth + 1 - length
            codes[byte] = UInt64(next[weight] >> (weight - 1)) << UInt64(64 - length) | UInt64(length)
            next[weight] += 1 << (weight - 1)
            weights[byte] = UInt8(weight)
            last = byte
        }
        guard let description = HuffmanWeights.describe(Array(weights[..<last])) else { return nil }
        self.description = description
        self.codes = codes
    }

    /// The bits that bytes with such counts take; `nil` if one of them has no code.
    func bitCount(_ counts: [UInt32]) -> Int? {
        let (codes, counts) = (codes.span, counts.span)
        var sum = 0
        for byte in 0..<256 where counts[byte] > 0 {
            if codes[byte] == 0 { return nil }
            sum += Int(counts[byte]) * Int(codes[byte] & 63)
        }
        return sum
    }

    /// The lengths of the codes by the method of packages (Larmore and Hirschberg, "A fast algorithm for optimal
    /// length-limited Huffman codes", 1990).
    private static func lengths(_ counts: [UInt32]) -> [UInt8]? {
        // Count and byte in one number, for sorting.
        let sorted = (0..<256).filter { counts[$0] > 0 }.map { Int(counts[$0]) << 8 | $0 }.sorted()
        guard sorted.count > 1 else { return nil }
        let leaves = sorted.map { $0 >> 8 }
        // Each level has the bytes and, in pairs, what the level before it has, in the order of their counts.
        var sums = leaves
        var isLeaf = [[Bool](repeating: true, count: leaves.count)]
        for _ in 1..<HuffmanCode.longest {
            var merged: [Int] = []
            var marks: [Bool] = []
            merged.reserveCapacity(2 * leaves.count)
            marks.reserveCapacity(2 * leaves.count)
            var leaf = 0
            for pair in 0...sums.count / 2 {
                let package = pair < sums.count / 2 ? sums[2 * pair] + sums[2 * pair + 1] : .max
                while leaf < leaves.count, leaves[leaf] <= package {
                    merged.append(leaves[leaf])
                    marks.append(true)
                    leaf += 1
                }
                if package == .max { break }
                merged.append(package)
                marks.append(false)
            }
            sums = merged
            isLeaf.append(marks)
        }
        // The cheapest ones of the last level, and what they consist of: each time that a byte is among them, its code is
        // a bit longer.
        var lengths = [UInt8](repeating: 0, count: 256)
        var taken = 2 * leaves.count - 2
        for marks in isLeaf.reversed() {
            let leafCount = marks[..<taken].count(where: \.self)
            for leaf in sorted[..<leafCount] { lengths[leaf & 0xff] += 1 }
            taken = 2 * (taken - leafCount)
        }
        return lengths
    }
}
