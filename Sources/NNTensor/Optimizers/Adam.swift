import CVectorMath
import NNStore

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

/// Adam (D. Kingma, J. Ba: Adam: A Method for Stochastic Optimization, 2015), in the form that `torch.optim.Adam` gives it.
public class Adam: Optimizer {
    /// What is kept for a parameter.
    private struct State {
        var step = 0.0
        var mean: Tensor
        var square: Tensor
    }

    private var betas: (Double, Double)
    private var epsilon: Double
    private var states: [State?]

    /// Whether the weight decay shrinks the parameter itself, and not by way of its gradient.
    var isDecoupled: Bool { false }

    /// - Parameters:
    ///   - learningRate: by how much a parameter is changed at most, nearly.
    ///   - betas: how much of the means of gradients and of their squares stays at each step.
    ///   - epsilon: is added to the root of the mean square.
    ///   - weightDecay: how much of a parameter is added to its gradient.
    public convenience init(
        _ parameters: [Parameter], learningRate: Double = 1e-3, betas: (Double, Double) = (0.9, 0.999),
        epsilon: Double = 1e-8,
        weightDecay: Double = 0
    ) {
        self.init(
            [ParameterGroup(parameters)], learningRate: learningRate, betas: betas, epsilon: epsilon,
            weightDecay: weightDecay)
    }

    /// As ``init(_:learningRate:betas:epsilon:weightDecay:)-([Parameter],_,_,_,_)``, for groups that may have a learning
    /// rate and a weight decay of their own.
    public init(
        _ groups: [ParameterGroup], learningRate: Double = 1e-3, betas: (Double, Double) = (0.9, 0.999),
        epsilon: Double = 1e-8, weightDecay: Double = 0
    ) {
        guard (0..<1).contains(betas.0), (0..<1).contains(betas.1), epsilon >= 0 else {
            stop("Adam", "betas are from 0 to below 1, epsilon is not negative")
        }
        (self.betas, self.epsilon) = (betas, epsilon)
        states = Array(repeating: nil, count: groups.reduce(0) { $0 + $1.parameters.count })
        super.init(groups, learningRate: learningRate, weightDecay: weightDecay)
    }

    final override func update(_ parameter: Parameter, _ number: Int, _ gradient: Tensor, _ group: ParameterGroup)
        throws
    {
        var state =
            try states[number]
            ?? State(
                mean: Tensor.zeroed(parameter.dtype, parameter.shape, on: parameter.device),
                square: Tensor.zeroed(parameter.dtype, parameter.shape, on: parameter.device))
        state.step += 1
        // The model may have been moved since.
        state.mean = try state.mean.copied(to: parameter.device)
        state.square = try state.square.copied(to: parameter.device)
        states[number] = state
        let step = nnstore_adam(
            learning_rate: group.learningRate, beta1: betas.0, beta2: betas.1, epsilon: epsilon,
            weight_decay: group.weightDecay, correction1: 1 - pow(betas.0, state.step),
            correction2: 1 - pow(betas.1, state.step),
            is_decoupled: isDecoupled)
        try OptimizerStep.adam(step).apply(to: parameter, gradient, [state.mean, state.square])
    }

    final override var stateNames: [(name: String, isLikeParameter: Bool)] {
        [("step", false), ("exp_avg", true), ("exp_avg_sq", true)]
    }

    final override func state(of number: Int) -> [(name: String, tensor: Tensor)] {
        guard let state = states[number] else { return [] }
        return [("step", Tensor(state.step)), ("exp_avg", state.mean), ("exp_avg_sq", state.square)]
    }

    final override func setState(_ state: [String: Tensor], of number: Int) {
        guard let mean = state["exp_avg"], let square = state["exp_avg_sq"], let step = state["step"] else {
            states[number] = nil
            return
        }
        states[number] = State(step: orStop { try step.item() }, mean: mean, square: square)
    }

    final override func options(of group: ParameterGroup) -> [(String, StateTree)] {
        [
            ("lr", .double(group.learningRate)), ("betas", .tuple([.double(betas.0), .double(betas.1)])),
            ("eps", .double(epsilon)), ("weight_decay", .double(group.weightDecay)), ("amsgrad", .boolean(false)),
            ("maximize", .boolean(false)), ("foreach", .null), ("capturable", .boolean(false)),
            ("differentiable", .boolean(false)), ("fused", .null), ("decoupled_weight_decay", .boolean(isDecoupled)),
        ]
    }

    final override func setOptions(_ options: StateTree) throws {
        guard case .tuple(let values, _)? = options["betas"], values.count == 2, let first = values[0].number,
            let second = values[1].number, (0..<1).contains(first), (0..<1).contains(second)
        else { throw OptimizerState.error("Adam", "\"betas\" should be two numbers from 0 to below 1") }
        let epsilon = try options.number("eps", of: "Adam")
        (betas, self.epsilon) = ((first, second), epsilon)
    }
}

/// Adam with a weight decay that does not go through the means (I. Loshchilov, F. Hutter: Decoupled Weight Decay
/// Regularization, 2019).
public final class AdamW: Adam {
    override var isDecoupled: Bool { true }

    /// As ``Adam``, with the weight decay being by how much of itself times the learning rate a parameter shrinks.
    public override init(
        _ groups: [ParameterGroup], learningRate: Double = 1e-3, betas: (Double, Double) = (0.9, 0.999),
        epsilon: Double = 1e-8, weightDecay: Double = 1e-2
    ) {
        super.init(groups, learningRate: learningRate, betas: betas, epsilon: epsilon, weightDecay: weightDecay)
    }

    /// As ``Adam``, with the weight decay being by how much of itself times the learning rate a parameter shrinks.
    public convenience init(
        _ parameters: [Parameter], learningRate: Double = 1e-3, betas: (Double, Double) = (0.9, 0.999),
        epsilon: Double = 1e-8,
        weightDecay: Double = 1e-2
    ) {
        self.init(
            [ParameterGroup(parameters)], learningRate: learningRate, betas: betas, epsilon: epsilon,
            weightDecay: weightDecay)
    }
}
