import NNStore

/// How the elements of two tensors of one dtype and shape differ.
///
/// Elements differ if they have not the same bits, so 0 and −0 differ by 0. Of complex and opaque block dtypes only
/// ``differingCount`` is known.
public struct ElementDifferences: Sendable, Hashable {
    /// How many elements each tensor has; of an opaque block dtype, how many blocks.
    public internal(set) var count: Int
    /// Whether blocks are counted, because the dtype's elements are not known to this library.
    public let countsBlocks: Bool
    /// How many of them differ.
    public internal(set) var differingCount = 0
    /// The largest |a − b| of two finite elements; `nil` if no two finite ones differ.
    public internal(set) var largestDifference: Double?
    /// The largest |a − b| of an integer dtype, exactly.
    public internal(set) var exactLargestDifference: UInt64?
    /// The largest |a − b| / max(|a|, |b|) of two finite elements; `nil` if no two finite ones differ.
    public internal(set) var largestRelativeDifference: Double?
    /// How many are NaN in the second tensor and were not in the first.
    public internal(set) var becameNaNCount = 0
    /// How many were NaN in the first tensor and are not in the second.
    public internal(set) var wasNaNCount = 0
    /// How many are infinite in the second tensor and were not in the first.
    public internal(set) var becameInfiniteCount = 0
    /// How many were infinite in the first tensor and are not in the second.
    public internal(set) var wasInfiniteCount = 0
    /// How many are infinite in both, with the other sign.
    public internal(set) var infiniteSignCount = 0

    /// No differences yet, between tensors of this layout.
    init(_ layout: TensorLayout) {
        countsBlocks = !layout.dtype.isKnown
        count = countsBlocks ? layout.elementCount / layout.dtype.elementsPerBlock : layout.elementCount
    }

    /// Adds what was found in other places of the same tensors.
    mutating func add(_ other: ElementDifferences) {
        differingCount += other.differingCount
        becameNaNCount += other.becameNaNCount
        wasNaNCount += other.wasNaNCount
        becameInfiniteCount += other.becameInfiniteCount
        wasInfiniteCount += other.wasInfiniteCount
        infiniteSignCount += other.infiniteSignCount
        largestDifference = larger(largestDifference, other.largestDifference)
        exactLargestDifference = larger(exactLargestDifference, other.exactLargestDifference)
        largestRelativeDifference = larger(largestRelativeDifference, other.largestRelativeDifference)
    }

    /// The differences of tensors that repeat these elements so many times.
    func repeated(_ times: Int) -> ElementDifferences {
        var repeated = self
        repeated.count *= times
        repeated.differingCount *= times
        repeated.becameNaNCount *= times
        repeated.wasNaNCount *= times
        repeated.becameInfiniteCount *= times
        repeated.wasInfiniteCount *= times
        repeated.infiniteSignCount *= times
        return repeated
    }

    private func larger<Value: Comparable>(_ first: Value?, _ second: Value?) -> Value? {
        guard let first, let second else { return first ?? second }
        return max(first, second)
    }
}

/// Compares elements that lie one after another.
struct ElementComparer: Sendable {
    private let layout: TensorLayout
    /// `nil` where only blocks are compared.
    private let values: ElementValues?

    init(_ layout: TensorLayout) {
        self.layout = layout
        values = ElementValues(layout.dtype).flatMap { $0.isComplex ? nil : $0 }
    }

    /// The differences between two stretches with the same number of whole blocks.
    func differences(_ left: RawSpan, _ right: RawSpan) -> ElementDifferences {
        var found = ElementDifferences(layout)
        guard let values else {
            found.differingCount = differingBlocks(left, right)
            return found
        }
        // Local, so that nothing of this is written through for each element.
        var (count, largest, largestRelative) = (0, -1.0, -1.0)
        var exact: UInt64 = 0
        var (becameNaN, wasNaN, becameInfinite, wasInfinite, infiniteSign) = (0, 0, 0, 0, 0)
        values.forEachDifference(left, right) { first, second in
            count += 1
            if let first = values.integer(first), let second = values.integer(second) {
                let (less, more) = (min(first.magnitude, second.magnitude), max(first.magnitude, second.magnitude))
                // Of two 64-bit integers with different signs this is still less than 2^64.
                let difference = first.isNegative == second.isNegative ? more - less : more + less
                exact = max(exact, difference)
                largestRelative = max(largestRelative, Double(difference) / Double(more))
                return
            }
            let (a, b) = (values.value(first), values.value(second))
            if a.isFinite && b.isFinite {
                let greatest = max(a.magnitude, b.magnitude)
                largest = max(largest, (a - b).magnitude)
                // Divided first, because the difference of great doubles is infinite.
                let relative = greatest == 0 ? 0 : (a / greatest - b / greatest).magnitude
                largestRelative = max(largestRelative, relative)
                return
            }
            if a.isNaN != b.isNaN { if b.isNaN { becameNaN += 1 } else { wasNaN += 1 } }
            if a.isInfinite && b.isInfinite { infiniteSign += 1 }
            if a.isInfinite != b.isInfinite { if b.isInfinite { becameInfinite += 1 } else { wasInfinite += 1 } }
        }
        found.differingCount = count
        if count > 0, values.integer(0) != nil {
            found.exactLargestDifference = exact
            found.largestDifference = Double(exact)
        } else if largest >= 0 {
            found.largestDifference = largest
        }
        if largestRelative >= 0 { found.largestRelativeDifference = largestRelative }
        (found.becameNaNCount, found.wasNaNCount) = (becameNaN, wasNaN)
        (found.becameInfiniteCount, found.wasInfiniteCount) = (becameInfinite, wasInfinite)
        found.infiniteSignCount = infiniteSign
        return found
    }

    private func differingBlocks(_ left: RawSpan, _ right: RawSpan) -> Int {
        let size = layout.dtype.bytesPerBlock
        var count = 0
        var position = 0
        while position < left.byteCount {
            let rest = position..<left.byteCount
            guard let place = left.extracting(rest).firstDifference(from: right.extracting(rest)) else { break }
            count += 1
            position += (place / size + 1) * size
        }
        return count
    }
}
