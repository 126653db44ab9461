import CVectorMath
import NNStore
import NNTensor
import Testing

@Suite("Random numbers", .serialized)
struct RandomTests {
    /// The known answers of the Random123 library (D. E. Shaw Research), as far as this counter reaches.
    @Test("are those of Philox 4×32-10")
    func knownAnswers() {
        var words: (UInt32, UInt32, UInt32, UInt32) = (0, 0, 0, 0)
        unsafe withUnsafeMutablePointer(to: &words) { words in
            unsafe words.withMemoryRebound(to: UInt32.self, capacity: 4) { unsafe nnstore_philox(0, 0, $0) }
        }
        #expect(words == (0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8))
    }

    @Test("do not depend on the number of threads, on pieces, or on what was drawn around them")
    func reproducible() throws {
        let before = Parallelism.threads
        defer { Parallelism.threads = before }
        var drawn: [[Float]] = []
        for threads in [1, 2, 7] {
            Parallelism.threads = threads
            drawn.append(try Tensor.randn([200_003], generator: Generator(seed: 9)).elements())
        }
        #expect(drawn[0] == drawn[1] && drawn[0] == drawn[2])
        // The first numbers are those of a shorter draw.
        #expect(
            try Tensor.randn([1000], generator: Generator(seed: 9)).elements(as: Float.self)
                == Array(drawn[0].prefix(1000)))
        // By logical element, whatever the layout is.
        let view = Parameter(Tensor.zeros(3, 5).T)
        try Initializer.uniform(view, generator: Generator(seed: 4))
        #expect(
            try view.elements(as: Float.self)
                == Tensor.rand([5, 3], generator: Generator(seed: 4)).elements(as: Float.self))
    }

    @Test("go on where a saved state was")
    func states() throws {
        let generator = Generator(seed: 3)
        _ = Tensor.rand([10], generator: generator)
        #expect(generator.state == .init(seed: 3, offset: 3))
        let resumed = Generator(generator.state)
        #expect(
            try Tensor.randn([5], generator: generator).elements(as: Float.self)
                == Tensor.randn([5], generator: resumed).elements(as: Float.self))
        #expect(generator.state == resumed.state)
        generator.manualSeed(3)
        #expect(generator.state == .init(seed: 3))
    }

    @Test("have the right distributions", arguments: [DType.f32, .f64])
    func distributions(_ dtype: DType) throws {
        let count = 100_000
        let uniform = try Tensor.rand([count], dtype: dtype, generator: Generator(seed: 1)).elements(as: Double.self)
            .sorted()
        #expect(uniform[0] >= 0 && uniform[count - 1] < 1)
        // Kolmogorov and Smirnov: above this with a probability of 1e-6.
        let limit = 2.7 / Double(count).squareRoot()
        let distance = uniform.enumerated().map { abs($0.element - (Double($0.offset) + 0.5) / Double(count)) }.max()!
        #expect(distance < limit)
        let normal = Tensor.randn([count], dtype: dtype, generator: Generator(seed: 2))
        let below = try (0.5 * (1 + erf(normal / 2.0.squareRoot()))).elements(as: Double.self).sorted()
        let normalDistance = below.enumerated().map { abs($0.element - (Double($0.offset) + 0.5) / Double(count)) }
            .max()!
        #expect(normalDistance < limit)
        let values = try normal.elements(as: Double.self)
        let neighbours = zip(values, values.dropFirst()).map { $0 * $1 }.reduce(0, +) / Double(count)
        #expect(abs(neighbours) < 0.016)
    }

    @Test("are integers of a range, and orders of all numbers")
    func integers() throws {
        let numbers = try Tensor.randint(-3..<4, [70_000], generator: Generator(seed: 6)).elements(as: Int.self)
        for number in -3..<4 { #expect((9_500...10_500).contains(numbers.count { $0 == number })) }
        let order = try Tensor.randperm(1000, generator: Generator(seed: 7)).elements(as: Int.self)
        #expect(order.sorted() == Array(0..<1000) && order != order.sorted())
        var first = [0, 0, 0]
        for seed in 0..<600 {
            first[try Tensor.randperm(3, generator: Generator(seed: UInt64(seed)))[0].item(as: Int.self)] += 1
        }
        #expect(first.allSatisfy { (150...250).contains($0) })
    }
}
