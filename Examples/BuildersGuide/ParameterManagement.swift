import NNTensor

func parameterManagement() throws {
    section("Parameter access")
    let net = Sequential(LazyLinear(8), ReLU(), LazyLinear(1))
    let x = Tensor.rand(2, 4)
    print(try net(x).shape)
    print(net[2].stateDict().keys)

    // One parameter: a tensor with a gradient.
    print(type(of: net[2].bias), try net[2].bias.elements(as: Float.self).count)
    print("no gradient yet:", net[2].weight.grad == nil)

    // All at once.
    for (name, parameter) in net.namedParameters() { print(name, parameter.shape) }

    section("Tied parameters")
    let shared = LazyLinear(8)
    let tied = Sequential(LazyLinear(8), ReLU(), shared, ReLU(), shared, ReLU(), LazyLinear(1))
    print(try tied(x).shape)
    // They are not only equal, they are one.
    print(try (tied[2].weight[0] .== tied[4].weight[0]).all().item() == 1)
    tied[2].weight.data[0, 0] = 100
    print(try tied[4].weight[0, 0].item())
    // One gradient, that of both places added up, and one update.
    try tied(x).sum().backward()
    print(tied[2].weight.grad === tied[4].weight.grad, tied.parameters().count)
}
