import NNStore
import NNTensor
import Testing

@Suite("Functions of elements")
struct ElementwiseTests {
    private struct Values: Decodable {
        let x: [UInt64]
        let unary: [String: [UInt64]]
        let binary: [String: [UInt64]]
    }

    private static let unary: [String: @Sendable (Tensor) throws -> Tensor] = [
        "abs": { try abs($0) }, "sign": { try sign($0) }, "exp": { try exp($0) }, "log": { try log($0) },
        "sqrt": { try sqrt($0) }, "tanh": { try tanh($0) }, "sigmoid": { try sigmoid($0) }, "relu": { try relu($0) },
        "gelu": { try gelu($0) }, "erf": { try erf($0) }, "sin": { try sin($0) }, "cos": { try cos($0) },
        "floor": { try floor($0) }, "ceil": { try ceil($0) }, "round": { try round($0) }, "negative": { -$0 },
    ]
    private static let binary: [String: @Sendable (Tensor, Tensor) throws -> Tensor] = [
        "add": { $0 + $1 }, "subtract": { $0 - $1 }, "multiply": { $0 * $1 }, "divide": { $0 / $1 },
        "maximum": { try maximum($0, $1) }, "minimum": { try minimum($0, $1) }, "pow": { try pow($0, $1) },
    ]

    @Test(
        "are within a few units of the last place of PyTorch's, NaN, infinities and denormals included",
        arguments: [DType.f32, .f64])
    func specialValues(_ dtype: DType) throws {
        let values = try #require(try Fixture.read("elementwise", as: [String: Values].self)[dtype.name])
        func tensor(_ bits: [UInt64]) -> Tensor {
            dtype == .f32 ? Tensor(bits.floats) : Tensor(bits.doubles, dtype: .f64)
        }
        func numbers(_ bits: [UInt64]) -> [Double] { dtype == .f32 ? bits.floats.map(Double.init) : bits.doubles }
        let x = tensor(values.x)
        let inputs = numbers(values.x)
        #expect(Set(values.unary.keys) == Set(Self.unary.keys) && Set(values.binary.keys) == Set(Self.binary.keys))
        for (name, function) in Self.unary {
            let found = try function(x).elements(as: Double.self)
            for (index, (a, b)) in zip(found, numbers(values.unary[name]!)).enumerated() {
                #expect(isClose(a, b, dtype, name), "\(name)(\(inputs[index])): \(a) instead of \(b)")
            }
        }
        let count = inputs.count
        let left = try x.unsqueeze(1).expand(count, count).flatten()
        let right = try x.unsqueeze(0).expand(count, count).flatten()
        for (name, function) in Self.binary {
            let found = try function(left, right).elements(as: Double.self)
            for (index, (a, b)) in zip(found, numbers(values.binary[name]!)).enumerated() {
                let operands = "\(inputs[index / count]), \(inputs[index % count])"
                #expect(isClose(a, b, dtype, name), "\(name)(\(operands)): \(a) instead of \(b)")
            }
        }
    }

    private func isClose(_ a: Double, _ b: Double, _ dtype: DType, _ name: String) -> Bool {
        // PyTorch's vector code makes NaN of gelu(inf); it is inf.
        if name == "gelu" && a == .infinity && b.isNaN { return true }
        if a.isNaN || b.isNaN { return a.isNaN && b.isNaN }
        // Neither can say which zero is the larger one, and sigmoids and gelus vanish by different ways.
        if a == b { return ["sigmoid", "gelu", "maximum", "minimum", "relu"].contains(name) || a.sign == b.sign }
        let ulp = dtype == .f32 ? Double(Float(b).ulp) : b.ulp
        // Where gelu's two factors nearly cancel, PyTorch's own error is larger.
        let smallest = dtype == .f32 ? 1e-37 : 1e-300
        return abs(a - b) <= 4 * ulp || abs(a - b) < smallest
            || name == "gelu" && abs(a - b) < (dtype == .f32 ? 2e-7 : 4e-16)
    }

    @Test("round halves once")
    func halves() throws {
        // 1 + 2^-11 lies between two halves, and the sum with 2^-12 above the middle.
        let x = Tensor([1.0], dtype: .f16)
        #expect(
            try (x + Tensor([0.00048828125 + 0.000244140625], dtype: .f16)).elements(as: Double.self) == [1.0009765625])
        #expect(try (x + Tensor([0.00048828125], dtype: .f16)).elements(as: Double.self) == [1.0])
        #expect(
            try (Tensor([300.0], dtype: .f16) * Tensor([300.0], dtype: .f16)).elements(as: Double.self) == [.infinity])
        #expect(try exp(Tensor([1.0], dtype: .bf16)).elements(as: Double.self) == [2.71875])
    }

    @Test("of integers wrap around")
    func integers() throws {
        #expect(try (Tensor([UInt8(200)]) + 100).elements(as: UInt8.self) == [44])
        #expect(try (Tensor([Int8(-128)]) * -1).elements(as: Int8.self) == [-128])
        #expect(try (-Tensor([UInt8(1)])).elements(as: UInt8.self) == [255])
        #expect(try (Tensor([Int.max]) + 1).elements(as: Int.self) == [.min])
        #expect(try (Tensor([true, false]) + Tensor([true, true])).booleans() == [true, true])
    }

    @Test("select, clamp, compare and mask")
    func choices() throws {
        let w = Tensor([[-7.0, 3], [5, -5]])
        #expect(try (w * (abs(w) >= 5)).elements(as: Float.self) == [-7, 0, 5, -5])
        #expect(try clamp(w, minimum: -5, maximum: 4).elements(as: Float.self) == [-5, 3, 4, -5])
        #expect(try NNTensor.select(w > 0, w, Tensor([0.0, 1])).elements(as: Float.self) == [0, 3, 5, 1])
        #expect(try ((w > 0) .& (w < 5)).booleans() == [false, true, false, false])
        #expect(try ((w > 0) .| (w .== -5)).booleans() == [false, true, true, true])
        #expect(try (.!(w > 0)).booleans() == [true, false, false, true])
        #expect(try isNaN(Tensor([.nan, 1.0])).booleans() == [true, false])
        #expect(try isFinite(Tensor([.infinity, 1.0])).booleans() == [false, true])
    }

    @Test("are methods as well")
    func methods() throws {
        let x = Tensor([0.3, 0.9])
        let pairs: [(Tensor, Tensor)] = try [
            (x.abs(), abs(x)), (x.sign(), sign(x)), (x.exp(), exp(x)), (x.log(), log(x)), (x.sqrt(), sqrt(x)),
            (x.tanh(), tanh(x)), (x.sigmoid(), sigmoid(x)), (x.relu(), relu(x)), (x.pow(3), pow(x, 3)),
            (x.clamp(maximum: 0.5), clamp(x, maximum: 0.5)), (x.softmax(dimension: 0), softmax(x, dimension: 0)),
            (x.logSoftmax(dimension: 0), logSoftmax(x, dimension: 0)), (x.matmul(x), matmul(x, x)),
        ]
        for (a, b) in pairs { #expect(try a.elements(as: Float.self) == b.elements(as: Float.self)) }
    }

    @Test("convert between all dtypes as PyTorch does")
    func conversions() throws {
        let rows = try Fixture.read("conversions", as: [Cells].self)
        #expect(rows.count == 100)
        for row in rows {
            let from = try Tensor(row.bits(2).doubles, dtype: .f64).to(Fixture.dtype(row.text(0)))
            let to = try from.to(Fixture.dtype(row.text(1)))
            let found = try to.to(.f64).elements(as: Double.self)
            #expect(found == row.bits(3).doubles, "\(row.text(0)) to \(row.text(1))")
        }
    }

    @Test("say which dtype they don't exist for")
    func refusals() {
        #expect(throws: TensorError.self) { try floor(Tensor([true])) }
        #expect(throws: TensorError.self) { try sign(Tensor([true])) }
        #expect(throws: TensorError.self) { try Tensor.zeros([2], dtype: .u32).sum() }
        let opaque = Tensor.zeros([2], dtype: .f8E4M3)
        #expect(throws: TensorError.self) { try exp(opaque) }
    }
}
