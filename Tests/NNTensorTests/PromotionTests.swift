import NNStore
import NNTensor
import Testing

@Suite("Promotion")
struct PromotionTests {
    @Test("is PyTorch's, for tensors with dimensions and without, and for Swift numbers")
    func table() throws {
        let rows = try Fixture.read("promotion", as: [Cells].self)
        #expect(rows.count == 460)
        for row in rows {
            let left = Tensor.ones(row.int(1) == 1 ? [1] : [], dtype: Fixture.dtype(row.text(0)))
            let expected = Fixture.dtype(row.text(4))
            let sum =
                switch row.text(2) {
                case "Bool": try NNTensor.maximum(left, true)
                case "Int": left + 1
                case "Double": left + 1.0
                default: left + Tensor.ones(row.int(3) == 1 ? [1] : [], dtype: Fixture.dtype(row.text(2)))
                }
            #expect(sum.dtype == expected, "\(row.text(0)) \(row.int(1)) with \(row.text(2)) \(row.int(3))")
            #expect(try sum.flatten()[0].item() == (row.text(2) == "Bool" || expected == .bool ? 1 : 2))
        }
    }

    @Test("of quotients and functions goes to floats")
    func floats() throws {
        #expect(try (Tensor([7]) / Tensor([2])).elements(as: Float.self) == [3.5])
        #expect((Tensor([7]) / 2).dtype == .f32 && (Tensor([UInt8(7)]) / Tensor([2.0], dtype: .f16)).dtype == .f16)
        #expect(try exp(Tensor([1, 2])).dtype == .f32 && sqrt(Tensor([true])).dtype == .f32)
        #expect(try abs(Tensor([-1, 2])).dtype == .i64)
        #expect((Tensor([1.0]) < 2).dtype == .bool)
    }

    @Test("keeps all digits of a Swift number where the tensor has them")
    func exactNumbers() throws {
        #expect(try (Tensor([1.0], dtype: .f64) * 0.1).elements(as: Double.self) == [0.1])
        #expect(
            try (Tensor([0], dtype: .i64) + 9_007_199_254_740_993).elements(as: Int.self) == [9_007_199_254_740_993])
    }

    @Test("in place must not leave the kind of the tensor that is written")
    func inPlace() async throws {
        let x = Tensor([1, 2])
        x += 3
        #expect(try x.elements(as: Int.self) == [4, 5])
        let half = Tensor([1.0], dtype: .f16)
        half += Tensor([0.5], dtype: .f64)
        #expect(half.dtype == .f16 && half[0].description == "tensor(1.5000, dtype=F16)")
        let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
            let x = Tensor([1, 2])
            x += 0.5
        }
        let text = String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
        #expect(text.contains("add: I64 and F32: the result is F32, which can't be written to I64"))
    }
}
