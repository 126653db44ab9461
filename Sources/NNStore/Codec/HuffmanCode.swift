/// A Huffman code as zstd frames describe it (RFC 8878 section 4.2.1): the bytes that have codes, and their lengths.
struct HuffmanCode {
    /// The longest code in bits (RFC 8878 section 4.2.1).
    static let longest = 11

    /// For each window of ``longest`` bits the byte whose code it begins with, and in the high byte the code's bits.
    private(set) var windows = [UInt16](repeating: 0, count: 1 << longest)

    /// Reads a code's description at the beginning of `bytes` and returns its size; `nil` if it is not a valid one.
    mutating func read(_ bytes: RawSpan) -> Int? {
        guard bytes.byteCount > 0 else { return nil }
        let header = Int(bytes.littleEndian(at: 0, as: UInt8.self))
        let size: Int
        let weights: [UInt8]
        if header < 128 {
            size = 1 + header
            guard size <= bytes.byteCount, let found = CompressedWeights.decode(bytes.extracting(1..<size)) else {
                return nil
            }
            weights = found
        } else {
            let count = header - 127
            size = 1 + (count + 1) / 2
            guard size <= bytes.byteCount else { return nil }
            weights = (0..<count).map { number in
                let pair = bytes.littleEndian(at: 1 + number / 2, as: UInt8.self)
                return number % 2 == 0 ? pair >> 4 : pair & 15
            }
        }
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

/// The weights of a Huffman code, compressed by two interleaved states of finite state entropy (RFC 8878 sections 4.1
/// and 4.2.1.2).
private enum CompressedWeights {
    private static let largestTable = 6

    private struct State {
        var weight: UInt8 = 0
        var bitCount = 0
        var base = 0
    }

    /// The weights; `nil` if the bytes are no valid description of any.
    static func decode(_ bytes: RawSpan) -> [UInt8]? {
        guard let (states, size) = states(bytes), size < bytes.byteCount else { return nil }
        let tableBits = states.count.trailingZeroBitCount
        // The bits are read from the last byte on, whose highest 1 marks their end.
        let last = bytes.littleEndian(at: bytes.byteCount - 1, as: UInt8.self)
        guard last != 0 else { return nil }
        var rest = (bytes.byteCount - size) * 8 - last.leadingZeroBitCount - 1
        // The next bits; what lies before the first of them is zero.
        func take(_ count: Int) -> Int {
            rest -= count
            var value = 0
            for bit in 0..<count where rest + bit >= 0 {
                let byte = bytes.littleEndian(at: size + (rest + bit) / 8, as: UInt8.self)
                value |= Int(byte >> UInt8((rest + bit) % 8) & 1) << bit
            }
            return value
        }
        var current = states[take(tableBits)]
        var other = states[take(tableBits)]
        guard rest >= 0 else { return nil }
        var weights: [UInt8] = []
        while weights.count < 255 {
            weights.append(current.weight)
            let following = current.base + take(current.bitCount)
            if rest < 0 {
                weights.append(other.weight)
                return weights
            }
            current = states[following]
            swap(&current, &other)
        }
        return nil
    }

    /// The table of states that the beginning of `bytes` describes, and the size of the description.
    private static func states(_ bytes: RawSpan) -> (states: [State], size: Int)? {
        var position = 0
        // What lies behind the end is zero, and found out at the end.
        func peek(_ count: Int) -> Int {
            var value = 0
            for bit in 0..<count where (position + bit) / 8 < bytes.byteCount {
                let byte = bytes.littleEndian(at: (position + bit) / 8, as: UInt8.self)
                value |= Int(byte >> UInt8((position + bit) % 8) & 1) << bit
            }
            return value
        }
        let tableBits = peek(4) + 5
        position = 4
        guard tableBits <= largestTable else { return nil }
        let size = 1 << tableBits
        // How many states each weight has; -1 stands for one with the largest number of bits.
        var counts: [Int] = []
        var rest = size
        while rest > 0 {
            let width = Int.bitWidth - (rest + 1).leadingZeroBitCount
            let small = 1 << (width - 1) - 1
            // So many values take a bit less.
            let shorter = 1 << width - 2 - rest
            var value = peek(width)
            if value & small < shorter {
                value &= small
                position += width - 1
            } else {
                if value > small { value -= shorter }
                position += width
            }
            counts.append(value - 1)
            rest -= abs(value - 1)
            if value == 1 {
                var zeros = 0
                repeat {
                    zeros = peek(2)
                    position += 2
                    counts.append(contentsOf: repeatElement(0, count: zeros))
                } while zeros == 3 && counts.count <= HuffmanCode.longest
            }
            guard counts.count <= HuffmanCode.longest + 1 else { return nil }
        }
        let described = (position + 7) / 8
        guard rest == 0, described <= bytes.byteCount else { return nil }
        var states = [State](repeating: State(), count: size)
        var high = size
        for (weight, count) in counts.enumerated() where count == -1 {
            high -= 1
            states[high].weight = UInt8(weight)
        }
        var place = 0
        for (weight, count) in counts.enumerated() where count > 0 {
            for _ in 0..<count {
                states[place].weight = UInt8(weight)
                repeat { place = (place + size / 2 + size / 8 + 3) % size } while place >= high
            }
        }
        var numbers = counts.map { max(1, abs($0)) }
        for index in states.indices {
            let weight = Int(states[index].weight)
            let number = numbers[weight]
            numbers[weight] += 1
            let bits = tableBits - (Int.bitWidth - 1 - number.leadingZeroBitCount)
            states[index].bitCount = bits
            states[index].base = number << bits - size
        }
        return (states, described)
    }
}
