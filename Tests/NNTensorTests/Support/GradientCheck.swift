import NNStore
import NNTensor
import Testing

/// A function of tensors whose gradient is held against finite differences.
struct GradientCheck: Sendable {
    /// The public operation or module.
    let name: String
    /// Makes arguments of F64 and says what is calculated with them.
    let make: @Sendable (inout RandomNumbers) throws -> (arguments: [Tensor], function: ([Tensor]) throws -> Tensor)

    init(
        _ name: String,
        _ make: @escaping @Sendable (inout RandomNumbers) throws -> ([Tensor], ([Tensor]) throws -> Tensor)
    ) {
        self.name = name
        self.make = make
    }

    /// A function of one tensor of any shape.
    static func unary(
        _ name: String, _ range: ClosedRange<Double> = -2...2, _ function: @escaping @Sendable (Tensor) throws -> Tensor
    ) -> GradientCheck {
        GradientCheck(name) { random in
            let shape = random.shape(Int.random(in: 0...3, using: &random))
            return ([random.tensor(shape, range)], { try function($0[0]) })
        }
    }

    /// A function of one tensor with kinks, of `ranks` dimensions.
    static func kinked(
        _ name: String, _ ranks: ClosedRange<Int> = 0...3, _ function: @escaping @Sendable (Tensor) throws -> Tensor
    ) -> GradientCheck {
        GradientCheck(name) { random in
            let shape = random.shape(Int.random(in: ranks, using: &random))
            return ([random.distinct(shape)], { try function($0[0]) })
        }
    }

    /// A function of two tensors that are broadcast to each other.
    static func binary(
        _ name: String, _ left: ClosedRange<Double> = -2...2, _ right: ClosedRange<Double> = -2...2,
        _ function: @escaping @Sendable (Tensor, Tensor) throws -> Tensor
    ) -> GradientCheck {
        GradientCheck(name) { random in
            let shape = random.shape(Int.random(in: 0...3, using: &random))
            // Some of the extents are 1, and some in front are not there.
            func part() -> [Int] {
                let kept = shape.map { Bool.random(using: &random) ? $0 : 1 }
                return Array(kept.dropFirst(Int.random(in: 0...kept.count, using: &random)))
            }
            return ([random.tensor(part(), left), random.tensor(part(), right)], { try function($0[0], $0[1]) })
        }
    }

    /// Compares all gradients for `count` random arguments.
    func run(_ count: Int, tolerance: Double = 1e-6) throws {
        for seed in 0..<UInt64(count) {
            var random = RandomNumbers(seed &* 7919 &+ 1)
            let (arguments, function) = try make(&random)
            for argument in arguments where argument.dtype.isFloatingPoint { argument.requiresGrad = true }
            let result = try function(arguments)
            guard result.requiresGrad else {
                Issue.record("\(name), seed \(seed): the result has no gradient")
                return
            }
            // Each element of the result counts differently.
            let weights = random.tensor(result.shape, 0.5...1.5)
            try (result * weights).sum().backward()
            for (place, argument) in arguments.enumerated() where argument.dtype.isFloatingPoint {
                let found =
                    try argument.grad.map { try $0.elements(as: Double.self) }
                    ?? Array(repeating: 0, count: argument.count)
                let expected = try differences(of: argument, scaled: weights) { try function(arguments) }
                for (a, b) in zip(found, expected) {
                    let isClose = abs(a - b) <= tolerance * (1 + abs(b))
                    #expect(isClose, "\(name), seed \(seed), argument \(place) \(argument.shape): \(a) instead of \(b)")
                    if !isClose { return }
                }
            }
        }
    }

    /// What a small change of each element changes.
    private func differences(of argument: Tensor, scaled weights: Tensor, _ function: () throws -> Tensor) throws
        -> [Double]
    {
        try noGrad {
            let step = 1e-5
            let before = try argument.clone()
            func value(_ index: Int, _ change: Double) throws -> Double {
                let changed = try before.flatten().clone()
                if argument.rank > 0 {
                    changed[index] = changed[index] + change
                } else {
                    changed[...] = changed + change
                }
                try argument.copy(from: changed.reshape(argument.shape))
                return try (function() * weights).sum().item()
            }
            let slopes = try (0..<argument.count).map { (try value($0, step) - value($0, -step)) / (2 * step) }
            try argument.copy(from: before)
            return slopes
        }
    }
}
