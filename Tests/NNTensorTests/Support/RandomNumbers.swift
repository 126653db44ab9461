import NNStore
import NNTensor

/// Random numbers for tests, the same in every run (G. Steele, D. Lea, C. Flood: Fast Splittable Pseudorandom Number
/// Generators, 2014).
struct RandomNumbers: RandomNumberGenerator {
    private var state: UInt64
    init(_ seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    /// A shape of `rank` small extents.
    mutating func shape(_ rank: Int) -> [Int] { (0..<rank).map { _ in Int.random(in: 1...4, using: &self) } }

    /// Numbers of F64 in a range, in a random layout: as they are, transposed, or every second one of more.
    mutating func tensor(_ shape: [Int], _ range: ClosedRange<Double> = -1...1) -> Tensor {
        let count = shape.reduce(1, *)
        let numbers = (0..<count).map { _ in Double.random(in: range, using: &self) }
        return arranged(numbers, shape)
    }

    /// Numbers of F64 that are at least 0.05 apart from each other and from 0, in a random layout and order: small changes do
    /// not change which is the largest, or a sign.
    mutating func distinct(_ shape: [Int]) -> Tensor {
        let count = shape.reduce(1, *)
        let numbers = (0..<count).map { (Double($0) - Double(count / 2) + 0.5) * 0.1 }.shuffled(using: &self)
        return arranged(numbers, shape)
    }

    private mutating func arranged(_ numbers: [Double], _ shape: [Int]) -> Tensor {
        let plain = Tensor(numbers, shape: shape, dtype: .f64)
        switch Int.random(in: 0..<3, using: &self) {
        case 0 where shape.count >= 2:
            let view = try! Tensor.zeros(shape.reversed(), dtype: .f64).permute(shape.indices.reversed())
            try! view.copy(from: plain)
            return view
        case 1 where !shape.isEmpty:
            var wider = shape
            wider[wider.count - 1] *= 2
            let view = try! Tensor.zeros(wider, dtype: .f64).narrow(-1, 0..<wider.last!, step: 2)
            try! view.copy(from: plain)
            return view
        default: return plain
        }
    }
}
