import NNStore
import NNTensor
import Testing

@Suite("Printed tensors")
struct PrintingTests {
    @Test("look as PyTorch's, but for the names of dtypes")
    func texts() throws {
        for row in try Fixture.read("printing", as: [Cells].self) {
            let shape = row.bits(1).map(Int.init)
            let tensor = try Tensor(row.bits(2).doubles, shape: shape, dtype: .f64).to(Fixture.dtype(row.text(0)))
            #expect(tensor.description == row.text(3))
        }
    }

    @Test("say where their gradient comes from")
    func history() throws {
        let x = Tensor([1.0, 2]).requiringGrad()
        #expect(x.description == "tensor([1., 2.], requires_grad=True)")
        #expect((x * 2).description == "tensor([2., 4.], grad_fn=<MultiplyBackward>)")
        #expect(Parameter(.ones(1)).description == "Parameter containing:\ntensor([1.], requires_grad=True)")
    }
}
