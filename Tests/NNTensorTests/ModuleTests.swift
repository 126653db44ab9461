import GoldenCases
import NNStore
import NNTensor
import Testing

private final class Block: Module {
    let first = Linear(3, 3)
    lazy var late = Linear(3, 2)
    var maybe: Linear?
    var none: Linear?
    let layers = [Linear(3, 3), Linear(3, 3)]
    let scale = Parameter(.ones(3))
    let count = Buffer(.zeros([], dtype: .i64))
    let scratch = Buffer(.zeros(3), persistent: false)
    let notState = Tensor.ones(3)
    weak var parent: Module?
}

private final class Outer: Module {
    let inner = Block()
    let list = ModuleDict(["a": ReLU(), "b": Linear(2, 2)])
    override init() {
        super.init()
        inner.parent = self
    }
}

private class Base: Module {
    let base = Parameter(.zeros(1))
}
private final class Derived: Base {
    let derived = Parameter(.zeros(1))
}

@Suite("Modules")
struct ModuleTests {
    @Test("find what they have among their stored properties")
    func members() throws {
        let block = Block()
        #expect(
            block.namedParameters().map(\.name) == [
                "scale", "first.weight", "first.bias", "layers.0.weight", "layers.0.bias", "layers.1.weight",
                "layers.1.bias",
            ])
        _ = block.late
        block.maybe = Linear(3, 1, bias: false)
        #expect(
            block.namedParameters().map(\.name) == [
                "scale", "first.weight", "first.bias", "late.weight", "late.bias", "maybe.weight", "layers.0.weight",
                "layers.0.bias", "layers.1.weight", "layers.1.bias",
            ])
        #expect(block.namedBuffers().map(\.name) == ["count", "scratch"])
        #expect(block.namedModules().map(\.name) == ["", "first", "late", "maybe", "layers.0", "layers.1"])
        #expect(block.namedChildren.map(\.name) == ["first", "late", "maybe", "layers.0", "layers.1"])
    }

    @Test("are found in tuples and nested arrays, and refused in dictionaries")
    func collections() async {
        final class Mixed: Module {
            let pair = (Linear(1, 1, bias: false), right: ReLU())
            let nested = [[Linear(1, 1, bias: false)], []]
            let numbers = [Float](repeating: 1, count: 1_000_000)
            let maybe: [Linear?] = [nil, Linear(1, 1, bias: false)]
            let text = "text"
        }
        #expect(Mixed().namedParameters().map(\.name) == ["pair.0.weight", "nested.0.0.weight", "maybe.1.weight"])
        #expect(Mixed().namedChildren.map(\.name) == ["pair.0", "pair.right", "nested.0.0", "maybe.1"])
        let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
            final class Wrong: Module {
                let heads = ["a": Linear(1, 1)]
            }
            _ = Wrong().parameters()
        }
        let message = String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
        #expect(message.contains("\"heads\" is a Swift dictionary or set with parameters or modules in it"))
    }

    @Test("don't lead back to what they are inside of")
    func cycles() {
        let outer = Outer()
        #expect(
            outer.namedModules(removeDuplicate: false).map(\.name) == [
                "", "inner", "inner.first", "inner.layers.0", "inner.layers.1", "list", "list.a", "list.b",
            ])
        #expect(outer.description.contains("(list): ModuleDict(\n    (a): ReLU()\n"))
    }

    @Test("have what their superclass has first")
    func inheritance() {
        #expect(Derived().namedParameters().map(\.name) == ["base", "derived"])
    }

    @Test("list the state in PyTorch's order: parameters, buffers, children")
    func stateOrder() {
        #expect(Block().stateDict().keys.prefix(3) == ["scale", "count", "first.weight"])
        #expect(
            CNN().stateDict().keys == [
                "conv.weight", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var", "bn.num_batches_tracked",
                "fc.weight", "fc.bias",
            ])
    }

    @Test("train and evaluate with all that is inside of them")
    func modes() throws {
        // Of so many elements no two draws are the same.
        let net = Sequential(Linear(2, 2), Sequential(Dropout(0.5), BatchNorm1d(2)))
        let x = Tensor.randn([64, 2], generator: Generator(seed: 1))
        net.eval()
        #expect(net.modules().allSatisfy { !$0.isTraining })
        #expect(try net(x).elements(as: Float.self) == net(x).elements(as: Float.self))
        net.train()
        #expect(net.modules().allSatisfy { $0.isTraining })
        #expect(try net(x).elements(as: Float.self) != net(x).elements(as: Float.self))
    }

    @Test("apply a function to what is inside first")
    func application() throws {
        var order: [String] = []
        let net = Sequential(Linear(2, 2), Sequential(ReLU()))
        net.apply { order.append($0.typeName) }
        #expect(order == ["Linear", "ReLU", "Sequential", "Sequential"])
        try net.apply { if let linear = $0 as? Linear { try Initializer.constant(linear.weight, 3) } }
        #expect(try net[0].weight.elements(as: Float.self) == [3, 3, 3, 3])
    }

    @Test("freeze, and so get no gradients")
    func freezing() throws {
        let net = Sequential(Linear(2, 2), Linear(2, 1))
        net[0].freeze()
        try net(.ones(3, 2)).sum().backward()
        #expect(net[0].weight.grad == nil && net[1].weight.grad != nil)
        net.zeroGrad()
        #expect(net[1].weight.grad == nil)
        net.unfreeze()
        try net(.ones(3, 2)).sum().backward()
        #expect(net[0].weight.grad != nil)
    }

    @Test("say which names there are when one is not")
    func unknownNames() {
        let net = Sequential(Linear(2, 2))
        #expect(
            throws: TensorError.invalidArgument(
                operation: "Sequential.parameter",
                reason: "there is no parameter \"1.weight\"; there are \"0.weight\", \"0.bias\"")
        ) { try net.parameter("1.weight") }
        #expect(throws: TensorError.self) { try ReLU().module("x") }
        #expect(throws: TensorError.self) { try Module()(.ones(1)) }
    }

    @Test("are converted to another dtype in place, with what is shared still shared")
    func conversion() throws {
        let net = TiedLM()
        let weight = net.emb.weight
        let before = try weight.elements(as: Float.self)
        try net(Tensor([1, 2])).sum().backward()
        try net.double()
        #expect(
            net.emb.weight === weight && net.head.weight === weight && weight.dtype == .f64
                && weight.grad?.dtype == .f64)
        #expect(try weight.elements(as: Float.self) == before)
        #expect(try net(Tensor([1, 2])).dtype == .f64)
        // Two parameters over one storage.
        let storage = Tensor.ones(2, 3)
        let pair = Sequential(
            Linear(weight: Parameter(storage), bias: nil), Linear(weight: Parameter(storage.T), bias: nil))
        try pair.to(.bf16)
        #expect(pair[0].weight.sharesStorage(with: pair[1].weight) && pair[0].weight.dtype == .bf16)
        noGrad { pair[0].weight[1, 2] = 5 }
        #expect(try pair[1].weight[2, 1].item() == 5)
        let lazy = LazyLinear(2)
        try lazy.to(.f64)
        #expect(try lazy(Tensor.ones([1, 3], dtype: .f64)).dtype == .f64)
        #expect(throws: TensorError.self) { try net.to(.i64) }
        // What is counted stays an integer.
        #expect(try BatchNorm1d(2).to(.f16).batchCount?.dtype == .i64)
    }

    @Test("in a Sequential are found by index and by name")
    func sequential() throws {
        let net = Sequential(["in": Linear(2, 3), "act": ReLU()])
        net.append(Linear(3, 1))
        #expect(net.namedChildren.map(\.name) == ["in", "act", "2"])
        #expect(net[-1] === net[2] && net["act"] is ReLU && net["x"] == nil && net.count == 3)
        net[1] = Tanh()
        #expect(net["act"] is Tanh)
        #expect(try net(.ones(4, 2)).shape == [4, 1])
        #expect(net[2].bias.shape == [1])
    }

    @Test("give errors that name both shapes")
    func shapeErrors() {
        #expect(
            throws: TensorError.shapeMismatch(
                operation: "linear", shapes: [[4, 5], [3, 2]], reason: "the inner extents are 5 and 2")
        ) { try Linear(2, 3)(.ones(4, 5)) }
        #expect(throws: TensorError.self) { try BatchNorm2d(3)(.ones(2, 4, 2, 2)) }
        #expect(throws: TensorError.self) { try BatchNorm1d(3)(.ones(1, 3)) }
        #expect(throws: TensorError.self) { try Conv2d(1, 1, kernelSize: 5)(.ones(1, 1, 3, 3)) }
        #expect(throws: TensorError.self) { try Embedding(3, 2)(Tensor([0, 3])) }
        #expect(throws: TensorError.self) { try meanSquaredError(.ones(3, 1), .ones(3)) }
        #expect(throws: TensorError.self) { try crossEntropy(.ones(2, 3), Tensor([0, 3])) }
    }

    @Test("are printed with what they are made of")
    func printing() {
        #expect(
            Conv2d(4, 6, kernelSize: 3, dilation: 2, groups: 2).description
                == "Conv2d(4, 6, kernel_size=(3, 3), stride=(1, 1), dilation=(2, 2), groups=2)")
        #expect(
            BatchNorm1d(3, momentum: nil, affine: false, trackRunningStats: false).description
                == "BatchNorm1d(3, eps=1e-05, momentum=None, affine=False, bias=False, track_running_stats=False)")
        #expect(Dropout().description == "Dropout(p=0.5, inplace=False)")
        #expect(Flatten().description == "Flatten(start_dim=1, end_dim=-1)")
        #expect(GELU().description == "GELU(approximate='none')")
        #expect(Softmax(dimension: 1).description == "Softmax(dim=1)")
        #expect(LazyLinear(4).description == "LazyLinear(in_features=0, out_features=4, bias=True)")
        #expect(
            MaxPool2d(Extent2d(2, 3), stride: 1).description
                == "MaxPool2d(kernel_size=(2, 3), stride=1, padding=0, dilation=1, ceil_mode=False)")
    }

    @Test("drop about as many elements as they should, and keep the mean")
    func dropoutShare() throws {
        let y = try Dropout(0.25, generator: Generator(seed: 9))(.ones(100_000)).elements(as: Float.self)
        let dropped = y.count { $0 == 0 }
        #expect((24_000...26_000).contains(dropped))
        #expect(y.allSatisfy { $0 == 0 || abs($0 - 4.0 / 3) < 1e-6 })
    }

    @Test("gather running means as PyTorch does")
    func runningStatistics() throws {
        let norm = BatchNorm1d(1, momentum: nil)
        for batch in [[1.0, 3], [5, 9], [0, 0]] { _ = try norm(Tensor(batch, shape: [2, 1])) }
        // All batches count alike: the mean of 2, 7 and 0, and of the unbiased variances 2, 8 and 0.
        #expect(try abs(#require(norm.runningMean).item() - 3) < 1e-6)
        #expect(try abs(#require(norm.runningVariance).item() - 10.0 / 3) < 1e-6)
        #expect(try #require(norm.batchCount).item() == 3)
    }
}
