import NNTensor

/// A layer without parameters.
final class CenteredLayer: Module {
    override func forward(_ x: Tensor) throws -> Tensor { try x - x.mean() }
}

/// A layer with parameters: they are its stored properties.
final class MyLinear: Module {
    let weight: Parameter
    let bias: Parameter

    init(_ inputs: Int, _ units: Int) {
        weight = Parameter(.randn(inputs, units))
        bias = Parameter(.randn(units))
    }

    override func forward(_ x: Tensor) throws -> Tensor { try relu(matmul(x, weight) + bias) }
}

func customLayers() throws {
    section("Layers without parameters")
    print(try CenteredLayer()(Tensor([1.0, 2, 3, 4, 5])))
    let net = Sequential(LazyLinear(128), CenteredLayer())
    print("the mean is small:", try abs(net(.rand(4, 8)).mean()).item() < 1e-6)

    section("Layers with parameters")
    let linear = MyLinear(5, 3)
    print(linear.weight.shape, try linear(.rand(2, 5)).shape)
    print(try Sequential(MyLinear(64, 8), MyLinear(8, 1))(.rand(2, 64)).shape)
}
