import CVectorMath
import NNStore

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

extension Initializer {
    /// Normally distributed numbers, of which only those between two bounds are taken.
    ///
    /// - Parameters:
    ///   - lower, upper: the bounds themselves, not multiples of the deviation.
    /// - Throws: ``TensorError/invalidArgument(operation:reason:)`` if the upper bound is not above the lower one, or the
    ///   deviation is not positive.
    public static func truncatedNormal(
        _ tensor: Tensor, mean: Double = 0, standardDeviation: Double = 1, from lower: Double = -2,
        to upper: Double = 2,
        generator: Generator? = nil
    ) throws {
        try tensor.requireValue("truncatedNormal")
        guard lower < upper, standardDeviation > 0 else {
            throw TensorError.invalidArgument(
                operation: "truncatedNormal",
                reason: "bounds \(lower) and \(upper) and deviation \(standardDeviation) leave no numbers to draw")
        }
        try requireFloat(tensor, "truncatedNormal")
        /// The probability of smaller numbers.
        func probability(_ bound: Double) -> Double { erfc(-(bound - mean) / standardDeviation / 2.0.squareRoot()) / 2 }
        let (first, last) = (probability(lower), probability(upper))
        let drawn = Tensor.rand(tensor.shape, dtype: .f64, generator: generator)
        try drawn.update(.multiply, Tensor(number: last - first))
        try drawn.update(.add, Tensor(number: first))
        let elements = try drawn.writableElements(for: "truncatedNormal")
        unsafe nnstore_normal_quantiles(drawn.count, elements.address(0)?.assumingMemoryBound(to: Double.self))
        try drawn.update(.multiply, Tensor(number: standardDeviation))
        try drawn.update(.add, Tensor(number: mean))
        // The rounding of the probabilities may lead a little outside.
        try write(clamp(drawn, minimum: lower, maximum: upper), to: tensor, "truncatedNormal")
    }
}
