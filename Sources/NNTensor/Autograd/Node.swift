import NNStore

/// An operation that was recorded: where its gradient goes, and how.
///
/// A node keeps its inputs in one array and nowhere else, so that a long graph can be freed with a loop.
final class Node {
    /// Where the gradient of an input goes.
    enum Target {
        /// The input needs none.
        case nothing
        /// The operation that made the input.
        case node(Node)
        /// The input itself, a leaf.
        case leaf(Tensor)
    }

    struct Input {
        var target: Target
        /// What the gradient must look like in the end: what was broadcast is added up, what was converted converted back.
        let shape: [Int]
        let dtype: DType

        var isNeeded: Bool {
            if case .nothing = target { false } else { true }
        }
    }

    /// Gives the gradients of the inputs for that of the result. `isNeeded` says which are asked for; `nil` is zero. They
    /// may still have the result's broadcast shape and dtype.
    typealias Backward = (_ gradient: Tensor, _ isNeeded: [Bool]) throws -> [Tensor?]

    let operation: String
    private(set) var inputs: [Input]
    private var backward: Backward?
    /// The shape and dtype of the result.
    let shape: [Int]
    let dtype: DType

    /// For the walk of ``Tensor/backward(_:retainGraph:)``: how many users of the result have not given their gradient yet,
    /// and the sum of what they gave.
    var pending = 0
    var gradient: GradientSum?

    init(_ operation: String, shape: [Int], dtype: DType, inputs: [Input], backward: @escaping Backward) {
        self.operation = operation
        self.shape = shape
        self.dtype = dtype
        self.inputs = inputs
        self.backward = backward
    }

    deinit { Node.release(&inputs) }

    /// Frees what only these inputs keep, one after another instead of one inside another: a chain may have millions.
    private static func release(_ inputs: inout [Input]) {
        var chain: [Node] = []
        func take(_ inputs: inout [Input]) {
            for input in inputs {
                if case .node(let node) = input.target { chain.append(node) }
            }
            inputs = []
        }
        take(&inputs)
        while var node = chain.popLast() {
            if isKnownUniquelyReferenced(&node) { take(&node.inputs) }
        }
    }

    /// The gradients of the inputs.
    ///
    /// - Throws: ``TensorError/gradient(operation:reason:)`` if the values for that are gone.
    func gradients(_ gradient: Tensor) throws -> [Tensor?] {
        guard let backward else {
            throw TensorError.gradient(
                operation: "backward",
                reason: "the values that \(operation) saved were given up by an earlier backward() through it. "
                    + "Ask the first one for retainGraph: true, or calculate anew")
        }
        return try backward(gradient, inputs.map(\.isNeeded))
    }

    /// Gives up saved values.
    func releaseValues() { backward = nil }
}

extension Tensor {
    /// Whether a gradient is wanted: for leaves, whether they collect one in ``grad``; for the results of recorded
    /// operations, always. Only floats have gradients.
    public var requiresGrad: Bool {
        get { wantsGradient || currentNode != nil }
        set {
            if newValue == requiresGrad { return }
            guard isLeaf else {
                stop(
                    "requiresGrad",
                    "the result of \(currentNode!.operation) has the gradient of its inputs; use detach()")
            }
            guard currentLayout.dtype.isFloatingPoint else {
                stop("requiresGrad", "only floats have gradients, this is \(currentLayout.dtype)")
            }
            wantsGradient = newValue
        }
    }

    /// The tensor itself, after setting ``requiresGrad``: `Tensor.ones(3).requiringGrad()`.
    @discardableResult
    public func requiringGrad(_ wanted: Bool = true) -> Self {
        requiresGrad = wanted
        return self
    }

    /// Whether no recorded operation made it.
    public var isLeaf: Bool { currentNode == nil }

    /// The name of the recorded operation that made the value; `nil` for leaves.
    public var gradientOperation: String? { currentNode?.operation }

    /// Where gradients of this tensor go.
    var gradientTarget: Node.Target {
        if let node = currentNode { return .node(node) }
        return wantsGradient ? .leaf(self) : .nothing
    }

    /// Records that this tensor is the result of `operation`, unless nothing is recorded or no input has a gradient.
    func record(_ operation: String, _ inputs: [Tensor], _ backward: @escaping Node.Backward) {
        guard Tensor.isRecording(inputs) else { return }
        node = Node(operation, shape: shape, dtype: dtype, inputs: inputs.map(\.gradientInput), backward: backward)
        isNumber = false
    }

    var gradientInput: Node.Input { Node.Input(target: gradientTarget, shape: shape, dtype: dtype) }

    /// Whether an operation of these tensors has to be recorded.
    static func isRecording(_ inputs: [Tensor]) -> Bool {
        inputs.contains { $0.requiresGrad } && GradMode.isRecording
    }
}
