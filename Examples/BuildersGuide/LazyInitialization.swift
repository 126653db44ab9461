import NNTensor

func lazyInitialization() throws {
    section("Lazy initialization")
    let net = Sequential(LazyLinear(256), ReLU(), LazyLinear(10))
    print(net[0].weight, net[0].weight.isInitialized)
    do {
        _ = try abs(net[0].weight)
    } catch {
        print(error)
    }
    _ = try net(.rand(2, 20))
    print(net[0].weight.shape)
    print(net)
}
