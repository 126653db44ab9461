import GoldenCases
import NNStore
import NNTensor
import Testing

private final class Version2: Module {
    override class var stateVersion: Int { 2 }
    let weight = Parameter(.ones(2))
}

@Suite("State dicts")
struct StateDictTests {
    @Test("carry all values from one model to another, in place")
    func roundTrip() throws {
        let (from, to) = (CNN(), CNN())
        _ = try from(.randn(4, 2, 9, 9))
        let weight = to.fc.weight
        try to.load(stateDict: from.stateDict())
        #expect(to.fc.weight === weight && weight.requiresGrad)
        for (name, tensor) in from.stateDict().entries {
            #expect(
                try #require(tensor).elements(as: Double.self) == to.stateDict()[name]!.elements(as: Double.self),
                "\(name)")
        }
        #expect(try to.bn.batchCount?.item() == 1)
    }

    @Test("look into the model's memory, and have no history")
    func memory() throws {
        let net = Linear(2, 2)
        let state = net.stateDict()
        noGrad { net.weight[0, 0] = 5 }
        #expect(try state["weight"]![0, 0].item() == 5)
        #expect(!state["weight"]!.requiresGrad)
    }

    @Test("say in one error all that does not fit")
    func mismatches() throws {
        let net = Sequential(Linear(2, 3), Linear(3, 1))
        var state = net.stateDict()
        state["0.bias"] = nil
        state["1.weight"] = .zeros(1, 4)
        state["1.bias"] = .zeros([1], dtype: .f64)
        state["2.weight"] = .zeros(1)
        let before = try net[0].weight.elements(as: Float.self)
        do {
            try net.load(stateDict: state)
            Issue.record("nothing was thrown")
        } catch TensorError.stateMismatch(let mismatch) {
            #expect(mismatch.missing == ["0.bias"])
            #expect(mismatch.unexpected == ["2.weight"])
            #expect(
                mismatch.different == [
                    .init(name: "1.weight", model: "F32 [1, 3]", state: "F32 [1, 4]"),
                    .init(name: "1.bias", model: "F32 [1]", state: "F64 [1]"),
                ])
            #expect(
                "\(TensorError.stateMismatch(mismatch))".contains(
                    "\"1.weight\" is F32 [1, 4] in the state dict and F32 [1, 3] in the model"))
        }
        #expect(try net[0].weight.elements(as: Float.self) == before)

        state["0.weight"] = .zeros(3, 2)
        let told = try net.load(stateDict: state, strict: false)
        #expect(told.missing == ["0.bias"] && told.different.count == 2)
        #expect(try net[0].weight.elements(as: Float.self) == Array(repeating: 0, count: 6))
    }

    @Test("are made of dictionaries of tensors, and of nothing else")
    func otherTrees() throws {
        let tensor = try Tensor.zeros(1).stateTree()
        #expect(try StateDict(["a": ["b": tensor]]).keys == ["a.b"])
        for tree: StateTree in [["a": [tensor]], ["a": 1], [tensor], tensor] {
            #expect(throws: TensorError.self) { try StateDict(tree) }
        }
    }

    @Test("record types and versions of modules")
    func versions() {
        let state = Sequential(Linear(1, 1), Version2()).stateDict()
        #expect(state.modules[""] == .init(type: "Sequential", version: 1))
        #expect(state.modules["0"] == .init(type: "Linear", version: 1))
        #expect(state.modules["1"] == .init(type: "Version2", version: 2))
    }

    @Test("become state trees that share what is shared")
    func stateTrees() throws {
        let tree = try TiedLM().stateDict().stateTree()
        #expect(tree["emb.weight"]?.tensor?.storage === tree["head.weight"]?.tensor?.storage)
        #expect(tree["fc.bias"]?.tensor?.shape == [12])
    }

    @Test("of a model that has no values yet have null entries, and load into one")
    func uninitialized() throws {
        let lazy = Sequential(LazyLinear(3), LazyConv2d(2, kernelSize: 1))
        let state = lazy.stateDict()
        #expect(state.keys == ["0.weight", "0.bias", "1.weight", "1.bias"])
        #expect(state.entries.allSatisfy { $0.tensor == nil })
        #expect(state.modules["0"]?.type == "LazyLinear")
        #expect(state.description.contains("\"0.weight\": <UninitializedParameter>"))
        // Nothing to be loaded, and nothing missing.
        try Sequential(LazyLinear(3), LazyConv2d(2, kernelSize: 1)).load(stateDict: state)
        #expect(throws: TensorError.self) {
            try Sequential(Linear(1, 3), Conv2d(1, 2, kernelSize: 1)).load(stateDict: state)
        }
        guard case .null? = try state.stateTree()["0.weight"] else { return #expect(Bool(false), "should be null") }
    }
}

@Suite("Lazy modules")
struct LazyModuleTests {
    @Test("learn their shapes from the first batch, and are plain modules then")
    func firstBatch() throws {
        let net = Sequential(LazyConv2d(4, kernelSize: 3, padding: 1), Flatten(), LazyLinear(5))
        let parameters = net.parameters()
        #expect(parameters.allSatisfy { !$0.isInitialized })
        #expect(net[0].weight.description == "<UninitializedParameter>")
        #expect(try net(.randn(2, 3, 6, 7)).shape == [2, 5])
        #expect(
            net.description == """
                Sequential(
                  (0): Conv2d(3, 4, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))
                  (1): Flatten(start_dim=1, end_dim=-1)
                  (2): Linear(in_features=168, out_features=5, bias=True)
                )
                """)
        #expect(zip(net.parameters(), parameters).allSatisfy { $0 === $1 && $0.isInitialized && $0.requiresGrad })
        #expect(net.stateDict().modules["2"]?.type == "Linear")
        #expect(throws: TensorError.self) { try net(.randn(2, 3, 6, 8)) }
        // An optimizer that was made before knows the parameters.
        let lazy = LazyLinear(2)
        let optimizer = SGD(lazy.parameters(), learningRate: 1)
        try optimizer.step()
        try lazy(.ones(1, 3)).sum().backward()
        let before = try lazy.weight.elements(as: Float.self)
        try optimizer.step()
        #expect(try lazy.weight.elements(as: Float.self) == before.map { $0 - 1 })
    }

    @Test("learn their shapes from a state dict, if it fits what is known")
    func loading() throws {
        let from = Linear(7, 3)
        let lazy = LazyLinear(3)
        try lazy.load(stateDict: from.stateDict())
        #expect(lazy.weight.shape == [3, 7] && lazy.description == "Linear(in_features=7, out_features=3, bias=True)")
        #expect(try lazy(.ones(1, 7)).elements(as: Float.self) == from(.ones(1, 7)).elements(as: Float.self))
        let other = LazyLinear(4)
        #expect(throws: TensorError.self) { try other.load(stateDict: from.stateDict()) }
        #expect(!other.weight.isInitialized)
    }

    @Test("say what to do where a value is read too early")
    func tooEarly() {
        let lazy = LazyLinear(3)
        let text = #"has no value yet: call the model on a batch once, or load a state dict into it"#
        func message(_ body: () throws -> Void) -> String {
            do {
                try body()
                return ""
            } catch {
                return "\(error)"
            }
        }
        #expect(message { try lazy.resetParameters() }.contains(text))
        #expect(message { try Initializer.zeros(lazy.weight) }.contains(text))
        #expect(message { _ = try abs(lazy.weight) }.contains(text))
        #expect(message { _ = try lazy.weight.elements(as: Float.self) }.contains(text))
    }
}
