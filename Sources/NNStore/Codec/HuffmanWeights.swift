/// How zstd frames describe a Huffman code: by the weights of its bytes, longest code in bits + 1 - a code's bits, or zero
/// for a byte without a code; the weight of the last byte that has one follows from the others (RFC 8878 section 4.2.1).
enum HuffmanWeights {
    /// Reads a description at the beginning of `bytes`: the weights but the last one, and the description's size; `nil` if
    /// it is not a valid one.
    static func read(_ bytes: RawSpan) -> (weights: [UInt8], size: Int)? {
        guard bytes.byteCount > 0 else { return nil }
        let header = Int(bytes.littleEndian(at: 0, as: UInt8.self))
        if header < 128 {
            let size = 1 + header
            guard size <= bytes.byteCount, let weights = decompress(bytes.extracting(1..<size)) else { return nil }
            return (weights, size)
        }
        let count = header - 127
        let size = 1 + (count + 1) / 2
        guard size <= bytes.byteCount else { return nil }
        let weights = (0..<count).map { number in
            let pair = bytes.littleEndian(at: 1 + number / 2, as: UInt8.self)
            return number % 2 == 0 ? pair >> 4 : pair & 15
        }
        return (weights, size)
    }

    /// The shortest description of weights, the last one not among them; `nil` if there is none.
    static func describe(_ weights: [UInt8]) -> [UInt8]? {
        var shortest: [UInt8]?
        if weights.count <= 128 {
            let pairs = stride(from: 0, to: weights.count, by: 2).map { number in
                weights[number] << 4 | (number + 1 < weights.count ? weights[number + 1] : 0)
            }
            shortest = [UInt8(127 + weights.count)] + pairs
        }
        if let compressed = compress(weights), compressed.count < min(128, (shortest?.count ?? .max) - 1) {
            shortest = [UInt8(compressed.count)] + compressed
        }
        return shortest
    }

    // MARK: Finite state entropy (RFC 8878 sections 4.1 and 4.2.1.2)

    private static let largestTable = 6

    private struct State {
        var weight: UInt8 = 0
        var bitCount = 0
        var base = 0
    }

    /// The weights that two interleaved states of finite state entropy give; `nil` if the bytes are not valid.
    private static func decompress(_ bytes: RawSpan) -> [UInt8]? {
        guard let (states, size) = states(bytes), size < bytes.byteCount else { return nil }
        let tableBits = states.count.trailingZeroBitCount
        // The bits are read from the last byte on, whose highest 1 marks their end.
        let last = bytes.littleEndian(at: bytes.byteCount - 1, as: UInt8.self)
        guard last != 0 else { return nil }
        var rest = (bytes.byteCount - size) * 8 - last.leadingZeroBitCount - 1
        // The next bits, at most ``largestTable``; what lies before the first of them is zero. There are two bytes at least:
        // the table's, and the last one.
        func take(_ count: Int) -> Int {
            rest -= count
            let place = min(size + max(0, rest) / 8, bytes.byteCount - 2)
            let pair = Int(bytes.littleEndian(at: place, as: UInt16.self))
            let shift = rest - (place - size) * 8
            return (shift < 0 ? pair << -shift : pair >> shift) & (1 << count - 1)
        }
        var current = states[take(tableBits)]
        var other = states[take(tableBits)]
        guard rest >= 0 else { return nil }
        var weights: [UInt8] = []
        weights.reserveCapacity(256)
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
        // The next bits, at most nine. What lies behind the end is zero, and found out at the end.
        func peek(_ count: Int) -> Int {
            let place = position / 8
            guard place < bytes.byteCount else { return 0 }
            let pair =
                place + 1 < bytes.byteCount
                ? Int(bytes.littleEndian(at: place, as: UInt16.self))
                : Int(bytes.littleEndian(at: place, as: UInt8.self))
            return pair >> (position % 8) & (1 << count - 1)
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
        return (table(counts, size), described)
    }

    /// The table of states for weights that have so many of them each; -1 stands for one with the largest number of bits.
    private static func table(_ counts: [Int], _ size: Int) -> [State] {
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
            let bits = size.trailingZeroBitCount - (Int.bitWidth - 1 - number.leadingZeroBitCount)
            states[index].bitCount = bits
            states[index].base = number << bits - size
        }
        return states
    }

    /// What ``decompress(_:)`` makes the weights of; `nil` if all are equal.
    private static func compress(_ weights: [UInt8]) -> [UInt8]? {
        var occurrences = [Int](repeating: 0, count: Int(weights.max() ?? 0) + 1)
        for weight in weights { occurrences[Int(weight)] += 1 }
        guard occurrences.count(where: { $0 > 0 }) > 1 else { return nil }
        let size = 1 << largestTable
        let counts = shares(occurrences, of: size)
        let states = table(counts, size)
        var bits = BitWriter()
        describe(counts, size, to: &bits)
        bits.fill()
        // From which state of a weight each state is reached, and a state of each weight that wants bits: its first one.
        var previous = [UInt8](repeating: 0, count: counts.count * size)
        var first = [Int](repeating: 0, count: counts.count)
        for (index, state) in states.enumerated().reversed() {
            first[Int(state.weight)] = index
            let start = Int(state.weight) * size + state.base
            for slot in start..<start + 1 << state.bitCount { previous[slot] = UInt8(index) }
        }
        // What is read last is written first. Two states take turns; there are no bits left behind the last of each.
        var current: [Int?] = [nil, nil]
        for (number, weight) in weights.enumerated().reversed() {
            guard let following = current[number % 2] else {
                current[number % 2] = first[Int(weight)]
                continue
            }
            let state = Int(previous[Int(weight) * size + following])
            bits.append(following - states[state].base, states[state].bitCount)
            current[number % 2] = state
        }
        bits.append(current[1]!, largestTable)
        bits.append(current[0]!, largestTable)
        bits.append(1, 1)
        bits.fill()
        return bits.bytes
    }

    /// Shares `size` states out, in proportion, at least one to each that occurs.
    private static func shares(_ occurrences: [Int], of size: Int) -> [Int] {
        let total = occurrences.reduce(0, +)
        var shares = occurrences.map { $0 == 0 ? 0 : max(1, ($0 * size + total / 2) / total) }
        // A largest one is several times the difference: there are at most twelve weights.
        let largest = shares.indices.max { shares[$0] < shares[$1] }!
        shares[largest] += size - shares.reduce(0, +)
        return shares
    }

    /// Describes a table as ``states(_:)`` reads it.
    private static func describe(_ counts: [Int], _ size: Int, to bits: inout BitWriter) {
        bits.append(size.trailingZeroBitCount - 5, 4)
        var rest = size
        var number = 0
        while rest > 0 {
            let width = Int.bitWidth - (rest + 1).leadingZeroBitCount
            let small = 1 << (width - 1) - 1
            let shorter = 1 << width - 2 - rest
            let value = counts[number] + 1
            if value < shorter {
                bits.append(value, width - 1)
            } else {
                bits.append(value <= small ? value : value + shorter, width)
            }
            rest -= counts[number]
            number += 1
            guard value == 1 else { continue }
            // How many more zeros follow, three at a time.
            var zeros = counts[number...].prefix { $0 == 0 }.count
            number += zeros
            while zeros >= 3 {
                bits.append(3, 2)
                zeros -= 3
            }
            bits.append(zeros, 2)
        }
    }

    /// Bits one behind the other, the lowest ones first.
    private struct BitWriter {
        private(set) var bytes: [UInt8] = []
        private var waiting = 0
        private var count = 0

        /// Appends the lowest bits of `value`, up to 16, above which there are none.
        mutating func append(_ value: Int, _ bitCount: Int) {
            waiting |= value << count
            count += bitCount
            while count >= 8 {
                bytes.append(UInt8(truncatingIfNeeded: waiting))
                waiting >>= 8
                count -= 8
            }
        }

        /// Appends zeros up to a whole byte.
        mutating func fill() {
            if count > 0 { append(0, 8 - count) }
        }
    }
}
