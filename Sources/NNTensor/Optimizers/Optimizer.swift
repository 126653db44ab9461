import NNStore

/// Changes parameters by their gradients.
///
/// ```swift
/// let optimizer = Adam(net.parameters(), learningRate: 1e-3)
/// optimizer.zeroGrad()
/// try loss(net(x), y).backward()
/// try optimizer.step()
/// ```
///
/// An optimizer holds its parameters: what is added to a model later it does not change. A parameter without a gradient is
/// passed over.
public class Optimizer {
    /// Parameters that are treated alike.
    public struct ParameterGroup {
        /// The parameters.
        public let parameters: [Parameter]
        /// By how much of its gradient a parameter is changed; that of the optimizer, once it belongs to one, unless one was
        /// given.
        public var learningRate: Double
        /// How much a parameter shrinks; as ``learningRate``.
        public var weightDecay: Double
        private let isGiven: (learningRate: Bool, weightDecay: Bool)

        /// Parameters with values of their own; those that the optimizer is given otherwise for what is `nil`.
        public init(_ parameters: [Parameter], learningRate: Double? = nil, weightDecay: Double? = nil) {
            self.parameters = parameters
            isGiven = (learningRate != nil, weightDecay != nil)
            self.learningRate = learningRate ?? 0
            self.weightDecay = weightDecay ?? 0
        }

        /// The group with an optimizer's numbers where none were given.
        fileprivate func completed(learningRate: Double, weightDecay: Double) -> ParameterGroup {
            var group = self
            if !isGiven.learningRate { group.learningRate = learningRate }
            if !isGiven.weightDecay { group.weightDecay = weightDecay }
            return group
        }
    }

    /// The parameters, each in one group.
    public final var groups: [ParameterGroup]

    /// Stops the program if a parameter is in two places, a number is negative, or there is no parameter.
    init(_ groups: [ParameterGroup], learningRate: Double, weightDecay: Double) {
        self.groups = groups.map { $0.completed(learningRate: learningRate, weightDecay: weightDecay) }
        let name = "\(type(of: self))"
        let parameters = self.groups.flatMap(\.parameters)
        guard !parameters.isEmpty else { stop(name, "there are no parameters to change") }
        guard Set(parameters.map(ObjectIdentifier.init)).count == parameters.count else {
            stop(name, "a parameter is there twice. parameters() lists each once; a parameter belongs to one group")
        }
        guard self.groups.allSatisfy({ $0.learningRate >= 0 && $0.weightDecay >= 0 }) else {
            stop(name, "learning rates and weight decays are not negative")
        }
    }

    /// Changes all parameters that have a gradient.
    ///
    /// - Throws: ``TensorError``.
    public final func step() throws {
        try noGrad {
            var number = 0
            for group in groups {
                for parameter in group.parameters {
                    if let gradient = parameter.grad {
                        try Optimizer.check(gradient, of: parameter, number)
                        try update(parameter, number, gradient, group)
                    }
                    number += 1
                }
            }
        }
    }

    /// A gradient may have been set by hand.
    private static func check(_ gradient: Tensor, of parameter: Parameter, _ number: Int) throws {
        guard gradient.shape == parameter.shape else {
            throw TensorError.shapeMismatch(
                operation: "step", shapes: [parameter.shape, gradient.shape],
                reason: "the gradient of parameter \(number) has another shape than the parameter")
        }
    }

    /// Forgets the gradients of all parameters.
    public final func zeroGrad() {
        for group in groups { for parameter in group.parameters { parameter.grad = nil } }
    }

    /// Changes one parameter. `number` is its place among all.
    func update(_ parameter: Parameter, _ number: Int, _ gradient: Tensor, _ group: ParameterGroup) throws {
        stop("\(type(of: self))", "update(_:_:_:_:) is not overridden")
    }

    /// What is kept for the parameter of a number, by PyTorch's names.
    func state(of number: Int) -> [(name: String, tensor: Tensor)] { [] }

    /// Takes what was kept for the parameter of a number.
    func setState(_ state: [String: Tensor], of number: Int) {}

    /// What must be kept for a parameter that anything is kept for, and whether it has the parameter's shape and dtype.
    var stateNames: [(name: String, isLikeParameter: Bool)] { [] }

    /// A group's numbers and switches by PyTorch's names.
    func options(of group: ParameterGroup) -> [(String, StateTree)] { [] }

    /// Takes the numbers and switches that concern all groups.
    func setOptions(_ options: StateTree) throws {}
}

extension Optimizer {
    /// The parameters of all groups, in the order in which they are numbered.
    public final var parameters: [Parameter] { groups.flatMap(\.parameters) }
}
