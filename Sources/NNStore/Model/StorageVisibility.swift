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

    /// Appends the runs inside `window`, cut to it.
    func append(to ranges: inout [Range<Int>], in window: Range<Int>) {
        // From the largest stride inwards: the starts of all sub-combs that can reach the window.
        var starts = [start]
        var reach = dimensions.reduce(run) { $0 + $1.stride * ($1.count - 1) }
        for dimension in dimensions.reversed() {
            reach -= dimension.stride * (dimension.count - 1)
            var next: [Int] = []
            for start in starts {
                let short = window.lowerBound - start - reach
                let first = short < 0 ? 0 : short / dimension.stride + 1
                let last = min(dimension.count - 1, (window.upperBound - 1 - start) / dimension.stride)
                if start < window.upperBound, first <= last {
                    for index in first...last { next.append(start + index * dimension.stride) }
                }
            }
            // Where sub-combs overlap, the same start is reached in many ways; keeping each once bounds the work by
            // the bytes they span, whatever the shape says.
            if dimension.stride < reach { next = Set(next).sorted() }
            starts = next
        }
        for start in starts {
            let range = (start..<start + run).clamped(to: window)
            if !range.isEmpty { ranges.append(range) }
        }
    }
}
