/// Which bytes of a storage a set of tensors can see (spec section 5).
///
/// Saving writes only those: the smallest range that covers them, and zero for the bytes inside it that no tensor sees.
struct StorageVisibility: Sendable {
    /// The bytes to write, from the start of the storage.
    let range: Range<Int>
    /// Visible stretches without holes, sorted, apart from each other.
    private let solid: [Range<Int>]
    /// Tensors with holes.
    private let combs: [Comb]

    /// What is visible through `layouts`; those of tensors without elements see nothing.
    init(_ layouts: some Collection<TensorLayout>) {
        let seeing = layouts.filter { !$0.isEmpty }
        let lower = seeing.lazy.map(\.byteRange.lowerBound).min() ?? 0
        let upper = seeing.lazy.map(\.byteRange.upperBound).max() ?? 0
        let unit = StorageVisibility.leastCommonMultiple(Set(seeing.map(\.dtype.bytesPerBlock)), upTo: max(1, lower))
        range = lower / unit * unit..<upper
        var solid: [Range<Int>] = []
        var combs: Set<Comb> = []
        for layout in seeing {
            let comb = Comb(layout)
            if comb.dimensions.isEmpty { solid.append(comb.start..<comb.start + comb.run) } else { combs.insert(comb) }
        }
        self.solid = StorageVisibility.merged(solid)
        self.combs = combs.sorted { $0.start < $1.start }
    }

    /// Whether every byte of ``range`` is visible by way of tensors without holes.
    var isSolid: Bool { range.isEmpty || solid == [range] }

    /// The least common multiple of `sizes`, which are all positive, or a larger number than `limit` if it is larger.
    private static func leastCommonMultiple(_ sizes: Set<Int>, upTo limit: Int) -> Int {
        func divisor(_ a: Int, _ b: Int) -> Int { b == 0 ? a : divisor(b, a % b) }
        var result = 1
        for size in sizes.sorted() {
            let (product, overflow) = result.multipliedReportingOverflow(by: size / divisor(result, size))
            // Rounding down to a multiple of anything above the limit gives 0.
            if overflow || product > limit { return limit + 1 }
            result = product
        }
        return result
    }

    private static func merged(_ ranges: [Range<Int>]) -> [Range<Int>] {
        var merged: [Range<Int>] = []
        for range in ranges.sorted(by: { ($0.lowerBound, $0.upperBound) < ($1.lowerBound, $1.upperBound) }) {
            if let last = merged.last, range.lowerBound <= last.upperBound {
                merged[merged.count - 1] = last.lowerBound..<max(last.upperBound, range.upperBound)
            } else {
                merged.append(range)
            }
        }
        return merged
    }

    /// The visible stretches inside `window`, sorted, apart from each other.
    func visible(in window: Range<Int>) -> [Range<Int>] {
        var first = solid.startIndex
        var end = solid.endIndex
        while first < end {
            let middle = (first + end) / 2
            if solid[middle].upperBound <= window.lowerBound { first = middle + 1 } else { end = middle }
        }
        var ranges = solid[first...].prefix { $0.lowerBound < window.upperBound }.map { $0.clamped(to: window) }
        if ranges == [window] { return ranges }
        for comb in combs where comb.start < window.upperBound { comb.append(to: &ranges, in: window) }
        return StorageVisibility.merged(ranges)
    }

    /// Sets the bytes of `window` that no tensor sees to zero in `bytes`, which holds the window's bytes.
    func zeroUnseen(in window: Range<Int>, _ bytes: inout MutableRawSpan) {
        if isSolid { return }
        var position = window.lowerBound
        for range in visible(in: window) + [window.upperBound..<window.upperBound] {
            let gap = position - window.lowerBound..<range.lowerBound - window.lowerBound
            if !gap.isEmpty { bytes.withBytes(in: gap) { $0.zero() } }
            position = range.upperBound
        }
    }
}

extension TensorLayout {
    /// Whether two tensors over one storage see a byte in common.
    package func overlaps(_ other: TensorLayout) -> Bool {
        let common = byteRange.clamped(to: other.byteRange)
        if isEmpty || other.isEmpty || common.isEmpty { return false }
        if self == other || isContiguous && other.isContiguous { return true }
        let (mine, others) = (StorageVisibility([self]), StorageVisibility([other]))
        // Piece by piece, because there may be as many runs as bytes.
        for start in stride(from: common.lowerBound, to: common.upperBound, by: 1 << 20) {
            let window = start..<min(start + 1 << 20, common.upperBound)
            var rest = others.visible(in: window)[...]
            for run in mine.visible(in: window) {
                while let first = rest.first, first.upperBound <= run.lowerBound { rest.removeFirst() }
                if let first = rest.first, first.lowerBound < run.upperBound { return true }
            }
        }
        return false
    }
}

/// The bytes of a strided tensor: runs of equal length, at a start plus any sum of multiples of the strides.
private struct Comb: Hashable {
    struct Dimension: Hashable {
        var stride: Int
        var count: Int
    }

    let start: Int
    let run: Int
    /// Smallest stride first; dimensions that only lengthen the run or another dimension are folded into those.
    let dimensions: [Dimension]

    init(_ layout: TensorLayout) {
        start = layout.byteRange.lowerBound
        let block = layout.dtype.elementsPerBlock
        let size = layout.dtype.bytesPerBlock
        if layout.isContiguous {
            run = layout.byteRange.count
            dimensions = []
            return
        }
        var run = size
        var inBytes: [Dimension] = []
        for (dimension, (count, stride)) in zip(layout.shape, layout.strides).enumerated() where count > 1 && stride > 0
        {
            if block > 1 && dimension == layout.rank - 1 {
                run = count / block * size
            } else {
                inBytes.append(Dimension(stride: stride / block * size, count: count))
            }
        }
        var folded: [Dimension] = []
        for dimension in inBytes.sorted(by: { $0.stride < $1.stride }) {
            if let last = folded.last {
                let factor = dimension.stride / last.stride
                if dimension.stride % last.stride == 0, factor <= last.count {
                    folded[folded.count - 1].count += factor * (dimension.count - 1)
                } else {
                    folded.append(dimension)
                }
            } else if dimension.stride <= run {
                run += dimension.stride * (dimension.count - 1)
            } else {
                folded.append(dimension)
            }
        }
        self.run = run
        dimensions = folded
    }

    /// Whether runs overlap or interleave in a way that no folding could undo (strides 3 and 2, say).
    private var isTangled: Bool {
        var reach = run
        for dimension in dimensions {
            if dimension.stride < reach { return true }
            reach += dimension.stride * (dimension.count - 1)
        }
        return false
    }

    /// Appends the runs inside `window`, cut to it.
    func append(to ranges: inout [Range<Int>], in window: Range<Int>) {
        let starts = isTangled ? tangledStarts(window) : nestedStarts(window)
        for start in starts {
            let range = (start..<start + run).clamped(to: window)
            if !range.isEmpty { ranges.append(range) }
        }
    }

    /// Where runs that reach the window begin, dimension by dimension from the largest stride inwards: no two ways lead
    /// to one start, so there are no more than fit into the window.
    private func nestedStarts(_ window: Range<Int>) -> [Int] {
        var starts = [start]
        var reach = dimensions.reduce(run) { $0 + $1.stride * ($1.count - 1) }
        for dimension in dimensions.reversed() {
            reach -= dimension.stride * (dimension.count - 1)
            var next: [Int] = []
            for start in starts where start < window.upperBound {
                let short = window.lowerBound - start - reach
                let first = short < 0 ? 0 : short / dimension.stride + 1
                let last = min(dimension.count - 1, (window.upperBound - 1 - start) / dimension.stride)
                if first <= last {
                    for index in first...last { next.append(start + index * dimension.stride) }
                }
            }
            starts = next
        }
        return starts
    }

    /// The same for combs in which many ways lead to one start: a set of bits, one for each byte up to the window's end,
    /// shifted and joined. The work is the bits times the logarithm of the extents, whatever the shape says.
    private func tangledStarts(_ window: Range<Int>) -> [Int] {
        let reach = dimensions.reduce(run) { $0 + $1.stride * ($1.count - 1) }
        var bits = BitSet(count: min(window.upperBound - start, reach))
        bits.insert(0)
        for dimension in dimensions {
            // Joined `done` times so far: doubling what is there doubles that.
            var done = 1
            while done < dimension.count {
                let step = min(done, dimension.count - done)
                bits.formUnionShifted(by: step * dimension.stride)
                done += step
            }
        }
        return bits.members(from: max(0, window.lowerBound - start - run + 1)).map { start + $0 }
    }
}

/// A set of small integers.
private struct BitSet {
    private var words: [UInt64]
    private let count: Int

    init(count: Int) {
        self.count = count
        words = [UInt64](repeating: 0, count: count / 64 + 1)
    }

    mutating func insert(_ member: Int) { words[member / 64] |= 1 << UInt64(member % 64) }

    /// Adds every member plus `distance`, as far as it fits.
    mutating func formUnionShifted(by distance: Int) {
        let (wordShift, bitShift) = (distance / 64, UInt64(distance % 64))
        // From the top, so that what is read was not changed yet.
        var index = words.count - 1
        while index >= wordShift {
            var word = words[index - wordShift] << bitShift
            if bitShift > 0, index > wordShift { word |= words[index - wordShift - 1] >> (64 - bitShift) }
            words[index] |= word
            index -= 1
        }
    }

    /// The members from `lower` on that are less than the count, in order.
    func members(from lower: Int) -> [Int] {
        var members: [Int] = []
        for index in lower / 64..<words.count {
            var word = words[index]
            while word != 0 {
                let member = index * 64 + word.trailingZeroBitCount
                if member >= lower, member < count { members.append(member) }
                word &= word - 1
            }
        }
        return members
    }
}
