import Foundation
import NNStore
import NNTensor
import Testing

@Suite("Loading into views of one memory")
struct LoadingViewsTests {
    private final class Views: Module {
        let a: Parameter
        let b: Parameter

        /// Two views of one memory, or of one each.
        init(_ a: Tensor, _ b: Tensor) {
            (self.a, self.b) = (Parameter(a), Parameter(b))
        }
    }

    private func numbers(_ tensor: Tensor) throws -> [Double] { try tensor.elements(as: Double.self) }

    private func square() throws -> Tensor { try Tensor.arange(0, 9, dtype: .f32).reshape([3, 3]) }

    @Test(
        "refuses a file whose views differ from the model's, in containers and safetensors",
        arguments: ["nnck", "safetensors"])
    func differentViews(format: String) throws {
        let folder = try TemporaryFolder()
        let path = folder.path("views.\(format)")
        let whole = try square()
        let same = Views(whole, whole.detach())
        let base = try square()
        let other = Views(base, base.T)
        for (saved, model) in [(same, other), (other, same)] {
            try saved.save(to: path)
            let before = try numbers(model.a)
            let error = #expect(throws: TensorError.self) { try model.load(from: path) }
            #expect(error?.code == "state-mismatch")
            #expect(error?.description.contains("in different ways") == true)
            #expect(try numbers(model.a) == before)
        }
    }

    @Test("takes values that fit all views, however the file's look at them")
    func agreeingViews() throws {
        let folder = try TemporaryFolder()
        let path = folder.path("views.nnck")
        let symmetric = Tensor([[1.0, 2], [2, 5]])
        try Views(symmetric, symmetric.detach()).save(to: path)
        let zeros = Tensor.zeros(2, 2)
        let model = Views(zeros, zeros.T)
        try model.load(from: path)
        #expect(try numbers(model.b) == [1, 2, 2, 5])
    }

    @Test("takes views that are moved in their memory as a whole")
    func movedViews() throws {
        let folder = try TemporaryFolder()
        let path = folder.path("views.nnck")
        let (long, short) = (Tensor.arange(0, 20, dtype: .f32), Tensor.zeros(11))
        try Views(long.narrow(0, 5..<13), long.narrow(0, 8..<16)).save(to: path)
        let model = Views(try short.narrow(0, 0..<8), try short.narrow(0, 3..<11))
        try model.load(from: path)
        #expect(try numbers(model.a) == (5..<13).map(Double.init))
        #expect(try numbers(model.b) == (8..<16).map(Double.init))
        let other = Views(try short.narrow(0, 0..<8), try short.narrow(0, 2..<10))
        #expect(throws: TensorError.self) { try other.load(from: path) }
    }

    @Test("does not take columns of one matrix for tied: they have no element in common")
    func interleaved() throws {
        let folder = try TemporaryFolder()
        let path = folder.path("views.nnck")
        let fused = try Tensor.arange(0, 24, dtype: .f32).reshape([3, 8])
        try Views(fused.narrow(1, 0..<4), fused.narrow(1, 4..<8)).save(to: path)
        let model = Views(.zeros(3, 4), .zeros(3, 4))
        try model.load(from: path)
        #expect(try numbers(model.b) == numbers(fused.narrow(1, 4..<8)))
    }

    @Test("names all that may have changed when a file proves to be damaged, tied names too")
    func damaged() throws {
        let folder = try TemporaryFolder()
        let path = folder.path("views.nnck")
        let weight = Tensor.randn([600, 1000])
        try Views(weight, weight.detach()).save(to: path, options: SaveOptions(compression: .none))
        let handle = try FileHandle(forUpdating: URL(fileURLWithPath: path))
        try handle.seek(toOffset: 1_500_000)
        let byte = try #require(try handle.read(upToCount: 1))[0]
        try handle.seek(toOffset: 1_500_000)
        try handle.write(contentsOf: [byte ^ 1])
        try handle.close()
        let zeros = Tensor.zeros(600, 1000)
        let model = Views(zeros, zeros.detach())
        let error = #expect(throws: TensorError.self) { try model.load(from: path) }
        guard case .partlyLoaded(_, let changed, _)? = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(Set(changed) == ["a", "b"])
    }
}
