import NNStore
import NNTensor
import Testing

@Suite("Optimizers")
struct OptimizerTests {
    private func net() -> Sequential {
        let g = Generator(seed: 2)
        return Sequential(Linear(3, 4, generator: g), Tanh(), Linear(4, 2, generator: g))
    }

    private func train(_ net: Module, _ optimizer: Optimizer, steps: Int) throws {
        let x = Tensor.randn([8, 3], generator: Generator(seed: 3))
        for _ in 0..<steps {
            optimizer.zeroGrad()
            try meanSquaredError(net(x), .ones(8, 2)).backward()
            try optimizer.step()
        }
    }

    private func values(_ net: Module) throws -> [Float] {
        try net.parameters().flatMap { try $0.elements(as: Float.self) }
    }

    @Test("go on from a state dict as if nothing had happened", arguments: ["sgd", "momentum", "adam", "adamw"])
    func resuming(_ kind: String) throws {
        func optimizer(_ net: Module, _ rate: Double) -> Optimizer {
            switch kind {
            case "sgd": SGD(net.parameters(), learningRate: rate)
            case "momentum": SGD(net.parameters(), learningRate: rate, momentum: 0.9, nesterov: true)
            case "adam": Adam(net.parameters(), learningRate: rate)
            default: AdamW(net.parameters(), learningRate: rate)
            }
        }
        let straight = net()
        let first = optimizer(straight, 0.05)
        try train(straight, first, steps: 3)
        let state = try first.stateDict()
        let resumed = net()
        try resumed.load(stateDict: straight.stateDict())
        let second = optimizer(resumed, 0.5)
        try second.load(stateDict: state)
        #expect(second.groups[0].learningRate == 0.05)
        try train(straight, first, steps: 3)
        try train(resumed, second, steps: 3)
        #expect(try values(straight) == values(resumed))
    }

    @Test("have a state dict of PyTorch's shape")
    func stateShape() throws {
        let net = net()
        let adam = Adam([
            .init([net[0].weight], learningRate: 0.1), .init([net[2].weight, net[2].bias], weightDecay: 0.2),
        ])
        try train(net, adam, steps: 1)
        let tree = try adam.stateDict()
        #expect(tree["param_groups"]?[0]?["lr"]?.double == 0.1 && tree["param_groups"]?[1]?["lr"]?.double == 1e-3)
        #expect(tree["param_groups"]?[1]?["weight_decay"]?.double == 0.2)
        #expect(tree["param_groups"]?[1]?["params"]?[1]?.int == 2)
        #expect(tree["state"]?[.integer(2)]?["exp_avg"]?.tensor?.shape == [2])
        #expect(tree["state"]?[.integer(0)]?["step"]?.tensor?.dtype == .f32)
    }

    @Test("refuse a state dict that does not fit, and stay what they were")
    func wrongState() throws {
        let net = net()
        let momentum = SGD(net.parameters(), learningRate: 0.1, momentum: 0.9)
        try train(net, momentum, steps: 1)
        let state = try momentum.stateDict()
        let other = Sequential(Linear(3, 5), Tanh(), Linear(5, 2))
        let fresh = SGD(other.parameters(), learningRate: 0.3, momentum: 0.5)
        #expect(
            throws: TensorError.invalidArgument(
                operation: "SGD.load(stateDict:)",
                reason: "\"momentum_buffer\" of parameter 0 is F32 [4, 3], the parameter F32 [5, 3]")
        ) { try fresh.load(stateDict: state) }
        #expect(try fresh.stateDict()["param_groups"]?[0]?["momentum"]?.double == 0.5)
        #expect(fresh.groups[0].learningRate == 0.3)
        #expect(throws: TensorError.self) { try fresh.load(stateDict: .null) }
        let betas: StateTree = .tuple([.double(5), .double(0.9)])
        let odd: StateTree = [
            "state": [:],
            "param_groups": [["params": [0], "lr": 1.0, "weight_decay": 0.0, "betas": betas, "eps": 1e-8]],
        ]
        #expect(throws: TensorError.self) { try Adam([net[0].weight]).load(stateDict: odd) }
        let twice: StateTree = [
            "state": [:],
            "param_groups": [
                [
                    "params": [0, 0], "lr": 1.0, "momentum": 0.0, "dampening": 0.0, "weight_decay": 0.0,
                    "nesterov": .boolean(false),
                ]
            ],
        ]
        #expect(throws: TensorError.self) { try SGD([net[0].weight, net[0].bias]).load(stateDict: twice) }
        #expect(throws: TensorError.self) { try SGD([net[0].weight]).load(stateDict: state) }
        #expect(throws: TensorError.self) { try Adam(net.parameters()).load(stateDict: state) }
    }

    @Test("take numbers that a group does not have from the optimizer, zeros of its own not")
    func groupDefaults() {
        let parameters = net().parameters()
        let groups: [Optimizer.ParameterGroup] = [
            .init([parameters[0]], learningRate: 0, weightDecay: 0), .init([parameters[1]]),
        ]
        let optimizer = SGD(groups, learningRate: 0.5, weightDecay: 0.25)
        #expect(optimizer.groups.map(\.learningRate) == [0, 0.5] && optimizer.groups.map(\.weightDecay) == [0, 0.25])
    }

    @Test("treat groups differently")
    func groups() throws {
        let net = net()
        let before = try net[0].weight.elements(as: Float.self)
        let optimizer = SGD([.init([net[0].weight], learningRate: 0), .init([net[2].weight])], learningRate: 0.1)
        try train(net, optimizer, steps: 2)
        #expect(try net[0].weight.elements(as: Float.self) == before)
        #expect(optimizer.groups.map(\.learningRate) == [0, 0.1])
    }

    @Test("round halves once, and work through views")
    func layouts() throws {
        let half = Parameter(.full([3], 1, dtype: .bf16))
        half.grad = .full([3], 0.5, dtype: .bf16)
        try SGD([half], learningRate: 0.1).step()
        // 0.95 in BF16.
        #expect(try half.elements(as: Float.self) == [0.94921875, 0.94921875, 0.94921875])
        let wide = Tensor.ones(2, 3)
        let transposed = Parameter(wide.T)
        transposed.grad = Tensor([[1.0, 2], [3, 4], [5, 6]])
        try SGD([transposed], learningRate: 1).step()
        #expect(try wide.elements(as: Float.self) == [0, -2, -4, -1, -3, -5])
    }

    @Test("refuse a gradient of another shape, which somebody has set")
    func wrongGradient() {
        let parameter = Parameter(.ones(1000))
        parameter.grad = .ones(1)
        #expect(throws: TensorError.self) { try SGD([parameter]).step() }
        #expect(throws: TensorError.self) { try Adam([parameter]).step() }
    }

    @Test("follow schedules")
    func schedules() throws {
        func rates(_ schedule: LearningRateSchedule, _ count: Int) -> [Double] {
            let optimizer = SGD([Parameter(.ones(1))], learningRate: 2)
            let scheduler = LearningRateScheduler(optimizer, schedule)
            return (0..<count).map { _ in
                defer { scheduler.step() }
                return optimizer.groups[0].learningRate
            }
        }
        #expect(rates(.constant, 3) == [2, 2, 2])
        #expect(rates(.step(every: 2, by: 0.5), 5) == [2, 2, 1, 1, 0.5])
        let cosine = rates(.cosine(over: 4, minimum: 0.5), 7)
        for (found, expected) in zip(cosine, [2, 1.8535533905932737, 1.5, 1.1464466094067263, 1, 1, 1]) {
            #expect(abs(found - expected) < 1e-12)
        }
        #expect(rates(LearningRateSchedule.step(every: 1, by: 0.5).after(warmUp: 2), 5) == [0, 1, 2, 1, 0.5])

        let optimizer = SGD([Parameter(.ones(1))], learningRate: 2)
        let scheduler = LearningRateScheduler(optimizer, .step(every: 2, by: 0.5))
        for _ in 0..<5 { scheduler.step() }
        let other = SGD([Parameter(.ones(1))], learningRate: 2)
        let resumed = LearningRateScheduler(other, .step(every: 2, by: 0.5))
        try resumed.load(stateDict: scheduler.stateDict())
        #expect(other.groups[0].learningRate == optimizer.groups[0].learningRate && resumed.stepCount == 5)
        // One that is made after the optimizer has been resumed, and so sees a later rate, goes on alike.
        let late = LearningRateScheduler(other, .step(every: 2, by: 0.5))
        try late.load(stateDict: scheduler.stateDict())
        late.step()
        scheduler.step()
        #expect(other.groups[0].learningRate == 0.25 && optimizer.groups[0].learningRate == 0.25)
        #expect(throws: TensorError.self) { try resumed.load(stateDict: .null) }
    }

    @Test("have losses that an accumulator keeps until they are asked for")
    func metrics() throws {
        let losses = MetricAccumulator(capacity: 2)
        #expect(try losses.take() == [])
        let value = Tensor(1.5).requiringGrad()
        for number in 1...5 { try losses.add(value * number) }
        noGrad { value += 1 }
        #expect(losses.count == 5)
        #expect(try losses.mean().item() == 4.5)
        #expect(try losses.take() == [1.5, 3, 4.5, 6, 7.5])
        #expect(try losses.read() == [])
        #expect(throws: TensorError.self) { try losses.add(.ones(2)) }
    }
}
