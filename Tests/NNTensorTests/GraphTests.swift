import NNStore
import NNTensor
import Testing

@Suite("Graphs of operations")
struct GraphTests {
    @Test("of a million operations are built, run backward and freed")
    func longChain() throws {
        let x = Tensor(1.0, dtype: .f64).requiringGrad()
        var y = x * 1
        for _ in 0..<1_000_000 { y = y + x }
        try y.backward()
        #expect(try x.grad?.item() == 1_000_001)
        // Without a backward walk all is freed at once.
        for _ in 0..<1_000_000 { y = y + x }
        y = x
    }

    @Test("free what they saved, tensors and all, when nothing needs it")
    func nothingLeaks() throws {
        weak var input: Tensor?
        weak var middle: Tensor?
        weak var module: Module?
        do {
            let net = Sequential(
                Linear(4, 4), BatchNorm1d(4), GELU(), Dropout(0.5), Linear(4, 4), Softmax(dimension: 1))
            let x = Tensor.randn(3, 4).requiringGrad()
            let y = try net(x)
            let z = try exp(y) * 1
            z[0] = z[1] * 2
            z += y
            (input, middle, module) = (x, z, net)
            try z.sum().backward()
            #expect(x.grad != nil)
            // A graph that is never walked.
            _ = try net(x).sum()
        }
        #expect(input == nil && middle == nil && module == nil)
    }

    @Test("add up gradients until they are forgotten")
    func accumulation() throws {
        let x = Tensor([1.0, 2]).requiringGrad()
        for _ in 0..<3 { try (x * x).sum().backward() }
        #expect(try x.grad?.elements(as: Float.self) == [6, 12])
        x.grad = nil
        try (x * 3).sum().backward()
        #expect(try x.grad?.elements(as: Float.self) == [3, 3])
    }

    @Test("are not recorded in noGrad, and are again in enableGrad")
    func modes() throws {
        let x = Tensor.ones(2).requiringGrad()
        noGrad {
            #expect(!isGradEnabled && !(x * 2).requiresGrad)
            enableGrad { #expect((x * 2).requiresGrad) }
        }
        #expect(isGradEnabled && (x * 2).requiresGrad)
        #expect((x * 2).gradientOperation == "multiply" && x.isLeaf && !(x * 2).isLeaf)
        #expect(!(x * 2).detach().requiresGrad)
    }

    @Test("branch and join, each part being walked once")
    func diamonds() throws {
        let x = Tensor(1.0, dtype: .f64).requiringGrad()
        var y = x
        // 2^40 paths.
        for _ in 0..<40 { y = y + y }
        try y.backward()
        #expect(try x.grad?.item() == 1_099_511_627_776)
    }

    @Test("say why there is no gradient")
    func refusals() throws {
        #expect(throws: TensorError.self) { try Tensor.ones(1).backward() }
        #expect(throws: TensorError.self) { try Tensor.ones(2).requiringGrad().backward() }
        let x = Tensor.ones(2).requiringGrad()
        #expect(throws: TensorError.self) { try x.backward(.ones(3)) }
        let y = try (x * x).sum()
        try y.backward(retainGraph: true)
        try y.backward()
        #expect(throws: TensorError.self) { try y.backward() }
        #expect(try x.grad?.elements(as: Float.self) == [4, 4])
    }
}
