import NNTensor
import Testing

@Test func first() throws {
    let x = Tensor([[1.0, 2], [3, 4]])
    #expect(try (x * 2 + 1).elements(as: Float.self) == [3, 5, 7, 9])
}
