import GoldenCases
import NNStore
import NNTensor
import Testing

@Suite("What is shared")
struct SharingTests {
    @Test("is listed once, has one gradient that sums, and is updated once")
    func sharedModule() throws {
        let shared = Linear(4, 4)
        let net = Sequential(Linear(4, 4), shared, ReLU(), shared)
        #expect(net.parameters().count == 4)
        #expect(net.namedParameters().map(\.name) == ["0.weight", "0.bias", "1.weight", "1.bias"])
        #expect(net.namedParameters(removeDuplicate: false).map(\.name).suffix(2) == ["3.weight", "3.bias"])
        #expect(net.namedModules().count == 4 && net.namedModules(removeDuplicate: false).count == 5)

        let x = Tensor.randn([5, 4], generator: Generator(seed: 1))
        try net(x).sum().backward()
        let found = try #require(shared.weight.grad).elements(as: Float.self)
        // The same with two layers of equal values: their gradients add up to the shared one's.
        let (first, second) = (Linear(4, 4), Linear(4, 4))
        for layer in [first, second] { try layer.load(stateDict: shared.stateDict()) }
        try Sequential(net[0], first, ReLU(), second)(x).sum().backward()
        let sum = try (first.weight.grad! + second.weight.grad!).elements(as: Float.self)
        for (a, b) in zip(found, sum) { #expect(abs(a - b) <= 1e-5 * (1 + abs(b))) }

        let before = try shared.bias!.elements(as: Float.self)
        let gradient = try shared.bias!.grad!.elements(as: Float.self)
        try SGD(net.parameters(), learningRate: 0.5).step()
        #expect(try shared.bias!.elements(as: Float.self) == zip(before, gradient).map { $0 - 0.5 * $1 })
    }

    @Test("is one storage in the state dict, and in one that was cloned")
    func stateDict() throws {
        let net = TiedLM()
        let state = net.stateDict()
        let (embedding, head) = (try #require(state["emb.weight"]), try #require(state["head.weight"]))
        #expect(embedding.sharesStorage(with: head) && embedding.sharesStorage(with: net.emb.weight))
        #expect(!embedding.sharesStorage(with: try #require(state["fc.weight"])))
        let copy = try state.clone()
        let (copied, copiedHead) = (try #require(copy["emb.weight"]), try #require(copy["head.weight"]))
        #expect(copied.sharesStorage(with: copiedHead) && !copied.sharesStorage(with: embedding))
        copied[0, 0] = 7
        #expect(try copiedHead[0, 0].item() == 7)
        #expect(try embedding[0, 0].item() != 7)
        #expect(net.parameters().count == 5)
    }

    @Test("stays shared when a state dict is loaded")
    func loading() throws {
        let (from, to) = (TiedLM(), TiedLM())
        try to.load(stateDict: from.stateDict())
        #expect(to.emb.weight === to.head.weight)
        #expect(try to.head.weight.elements(as: Float.self) == from.emb.weight.elements(as: Float.self))
        #expect(!to.emb.weight.sharesStorage(with: from.emb.weight))
    }

    @Test("and was not, or was and is not, is named when a state dict is loaded")
    func disagreement() throws {
        let (tied, untied) = (TiedLM(), TiedLM())
        untied.head.weight = Parameter(.zeros(29, 12))
        var expected = StateMismatch()
        expected.sharing = [.init(model: ["emb.weight"], state: ["emb.weight", "head.weight"])]
        #expect(throws: TensorError.stateMismatch(expected)) { try untied.load(stateDict: tied.stateDict()) }
        #expect(throws: TensorError.self) { try tied.load(stateDict: untied.stateDict()) }
        let told = try untied.load(stateDict: tied.stateDict(), strict: false)
        #expect(told == expected)
        #expect(told.description.contains("\"emb.weight\", \"head.weight\" are tied in the state dict"))
        #expect(try untied.head.weight.elements(as: Float.self) == tied.emb.weight.elements(as: Float.self))
    }

    @Test("but lies apart in one storage is not taken for tied")
    func disjointParts() throws {
        let storage = Tensor.zeros(2, 3)
        let net = Sequential(
            Linear(weight: Parameter(storage[0].unsqueezedForTest), bias: nil),
            Linear(weight: Parameter(storage[1].unsqueezedForTest), bias: nil))
        let other = Sequential(Linear(3, 1, bias: false), Linear(3, 1, bias: false))
        try net.load(stateDict: other.stateDict())
        try other.load(stateDict: net.stateDict())
        #expect(try storage[1].elements(as: Float.self) == other[1].weight.elements(as: Float.self))
    }

    @Test("is changed through every name")
    func writing() throws {
        let net = TiedLM()
        noGrad { net.emb.weight[3] = Tensor.full([12], 2) }
        #expect(try net.head.weight[3].elements(as: Float.self) == Array(repeating: 2, count: 12))
    }
}

extension Tensor {
    fileprivate var unsqueezedForTest: Tensor { self[.newAxis] }
}
