import NNTensor

func parameterInitialization() throws {
    section("Built-in initialization")
    let net = Sequential(LazyLinear(8), ReLU(), LazyLinear(1))
    _ = try net(.rand(2, 4))
    try net.apply { module in
        guard let linear = module as? Linear else { return }
        try Initializer.normal(linear.weight, mean: 0, standardDeviation: 0.01)
        try Initializer.zeros(linear.bias)
    }
    print("normal:", try abs(net[0].weight).max().item() < 0.1, try net[0].bias[0].item())
    try net.apply { if let linear = $0 as? Linear { try Initializer.constant(linear.weight, 1) } }
    print("constant:", try net[0].weight[0].elements(as: Float.self))

    // Different ones for different layers.
    try Initializer.xavierUniform(net[0].weight)
    try Initializer.constant(net[2].weight, 42)
    print("Xavier, and 42:", try abs(net[0].weight[0]).max().item() < 1, try net[2].weight[0, 0].item())

    section("Custom initialization")
    // Uniform between 5 and 10 or -5 and -10 with a quarter of probability each, otherwise 0.
    try net.apply { module in
        guard let linear = module as? Linear else { return }
        try Initializer.uniform(linear.weight, from: -10, to: 10)
        linear.weight.data *= try (abs(linear.weight.data) >= 5)
    }
    print(net[0].weight[0..<2])
    // A parameter can always be set by hand.
    noGrad {
        net[0].weight[...] += 1
        net[0].weight[0, 0] = 42
    }
    print(try net[0].weight[0, 0].item())
}
