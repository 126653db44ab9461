import NNStore

/// What the elements of a tensor are like, as numbers: of complex ones, their magnitudes.
public struct TensorStatistics: Sendable {
    /// How many elements there are.
    public private(set) var count = 0
    /// The least finite value; `nil` if there is none.
    public private(set) var minimum: Double?
    /// The greatest finite value; `nil` if there is none.
    public private(set) var maximum: Double?
    /// The least value of an integer dtype, exactly.
    package private(set) var exactMinimum: Int128?
    /// The greatest value of an integer dtype, exactly.
    package private(set) var exactMaximum: Int128?
    /// The mean of the finite values; `nil` if there is none.
    public private(set) var mean: Double?
    /// The standard deviation of the finite values (of the whole population); `nil` if there is none.
    public private(set) var standardDeviation: Double?
    /// How many are zero.
    public private(set) var zeroCount = 0
    /// How many are NaN.
    public private(set) var nanCount = 0
    /// How many are infinite.
    public private(set) var infiniteCount = 0
    /// How many finite values fall into each of equal parts of the range from ``minimum`` to ``maximum``.
    public private(set) var histogram: [Int] = []

    /// Computes the statistics of a tensor, in two passes over its bytes.
    ///
    /// - Returns: `nil` for dtypes whose elements are no numbers to this library.
    /// - Throws: what reading the bytes throws.
    public init?(_ tensor: StateTensor, histogramParts: Int = 30) throws {
        guard let values = ElementValues(tensor.dtype) else { return nil }
        // Welford 1962: one pass, no cancellation.
        var finite = 0
        var mean = 0.0
        var squares = 0.0
        var minimum = Double.infinity
        var maximum = -Double.infinity
        var (zeros, nans, infinities, all) = (0, 0, 0, 0)
        var range: ClosedRange<Int128>?
        try tensor.forEachPiece { piece in
            if let part = values.integerRange(in: piece) {
                range = range.map { min($0.lowerBound, part.lowerBound)...max($0.upperBound, part.upperBound) } ?? part
            }
            values.forEach(in: piece) { value in
                all += 1
                guard value.isFinite else {
                    if value.isNaN { nans += 1 } else { infinities += 1 }
                    return
                }
                if value == 0 { zeros += 1 }
                finite += 1
                let difference = value - mean
                mean += difference / Double(finite)
                squares += difference * (value - mean)
                minimum = min(minimum, value)
                maximum = max(maximum, value)
            }
        }
        count = all
        (exactMinimum, exactMaximum) = (range?.lowerBound, range?.upperBound)
        (zeroCount, nanCount, infiniteCount) = (zeros, nans, infinities)
        guard finite > 0 else { return }
        self.minimum = minimum
        self.maximum = maximum
        // Values near the greatest double overflow on the way to these.
        self.mean = mean.isFinite ? mean : nil
        standardDeviation = squares.isFinite ? (squares / Double(finite)).squareRoot() : nil
        let scale = Double(histogramParts) / (maximum - minimum)
        guard maximum > minimum, histogramParts > 0, scale.isFinite, scale > 0 else { return }
        var parts = [Int](repeating: 0, count: histogramParts)
        try tensor.forEachPiece { piece in
            values.forEach(in: piece) { value in
                guard value.isFinite else { return }
                parts[max(0, min(histogramParts - 1, Int((value - minimum) * scale)))] += 1
            }
        }
        histogram = parts
    }
}
