import NNTensor

/// A block with a hidden layer.
final class MLP: Module {
    let hidden = LazyLinear(256)
    let output = LazyLinear(10)

    override func forward(_ x: Tensor) throws -> Tensor { try output(relu(hidden(x))) }
}

/// What ``Sequential`` does, in a few lines: modules in an array are found as well.
final class MySequential: Module {
    let modules: [Module]

    init(_ modules: Module...) { self.modules = modules }

    override func forward(_ x: Tensor) throws -> Tensor { try modules.reduce(x) { try $1($0) } }
}

/// A block that calculates with a tensor that is no parameter, shares a layer with itself, and has a loop.
final class FixedHiddenMLP: Module {
    /// Random, and never learned: a plain tensor is no state.
    let fixed = Tensor.rand(20, 20)
    let linear = LazyLinear(20)

    override func forward(_ x: Tensor) throws -> Tensor {
        var x = try relu(matmul(linear(x), fixed) + 1)
        // The same layer twice: its parameters are shared.
        x = try linear(x)
        while try abs(x).sum().item() > 1 { x = x / 2 }
        return try x.sum()
    }
}

/// A block in a block.
final class NestedMLP: Module {
    let net = Sequential(LazyLinear(64), ReLU(), LazyLinear(32), ReLU())
    let linear = LazyLinear(16)

    override func forward(_ x: Tensor) throws -> Tensor { try linear(net(x)) }
}

func layersAndModules() throws {
    section("Layers and modules")
    let net = Sequential(LazyLinear(256), ReLU(), LazyLinear(10))
    let x = Tensor.rand(2, 20)
    print("Sequential:", try net(x).shape)
    print("a custom module:", try MLP()(x).shape)
    print("a sequence of your own:", try MySequential(LazyLinear(256), ReLU(), LazyLinear(10))(x).shape)
    print("code in forward:", try FixedHiddenMLP()(x).item() <= 1)
    let chimera = Sequential(NestedMLP(), LazyLinear(20), FixedHiddenMLP())
    print("all of them together:", try chimera(x).shape)
}
