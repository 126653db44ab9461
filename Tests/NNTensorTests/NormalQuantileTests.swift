import CVectorMath
import Testing

@Suite("Quantiles of the normal distribution")
struct NormalQuantileTests {
    /// Values of Python's statistics.NormalDist().inv_cdf.
    @Test(
        "are those of a table",
        arguments: [
            (0.5, 0.0), (0.975, 1.9599639845400536), (0.925, 1.4395314709384563), (0.08, -1.4050715603096329),
            (0.001, -3.090232306167813), (1e-9, -5.9978070150076865), (1e-12, -7.034483825301132),
            (0.3, -0.5244005127080409),
        ])
    func table(_ probability: Double, _ expected: Double) {
        var value = probability
        unsafe nnstore_normal_quantiles(1, &value)
        #expect(abs(value - expected) <= 4e-15 * max(1, abs(expected)))
    }
}
