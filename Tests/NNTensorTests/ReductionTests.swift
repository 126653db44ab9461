import NNStore
import NNTensor
import Testing

@Suite("Reductions")
struct ReductionTests {
    /// The elements that one of the result is made of, for each of the result, in row-major order.
    private func groups(_ tensor: Tensor, _ axes: [Int]) throws -> [[Double]] {
        let values = try tensor.elements(as: Double.self)
        let kept = tensor.shape.indices.filter { !axes.contains($0) }
        let count = kept.reduce(1) { $0 * tensor.shape[$1] }
        var groups = [[Double]](repeating: [], count: count)
        for (number, value) in values.enumerated() {
            var (rest, place, factor) = (number, 0, 1)
            var index = [Int](repeating: 0, count: tensor.rank)
            for axis in tensor.shape.indices.reversed() {
                index[axis] = rest % tensor.shape[axis]
                rest /= tensor.shape[axis]
            }
            for axis in kept.reversed() {
                place += index[axis] * factor
                factor *= tensor.shape[axis]
            }
            groups[place].append(value)
        }
        return groups
    }

    @Test("are those of plain loops, over any dimensions and strides", arguments: 0..<40)
    func loops(_ seed: UInt64) throws {
        var random = RandomNumbers(seed)
        let shape = random.shape(Int.random(in: 1...4, using: &random))
        let x = random.tensor(shape)
        let axes = shape.indices.filter { _ in Bool.random(using: &random) }
        let groups = try groups(x, axes)
        func isClose(_ found: Tensor, _ expected: [Double]) throws -> Bool {
            try zip(found.elements(as: Double.self), expected).allSatisfy { abs($0 - $1) < 1e-12 }
                && found.count == expected.count
        }
        #expect(try isClose(x.sum(axes), groups.map { $0.reduce(0, +) }))
        #expect(try isClose(x.mean(axes), groups.map { $0.reduce(0, +) / Double($0.count) }))
        #expect(try x.sum(axes, keepDimensions: true).shape == shape.indices.map { axes.contains($0) ? 1 : shape[$0] })
        for axis in shape.indices {
            let lines = try self.groups(x, [axis])
            #expect(try x.max(axis).values.elements(as: Double.self) == lines.map { $0.max()! })
            #expect(try x.argmin(axis).elements(as: Int.self) == lines.map { $0.firstIndex(of: $0.min()!)! })
        }
        #expect(try x.argmax().item() == Double(x.elements(as: Double.self).firstIndex(of: x.max().item())!))
    }

    @Test("of many elements are exact to the last place, with any number of threads")
    func large() throws {
        let before = Parallelism.threads
        defer { Parallelism.threads = before }
        let x = Tensor.rand([3_000_001], generator: Generator(seed: 1))
        let exact = try x.elements(as: Float.self).reduce(0.0) { $0 + Double($1) }
        var sums: [Float] = []
        for threads in [1, 2, 3] {
            Parallelism.threads = threads
            sums.append(try x.sum().item(as: Float.self))
        }
        #expect(sums == Array(repeating: Float(exact), count: 3))
        let matrix = try x[..<3_000_000].reshape(1000, 3000)
        for axis in 0...1 {
            let found = try matrix.sum(axis).elements(as: Float.self)
            let expected = try groups(matrix, [axis]).map { Float($0.reduce(0, +)) }
            #expect(zip(found, expected).allSatisfy { abs($0 - $1) <= $1.ulp })
        }
    }

    @Test("take the first of equals, and NaN before all")
    func ties() throws {
        let x = Tensor([[1.0, 3, 3], [.nan, 5, .nan]])
        let (values, indices) = try x.max(1)
        #expect(try values[0].item() == 3 && values[1].item().isNaN)
        #expect(try indices.elements(as: Int.self) == [1, 0])
        #expect(try x.min(1).indices.elements(as: Int.self) == [0, 0])
        #expect(try Tensor([-0.0, 0]).argmax().item() == 0)
    }

    @Test("of integers and booleans count in I64")
    func integers() throws {
        #expect(try Tensor([UInt8(200), 100]).sum().dtype == .i64)
        #expect(try Tensor([UInt8(200), 100]).sum().item() == 300)
        #expect(try Tensor([true, false, true]).sum().item() == 2)
        #expect(try Tensor([3, 9, 2]).max().item() == 9)
        #expect(
            try Tensor([true, false]).any().booleans() == [true] && Tensor([true, false]).all().booleans() == [false])
        #expect(throws: TensorError.self) { try Tensor([1, 2]).mean() }
    }

    @Test("of nothing are 0, NaN, or an error")
    func empty() throws {
        let x = Tensor.zeros(0, 3)
        #expect(try x.sum().item() == 0 && x.sum(0).elements(as: Float.self) == [0, 0, 0])
        #expect(try x.mean().item().isNaN)
        #expect(try x.sum(1).shape == [0])
        #expect(throws: TensorError.self) { try x.max() }
        #expect(throws: TensorError.self) { try x.sum([0, 0]) }
        #expect(try x.max(1).values.shape == [0])
    }

    @Test("and softmax do not overflow")
    func softmaxes() throws {
        let x = Tensor([[1e30, 1e30], [-1e30, 0], [-.infinity, 2]])
        #expect(try softmax(x, dimension: 1).elements(as: Float.self) == [0.5, 0.5, 0, 1, 0, 1])
        #expect(try logSoftmax(x, dimension: 1)[0].elements(as: Float.self) == [Float(-0.6931472), -0.6931472])
        #expect(try softmax(Tensor([-Double.infinity, -.infinity]), dimension: 0)[0].item().isNaN)
        let y = Tensor.randn([5, 7], generator: Generator(seed: 1))
        let columns = try softmax(y, dimension: 0).sum(0).elements(as: Float.self)
        #expect(columns.allSatisfy { abs($0 - 1) < 1e-6 })
    }
}
