import NNStore
import NNTensor
import Testing

@Suite("Products of matrices")
struct MatrixProductTests {
    private func product(_ a: Tensor, _ b: Tensor) throws -> [Double] {
        let (m, k, n) = (a.shape[0], a.shape[1], b.shape[1])
        let (left, right) = (try a.elements(as: Double.self), try b.elements(as: Double.self))
        return (0..<m * n).map { place in
            (0..<k).reduce(0) { $0 + left[place / n * k + $1] * right[$1 * n + place % n] }
        }
    }

    @Test("are those of plain loops, in any layout", arguments: 0..<30)
    func loops(_ seed: UInt64) throws {
        var random = RandomNumbers(seed)
        let (m, k, n) = (
            Int.random(in: 0...9, using: &random), Int.random(in: 0...9, using: &random),
            Int.random(in: 0...9, using: &random)
        )
        let (a, b) = (random.tensor([m, k]), random.tensor([k, n]))
        let found = try matmul(a, b)
        #expect(found.shape == [m, n])
        #expect(try zip(found.elements(as: Double.self), product(a, b)).allSatisfy { abs($0 - $1) < 1e-12 })
        let integers = try matmul((a * 100).to(.i32), (b * 100).to(.i32))
        #expect(integers.dtype == .i32)
        #expect(try integers.elements(as: Double.self) == product((a * 100).to(.i32), (b * 100).to(.i32)))
    }

    @Test("of batches are broadcast, and vectors are rows or columns")
    func batches() throws {
        var random = RandomNumbers(3)
        let (a, b) = (random.tensor([3, 1, 2, 4]), random.tensor([5, 4, 3]))
        let all = try matmul(a, b)
        #expect(all.shape == [3, 5, 2, 3])
        for i in 0..<3 {
            for j in 0..<5 {
                #expect(try matmul(a[i, 0], b[j]).elements(as: Double.self) == all[i, j].elements(as: Double.self))
            }
        }
        let v = random.tensor([4])
        #expect(try matmul(v, v).shape == [] && matmul(a, v).shape == [3, 1, 2] && matmul(v, b).shape == [5, 3])
        #expect(
            try matmul(Tensor.zeros(2, 0), Tensor.zeros(0, 3)).elements(as: Float.self) == Array(repeating: 0, count: 6)
        )
    }

    @Test("have equal bits with one thread and with several")
    func threads() throws {
        let before = Parallelism.threads
        defer { Parallelism.threads = before }
        for (m, k, n) in [(700, 300, 500), (17, 4000, 900), (2000, 64, 33)] {
            let a = Tensor.randn([m, k], generator: Generator(seed: 1)),
                b = Tensor.randn([k, n], generator: Generator(seed: 2))
            Parallelism.threads = 1
            let one = try matmul(a, b).elements(as: Float.self)
            Parallelism.threads = 4
            #expect(try matmul(a, b).elements(as: Float.self) == one)
        }
    }

    @Test("of halves are rounded once")
    func halves() throws {
        let a = Tensor([[1.0, 0.00048828125, 0.000244140625]], dtype: .f16)
        #expect(try matmul(a, Tensor.ones([3, 1], dtype: .f16)).elements(as: Double.self) == [1.0009765625])
    }

    @Test("name both shapes where they do not fit")
    func refusals() {
        #expect(
            throws: TensorError.shapeMismatch(
                operation: "matmul", shapes: [[2, 3], [4, 5]], reason: "the inner extents are 3 and 4")
        ) { try matmul(.zeros(2, 3), .zeros(4, 5)) }
        #expect(throws: TensorError.self) { try matmul(.zeros(2, 3), Tensor.zeros([3, 2], dtype: .f64)) }
        #expect(throws: TensorError.self) { try matmul(Tensor(1.0), .zeros(2, 2)) }
        #expect(throws: TensorError.self) { try matmul(Tensor([[true]]), Tensor([[true]])) }
        #expect(throws: TensorError.self) { try matmul(.zeros(2, 2, 3), .zeros(3, 3, 4)) }
    }
}
