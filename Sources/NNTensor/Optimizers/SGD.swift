import CVectorMath
import NNStore

/// Stochastic gradient descent, with momentum if wanted (I. Sutskever et al.: On the importance of initialization and momentum
/// in deep learning, 2013), in the form that `torch.optim.SGD` gives it.
public final class SGD: Optimizer {
    private var momentum: Double
    private var dampening: Double
    private var nesterov: Bool
    private var momenta: [Tensor?]

    /// - Parameters:
    ///   - learningRate: by how much of its gradient a parameter is changed.
    ///   - momentum: how much of the last change goes on.
    ///   - dampening: how much less than whole the gradient counts in the momentum.
    ///   - weightDecay: how much of a parameter is added to its gradient.
    ///   - nesterov: whether the gradient is looked at where the momentum leads; wants momentum and no dampening.
    public convenience init(
        _ parameters: [Parameter], learningRate: Double = 1e-3, momentum: Double = 0, dampening: Double = 0,
        weightDecay: Double = 0, nesterov: Bool = false
    ) {
        self.init(
            [ParameterGroup(parameters)], learningRate: learningRate, momentum: momentum, dampening: dampening,
            weightDecay: weightDecay, nesterov: nesterov)
    }

    /// As ``init(_:learningRate:momentum:dampening:weightDecay:nesterov:)-([Parameter],_,_,_,_,_)``, for groups that may
    /// have a learning rate and a weight decay of their own.
    public init(
        _ groups: [ParameterGroup], learningRate: Double = 1e-3, momentum: Double = 0, dampening: Double = 0,
        weightDecay: Double = 0, nesterov: Bool = false
    ) {
        guard momentum >= 0, !nesterov || momentum > 0 && dampening == 0 else {
            stop("SGD", "momentum is not negative, and Nesterov's wants momentum without dampening")
        }
        (self.momentum, self.dampening, self.nesterov) = (momentum, dampening, nesterov)
        momenta = Array(repeating: nil, count: groups.reduce(0) { $0 + $1.parameters.count })
        super.init(groups, learningRate: learningRate, weightDecay: weightDecay)
    }

    override func update(_ parameter: Parameter, _ number: Int, _ gradient: Tensor, _ group: ParameterGroup) throws {
        let isFirst = momenta[number] == nil
        if momentum != 0 && isFirst {
            momenta[number] = try Tensor.zeroed(
                parameter.dtype, parameter.shape, on: parameter.device)
        }
        let step = nnstore_sgd(
            learning_rate: group.learningRate, momentum: momentum, dampening: dampening,
            weight_decay: group.weightDecay,
            nesterov: nesterov, is_first: isFirst)
        if momentum != 0 { momenta[number] = try momenta[number]?.copied(to: parameter.device) }
        try OptimizerStep.sgd(step).apply(to: parameter, gradient, momentum != 0 ? [momenta[number]!] : [])
    }

    override var stateNames: [(name: String, isLikeParameter: Bool)] {
        momentum == 0 ? [] : [("momentum_buffer", true)]
    }

    override func state(of number: Int) -> [(name: String, tensor: Tensor)] {
        momenta[number].map { [("momentum_buffer", $0)] } ?? []
    }

    override func setState(_ state: [String: Tensor], of number: Int) { momenta[number] = state["momentum_buffer"] }

    override func options(of group: ParameterGroup) -> [(String, StateTree)] {
        [
            ("lr", .double(group.learningRate)), ("momentum", .double(momentum)), ("dampening", .double(dampening)),
            ("weight_decay", .double(group.weightDecay)), ("nesterov", .boolean(nesterov)),
            ("maximize", .boolean(false)),
            ("foreach", .null), ("differentiable", .boolean(false)), ("fused", .null),
        ]
    }

    override func setOptions(_ options: StateTree) throws {
        let momentum = try options.number("momentum", of: "SGD")
        let dampening = try options.number("dampening", of: "SGD")
        let nesterov = try options.flag("nesterov", of: "SGD")
        (self.momentum, self.dampening, self.nesterov) = (momentum, dampening, nesterov)
    }
}
