import NNTensor
import Testing

@Suite("Operators")
struct OperatorTypeTests {
    @Test("between Swift numbers stay those of Swift, also where Tensor would fit")
    func swiftNumbers() throws {
        let x = Tensor([3.0])
        let doubled = try x.item() * 2
        let isSmall = try x.item() < 4
        let sum = try 1 + x.item()
        let float = try x.item(as: Float.self) / 2
        #expect(type(of: doubled) == Double.self && type(of: sum) == Double.self && type(of: float) == Float.self)
        #expect(type(of: isSmall) == Bool.self && isSmall)
    }

    @Test("take Swift numbers of any kind on either side")
    func mixedOperands() throws {
        let x = Tensor([1.0, 2])
        let (i, f, d) = (3, Float(0.5), 0.25)
        #expect(try (i - x * f + d / x).elements(as: Float.self) == [2.75, 2.125])
        #expect(try (d < x).booleans() == [true, true])
        #expect(try (2 .== x).booleans() == [false, true])
        #expect(try (-x + 1 - 2 * x * 3 + 0.5 * (x + 1) / 2).elements(as: Float.self) == [-5.5, -12.25])
    }
}
