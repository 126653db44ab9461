import NNStore
import NNTensor
import Testing

/// Mean and standard deviation.
private func moments(_ tensor: Tensor) throws -> (mean: Double, deviation: Double) {
    (try tensor.double().mean().item(), try tensor.double().standardDeviation(correction: 0).item())
}

@Suite("Initialisers")
struct InitializerTests {
    private func weight(_ shape: [Int] = [300, 200], dtype: DType = .f32) -> Parameter {
        Parameter(.zeros(shape, dtype: dtype))
    }

    @Test("have the deviations that their papers give", arguments: [DType.f32, .f64, .bf16])
    func deviations(_ dtype: DType) throws {
        func check(_ shape: [Int], _ expected: Double, bounded: Bool, _ fill: (Parameter) throws -> Void) throws {
            let weight = weight(shape, dtype: dtype)
            try fill(weight)
            let found = try moments(weight)
            #expect(abs(found.mean) < expected / 50)
            #expect(abs(found.deviation / expected - 1) < 0.02)
            let largest = try abs(weight).max().item()
            // A uniform distribution ends at √3 deviations.
            #expect(bounded ? largest <= expected * 1.74 : largest > expected * 3)
            #expect(weight.requiresGrad && weight.isLeaf)
        }
        let g = Generator(seed: 11)
        try check([300, 200], (2.0 / 500).squareRoot(), bounded: true) {
            try Initializer.xavierUniform($0, generator: g)
        }
        try check([300, 200], 2 * (2.0 / 500).squareRoot(), bounded: false) {
            try Initializer.xavierNormal($0, gain: 2, generator: g)
        }
        try check([300, 200], (2.0 / 200).squareRoot(), bounded: true) {
            try Initializer.kaimingUniform($0, generator: g)
        }
        try check([300, 200], (2.0 / 300).squareRoot(), bounded: false) {
            try Initializer.kaimingNormal($0, fan: .out, generator: g)
        }
        try check([60, 20, 5, 4], (1.0 / (400 * 3)).squareRoot(), bounded: true) {
            try Initializer.kaimingUniform($0, negativeSlope: 5.0.squareRoot(), generator: g)
        }
        try check([300, 200], 0.01, bounded: false) {
            try Initializer.normal($0, standardDeviation: 0.01, generator: g)
        }
        try check([300, 200], 2 / 12.0.squareRoot(), bounded: true) {
            try Initializer.uniform($0, from: -1, to: 1, generator: g)
        }
    }

    @Test("of Linear and Conv2d are uniform up to 1 / √inputs")
    func defaults() throws {
        let linear = Linear(100, 400, generator: Generator(seed: 1))
        let conv = Conv2d(25, 300, kernelSize: 2, generator: Generator(seed: 2))
        for tensor in [linear.weight, linear.bias!, conv.weight, conv.bias!] {
            let found = try moments(tensor)
            #expect(try abs(tensor).max().item() <= 0.1)
            #expect(abs(found.deviation / (0.1 / 3.0.squareRoot()) - 1) < 0.1)
            #expect(abs(found.mean) < 0.01)
        }
        #expect(abs(try moments(Embedding(500, 40).weight).deviation - 1) < 0.03)
    }

    @Test("give the numbers of their generator, and only those")
    func generators() throws {
        let (first, second) = (Generator(seed: 5), Generator(seed: 5))
        let (a, b) = (Linear(3, 4, generator: first), Linear(3, 4, generator: second))
        #expect(try a.weight.elements(as: Float.self) == b.weight.elements(as: Float.self))
        #expect(first.state == second.state && first.state.offset > 0)
        let c = withGenerator(Generator(seed: 5)) { Linear(3, 4) }
        #expect(try a.weight.elements(as: Float.self) == c.weight.elements(as: Float.self))
    }

    @Test("orthogonal give rows or columns that are orthogonal", arguments: [[4, 9], [9, 4], [6, 6], [3, 2, 2, 1]])
    func orthogonal(_ shape: [Int]) throws {
        let weight = weight(shape, dtype: .f64)
        try Initializer.orthogonal(weight, gain: 3, generator: Generator(seed: 3))
        let matrix = try weight.detach().reshape([shape[0], -1])
        let (rows, columns) = (matrix.shape[0], matrix.shape[1])
        let product = try rows <= columns ? matmul(matrix, matrix.T) : matmul(matrix.T, matrix)
        let difference = try abs(product - 9 * Tensor.eye(min(rows, columns), dtype: .f64)).max().item()
        #expect(difference < 1e-12)
        // No sign is preferred: the diagonal is not always positive.
        let signs = try (0..<UInt64(40)).map { seed -> Bool in
            try Initializer.orthogonal(weight, generator: Generator(seed: seed))
            return try weight.detach().flatten()[0].item() > 0
        }
        #expect((8...32).contains(signs.count { $0 }))
    }

    @Test("truncated normal lie between the bounds and have the deviation that is left")
    func truncatedNormal() throws {
        let weight = weight([400, 500])
        try Initializer.truncatedNormal(
            weight, mean: 1, standardDeviation: 2, from: -1, to: 3, generator: Generator(seed: 4))
        let found = try moments(weight)
        #expect(try weight.min().item() >= -1 && weight.max().item() <= 3)
        // One deviation to each side: the variance is 1 - 2 φ(1) / (2 Φ(1) - 1) of the whole.
        #expect(abs(found.mean - 1) < 0.01 && abs(found.deviation / 2 - 0.539560) < 0.005)
        // Far out in the tail there are numbers too.
        try Initializer.truncatedNormal(weight, from: 5, to: 6, generator: Generator(seed: 4))
        #expect(try weight.min().item() >= 5 && weight.max().item() <= 6 && abs(weight.mean().item() - 5.183) < 0.01)
        #expect(throws: TensorError.self) { try Initializer.truncatedNormal(weight, from: 2, to: 1) }
    }

    @Test("refuse what they can't fill")
    func refusals() {
        #expect(throws: TensorError.self) { try Initializer.xavierUniform(.zeros(3)) }
        #expect(throws: TensorError.self) { try Initializer.normal(.zeros([3], dtype: .i64)) }
        #expect(throws: TensorError.self) { try Initializer.orthogonal(.zeros(3)) }
    }
}
