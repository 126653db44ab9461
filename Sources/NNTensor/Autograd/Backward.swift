import NNStore

extension Tensor {
    /// Adds the gradient of this tensor to ``grad`` of every leaf that it depends on.
    ///
    /// - Parameters:
    ///   - gradient: the gradient of what is to be minimised in the end by this tensor, in its shape; 1 for a single
    ///     element if it is not given.
    ///   - retainGraph: keep what operations saved, so that it can be called again. Without it that memory is given up as
    ///     the walk goes on.
    /// - Throws: ``TensorError/gradient(operation:reason:)`` if the tensor has no history, or more than one element and no
    ///   gradient is given; ``TensorError/overwritten(operation:shape:dtype:savedVersion:version:)`` if a value that is needed
    ///   was written to since.
    public func backward(_ gradient: Tensor? = nil, retainGraph: Bool = false) throws {
        guard requiresGrad else {
            throw TensorError.gradient(
                operation: "backward",
                reason:
                    "nothing that the tensor was calculated from requires a gradient, or it was calculated in noGrad")
        }
        guard gradient != nil || count == 1 else {
            throw TensorError.gradient(
                operation: "backward",
                reason: "shape \(shape) has \(count) elements; reduce it to one (mean, sum), or pass its gradient")
        }
        if let gradient, gradient.shape != shape {
            throw TensorError.shapeMismatch(
                operation: "backward", shapes: [shape, gradient.shape],
                reason: "the gradient must have the tensor's shape")
        }
        try noGrad {
            let first =
                try gradient?.detach().copied(to: device).converted(to: dtype, "backward") ?? Tensor.ones(like: self)
            switch gradientTarget {
            case .nothing: break
            case .leaf(let leaf):
                var sum = GradientSum(first)
                try leaf.accumulate(&sum)
            case .node(let root): try BackwardWalk(retainGraph: retainGraph).run(from: root, first)
            }
        }
    }

    /// Adds to ``grad``.
    fileprivate func accumulate(_ sum: inout GradientSum) throws {
        if let grad {
            try BinaryOperation.add.write(grad, sum.value.copied(to: grad.device), to: grad)
        } else {
            // The leaf may have been moved between the forward pass and this.
            grad = try sum.take().copied(to: device)
        }
    }
}

/// A walk through recorded operations from a result back to the leaves.
///
/// An operation's turn comes when all users of its result have given their gradient. The order depends on the graph alone,
/// so the same graph adds the same numbers in the same order every time.
private struct BackwardWalk {
    let retainGraph: Bool

    func run(from root: Node, _ gradient: Tensor) throws {
        let visited = countUsers(from: root)
        // After an error nothing of this walk may be left in the nodes.
        defer {
            for node in visited {
                node.pending = 0
                node.gradient = nil
            }
        }
        root.gradient = GradientSum(gradient)
        var leaves = LeafGradients()
        var ready = [root]
        while let node = ready.popLast() {
            // All users gave nothing: neither do its inputs get anything.
            var gradients = [Tensor?](repeating: nil, count: node.inputs.count)
            if let sum = node.gradient {
                node.gradient = nil
                gradients = try node.gradients(sum.value)
            }
            if !retainGraph { node.releaseValues() }
            for (index, input) in node.inputs.enumerated() {
                let gradient = try gradients[index].map { try fitted($0, to: input, of: node) }
                gradients[index] = nil
                switch input.target {
                case .nothing: break
                case .leaf(let leaf):
                    if let gradient { try leaves.add(gradient, to: leaf) }
                case .node(let source):
                    if let gradient {
                        if source.gradient == nil {
                            source.gradient = GradientSum(gradient)
                        } else {
                            try source.gradient!.add(gradient)
                        }
                    }
                    source.pending -= 1
                    if source.pending == 0 { ready.append(source) }
                }
            }
        }
        try leaves.finish()
    }

    /// Counts for every operation that leads to `root` how many others use its result; gives all of them.
    private func countUsers(from root: Node) -> [Node] {
        var visited = [root]
        var next = 0
        while next < visited.count {
            for input in visited[next].inputs {
                guard case .node(let source) = input.target else { continue }
                source.pending += 1
                if source.pending == 1 { visited.append(source) }
            }
            next += 1
        }
        return visited
    }

    /// A gradient with the input's shape and dtype.
    private func fitted(_ gradient: Tensor, to input: Node.Input, of node: Node) throws -> Tensor {
        guard Broadcasting.fits(input.shape, in: gradient.shape) || gradient.shape == input.shape else {
            throw TensorError.shapeMismatch(
                operation: "backward of \(node.operation)", shapes: [input.shape, gradient.shape],
                reason: "a gradient must have the shape of what it belongs to")
        }
        return try gradient.summed(to: input.shape).converted(to: input.dtype, "backward")
    }
}

/// The gradients of leaves, kept apart until the walk is through, so that an error leaves all of them as they were.
private struct LeafGradients {
    private var sums: [(leaf: Tensor, sum: GradientSum)] = []
    private var places: [ObjectIdentifier: Int] = [:]

    mutating func add(_ gradient: Tensor, to leaf: Tensor) throws {
        if let place = places[ObjectIdentifier(leaf)] {
            try sums[place].sum.add(gradient)
        } else {
            places[ObjectIdentifier(leaf)] = sums.count
            sums.append((leaf, GradientSum(gradient)))
        }
    }

    mutating func finish() throws {
        sums.reverse()
        while var next = sums.popLast() { try next.leaf.accumulate(&next.sum) }
    }
}
