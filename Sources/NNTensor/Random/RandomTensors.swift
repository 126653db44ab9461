import CVectorMath
import NNDevices
import NNStore

extension Tensor {
    /// Random numbers from 0 (included) to 1 (not included), all equally likely: multiples of 2⁻²⁴, of 2⁻⁵³ for F64.
    public static func rand(
        _ shape: [Int], dtype: DType = .f32, device: Device = .cpu, generator: Generator? = nil
    ) -> Tensor {
        let result = zeros(shape, dtype: dtype, device: device)
        orStop { try result.fillRandomly(.uniform, generator) }
        return result
    }

    /// Random numbers from 0 to 1: `Tensor.rand(2, 3)`.
    public static func rand(_ shape: Int...) -> Tensor { rand(shape) }

    /// Random numbers with the standard normal distribution (G. Box, M. Muller: A Note on the Generation of Random Normal
    /// Deviates, 1958).
    public static func randn(
        _ shape: [Int], dtype: DType = .f32, device: Device = .cpu, generator: Generator? = nil
    ) -> Tensor {
        let result = zeros(shape, dtype: dtype, device: device)
        orStop { try result.fillRandomly(.normal, generator) }
        return result
    }

    /// Random numbers with the standard normal distribution: `Tensor.randn(2, 3)`.
    public static func randn(_ shape: Int...) -> Tensor { randn(shape) }

    /// Random integers of a range, all equally likely, I64.
    public static func randint(_ range: Range<Int>, _ shape: [Int], generator: Generator? = nil) -> Tensor {
        guard !range.isEmpty else { stop("randint", "nothing lies in \(range)") }
        let count = orStop { try TensorLayout(.i64, shape: shape).elementCount }
        let width = UInt64(bitPattern: Int64(range.upperBound)) &- UInt64(bitPattern: Int64(range.lowerBound))
        // The high half of a product of 128 bits; what that favours is less than one in 2^64 / width.
        let numbers = Generator.bits(count, generator).map { bits in
            Int64(bitPattern: UInt64(bitPattern: Int64(range.lowerBound)) &+ bits.multipliedFullWidth(by: width).high)
        }
        return Tensor(numbers, shape: shape)
    }

    /// The integers from 0 to `count` - 1 in a random order, I64, all orders equally likely.
    public static func randperm(_ count: Int, generator: Generator? = nil) -> Tensor {
        guard count >= 0 else { stop("randperm", "\(count) numbers are impossible") }
        var numbers = (0..<Int64(count)).map { $0 }
        for (place, bits) in zip((0..<count).reversed(), Generator.bits(count, generator)) {
            numbers.swapAt(place, Int(bits.multipliedFullWidth(by: UInt64(place) + 1).high))
        }
        return Tensor(numbers)
    }

    enum Distribution: Sendable { case uniform, normal }

    /// A piece of elements that is filled at one go; whole steps of a generator.
    private static let piece = 1 << 14

    /// Fills the tensor's memory with random numbers, in row-major order, whatever is recorded.
    func fillRandomly(_ distribution: Distribution, _ generator: Generator?) throws {
        let operation = distribution == .uniform ? "rand" : "randn"
        guard dtype.isFloatingPoint else {
            throw TensorError.dtypeMismatch(
                operation: operation, dtypes: [dtype], reason: "random numbers are floats; or use randint")
        }
        let isDouble = dtype == .f64
        let computing = Promotion.computing(dtype)
        // On the CPU wherever the tensor is, so that the numbers are the same everywhere.
        let isDirect = isContiguous && computing == dtype && !device.isGPU
        let target = try isDirect ? self : Tensor.zeroed(computing, shape, on: .cpu)
        let perStep = isDouble ? 2 : 4
        let first = (generator ?? .default).reserve((count + perStep - 1) / perStep)
        let elements = try target.writableElements(for: operation)
        let pieces = (count + Tensor.piece - 1) / Tensor.piece
        Parallelism.forEach(pieces, threads: pieces < 4 ? 1 : Parallelism.threads) { [count] number in
            let start = number * Tensor.piece
            let length = Swift.min(Tensor.piece, count - start)
            let offset = first.offset &+ UInt64(start / perStep)
            let address = unsafe elements.address(start)!
            switch (distribution, isDouble) {
            case (.uniform, false):
                unsafe nnstore_uniform_f32(first.seed, offset, length, address.assumingMemoryBound(to: Float.self))
            case (.uniform, true):
                unsafe nnstore_uniform_f64(first.seed, offset, length, address.assumingMemoryBound(to: Double.self))
            case (.normal, false):
                unsafe nnstore_normal_f32(first.seed, offset, length, address.assumingMemoryBound(to: Float.self))
            case (.normal, true):
                unsafe nnstore_normal_f64(first.seed, offset, length, address.assumingMemoryBound(to: Double.self))
            }
        }
        if target !== self { try writeValues(of: target.copied(to: device), operation) }
    }
}

extension Generator {
    /// Random numbers of 64 bits.
    fileprivate static func bits(_ count: Int, _ generator: Generator?) -> [UInt64] {
        let first = (generator ?? .default).reserve((count + 1) / 2)
        return unsafe [UInt64](unsafeUninitializedCapacity: count) { buffer, filled in
            unsafe nnstore_random_bits(first.seed, first.offset, count, buffer.baseAddress)
            filled = count
        }
    }
}
