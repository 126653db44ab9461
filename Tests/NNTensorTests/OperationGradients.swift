import NNStore
import NNTensor

/// A check for each public operation that has a gradient. ``GradientTests`` compares the names with the sources.
enum OperationGradients {
    static let checks: [GradientCheck] = elementwise + views + reductions + products + lookups + layers

    static let elementwise: [GradientCheck] = [
        .binary("+") { $0 + $1 },
        .binary("-") { $0 - $1 },
        .unary("-") { -$0 },
        .binary("*") { $0 * $1 },
        .binary("/", -2...2, 0.5...2) { $0 / $1 },
        .binary("maximum", -2 ... -0.1, 0.1...2) { try maximum($0, $1) },
        .binary("minimum", -2 ... -0.1, 0.1...2) { try minimum($0, $1) },
        .binary("pow", 0.3...2) { try pow($0, $1) },
        .unary("pow", 0.3...2) { try pow($0, -1.5) },
        .kinked("abs") { try abs($0) },
        .kinked("sign") { try sign($0) * $0 },
        .kinked("floor") { try floor($0 * 7.3) + $0 },
        .kinked("ceil") { try ceil($0 * 7.3) + $0 },
        .kinked("round") { try round($0 * 3.1) + $0 },
        .kinked("relu") { try relu($0) },
        .kinked("clamp") { try clamp($0, minimum: -0.2, maximum: 0.3) },
        .unary("exp") { try exp($0) },
        .unary("log", 0.2...3) { try log($0) },
        .unary("sqrt", 0.2...3) { try sqrt($0) },
        .unary("tanh") { try tanh($0) },
        .unary("sigmoid") { try sigmoid($0) },
        .unary("gelu") { try gelu($0) },
        .unary("erf") { try erf($0) },
        .unary("sin") { try sin($0) },
        .unary("cos") { try cos($0) },
        .unary("to") { try ($0 * $0).to(.f64) * $0 },
        .unary("double") { try $0.double() * $0 },
        .unary("clone") { try $0.clone() * $0 },
        .unary("contiguous") { try $0.contiguous() * $0 },
        .unary("dropout") { x in try dropout(x, 0.4, generator: Generator(seed: 3)) },
        GradientCheck("select") { random in
            let shape = random.shape(3)
            let condition = random.tensor(shape) > 0
            return (
                [random.tensor(shape), random.tensor([shape[2]])], { try NNTensor.select(condition, $0[0], $0[1]) }
            )
        },
        .unary("+=") { x in
            let y = x * 2
            y += x
            return y * y
        },
        .unary("-=") { x in
            let y = x * 2
            y -= x * x
            return y * y
        },
        .unary("*=") { x in
            let y = x * 2
            y *= x
            return y
        },
        .unary("/=", 0.5...2) { x in
            let y = x * 2 + 1
            y /= x
            return y
        },
    ]

    static let views: [GradientCheck] = [
        .unary("reshape") { try $0.reshape([-1]) * 2 },
        .unary("flatten") { try $0.flatten() * 2 },
        .kinked("transpose", 2...3) { try $0.transpose(0, -1) * 2 },
        .kinked("permute", 3...3) { try $0.permute(2, 0, 1) * 2 },
        .kinked("T", 2...2) { $0.T * 2 },
        .unary("expand") { try $0.expand([3, 2] + $0.shape) },
        .unary("unsqueeze") { try $0.unsqueeze(0) * 2 },
        .unary("squeeze") { try $0.unsqueeze(-1).squeeze(-1) * 2 },
        .kinked("narrow", 1...3) { try $0.narrow(0, 0..<$0.shape[0], step: 2) * 2 },
        .kinked("select", 1...3) { try $0.select(0, -1) * 2 },
        .kinked("chunk", 1...3) { x in
            let parts = try x.chunk(2)
            return try parts[0].sum() * parts[parts.count - 1]
        },
        .kinked("split", 1...3) { x in
            let parts = try x.split(2)
            return try parts[0].sum() * parts[parts.count - 1]
        },
        .kinked("subscript", 2...3) { x in x[0..., .newAxis, 0] * x[0, .newAxis] },
        GradientCheck("subscript") { random in
            let mask = random.tensor([4, 3]) > 0
            let rows = Tensor([2, 0, 2])
            return ([random.tensor([4, 3])], { try concatenate([$0[0][mask], $0[0][rows].flatten()]) })
        },
        GradientCheck("subscript set") { random in
            let mask = random.tensor([4, 3]) > 0
            return (
                [random.tensor([4, 3]), random.tensor([3])],
                { arguments in
                    let y = arguments[0] * 1
                    y[1] = arguments[1] * arguments[1]
                    y[0..., 0] *= 3
                    y[mask] = y + arguments[0]
                    return y * arguments[0]
                }
            )
        },
        GradientCheck("copy") { random in
            (
                [random.tensor([2, 3]), random.tensor([3])],
                { arguments in
                    let y = arguments[0] * 2
                    let row = y[1]
                    try row.copy(from: arguments[1])
                    return y * y + row
                }
            )
        },
        GradientCheck("fill") { random in
            (
                [random.tensor([3, 2])],
                { arguments in
                    let y = arguments[0] * 2
                    try y[0].fill(5)
                    return y * y
                }
            )
        },
        GradientCheck("concatenate") { random in
            ([random.tensor([2, 3]), random.tensor([2, 1])], { try concatenate($0, dimension: 1) * 2 })
        },
        GradientCheck("stack") { random in
            ([random.tensor([2, 3]), random.tensor([2, 3])], { try stack($0, dimension: -1) * 2 })
        },
    ]

    static let reductions: [GradientCheck] = [
        .unary("sum") { try $0.sum() },
        .kinked("sum", 2...3) { try $0.sum([0, -1], keepDimensions: true) },
        .kinked("sum", 1...3) { try $0.sum(0) },
        .unary("mean") { try $0.mean() },
        .kinked("mean", 1...3) { try $0.mean(-1) },
        GradientCheck("variance") { random in
            ([random.tensor([3, 2, 4])], { try $0[0].variance([0, 2], keepDimensions: true) })
        },
        GradientCheck("standardDeviation") { random in
            ([random.tensor([3, 4])], { try $0[0].standardDeviation([1], correction: 0) })
        },
        .kinked("norm", 1...3) { try $0.norm([0]) },
        .kinked("max") { try $0.max() },
        .kinked("max", 1...3) { try $0.max(0).values },
        .kinked("min") { try $0.min() },
        .kinked("min", 1...3) { try $0.min(-1, keepDimensions: true).values },
        .kinked("softmax", 1...3) { try softmax($0, dimension: 0) },
        .kinked("logSoftmax", 1...3) { try logSoftmax($0, dimension: -1) },
    ]

    static let products: [GradientCheck] = [
        GradientCheck("matmul") { random in
            let (m, k, n) = (random.shape(1)[0], random.shape(1)[0], random.shape(1)[0])
            let shapes: [([Int], [Int])] = [
                ([k], [k]), ([m, k], [k]), ([k], [k, n]), ([m, k], [k, n]), ([2, m, k], [k, n]),
                ([3, 1, m, k], [2, k, n]),
            ]
            let (left, right) = shapes.randomElement(using: &random)!
            return ([random.tensor(left), random.tensor(right)], { try matmul($0[0], $0[1]) })
        },
        GradientCheck("linear") { random in
            let rows = [[3], [2, 3], [2, 4, 3]].randomElement(using: &random)!
            return (
                [random.tensor(rows), random.tensor([5, 3]), random.tensor([5])], { try linear($0[0], $0[1], $0[2]) }
            )
        },
        GradientCheck("conv2d") { random in
            let groups = Int.random(in: 1...2, using: &random)
            let stride = Extent2d(Int.random(in: 1...2, using: &random), Int.random(in: 1...3, using: &random))
            let padding = Extent2d(Int.random(in: 0...2, using: &random), Int.random(in: 0...1, using: &random))
            let dilation = Extent2d(1, Int.random(in: 1...2, using: &random))
            return (
                [
                    random.tensor([3, 2 * groups, 5, 6]), random.tensor([2 * groups, 2, 3, 2]),
                    random.tensor([2 * groups]),
                ],
                {
                    try conv2d(
                        $0[0], $0[1], $0[2], stride: stride, padding: padding, dilation: dilation, groups: groups)
                }
            )
        },
    ]

    static let lookups: [GradientCheck] = [
        GradientCheck("gather") { random in
            let index = Tensor.randint(0..<3, [2, 5], generator: Generator(seed: 1))
            return ([random.tensor([2, 3])], { try $0[0].gather(1, index) * 2 })
        },
        GradientCheck("gather") { random in
            let index = Tensor.randint(0..<4, [6, 2], generator: Generator(seed: 2))
            return ([random.tensor([4, 3])], { try $0[0].gather(0, index) * 2 })
        },
        GradientCheck("indexSelect") { random in
            let index = Tensor.randint(0..<3, [5], generator: Generator(seed: 3))
            return ([random.tensor([2, 3, 2])], { try $0[0].indexSelect(1, index) * 2 })
        },
        GradientCheck("embedding") { random in
            let index = Tensor.randint(0..<4, [2, 3], generator: Generator(seed: 4))
            return ([random.tensor([4, 3])], { try embedding(index, $0[0]) * 2 })
        },
    ]

    static let layers: [GradientCheck] = [
        GradientCheck("maxPool2d") { random in
            ([random.distinct([2, 2, 5, 6])], { try maxPool2d($0[0], Extent2d(3, 2), stride: 2, padding: 1) })
        },
        GradientCheck("layerNorm") { random in
            (
                [random.tensor([2, 3, 4]), random.tensor([3, 4]), random.tensor([3, 4])],
                { try layerNorm($0[0], [3, 4], weight: $0[1], bias: $0[2]) }
            )
        },
        GradientCheck("batchNorm") { random in
            (
                [random.tensor([3, 2, 4]), random.tensor([2]), random.tensor([2])],
                { try batchNorm($0[0], weight: $0[1], bias: $0[2]) }
            )
        },
        GradientCheck("meanSquaredError") { random in
            ([random.tensor([3, 2]), random.tensor([3, 2])], { try meanSquaredError($0[0], $0[1]) })
        },
        GradientCheck("crossEntropy") { random in
            let classes = Tensor([2, 0, 1, 2])
            return ([random.tensor([4, 3])], { try crossEntropy($0[0], classes) })
        },
        GradientCheck("crossEntropy") { random in
            let classes = Tensor([[2, 0], [-100, 1]])
            return ([random.tensor([2, 3, 2])], { try crossEntropy($0[0], classes, ignoring: -100) })
        },
    ]

    /// Public functions that have no gradient, and why.
    static let without: [String: String] = [
        ".==": "gives truth values", ".!=": "gives truth values", "<": "gives truth values", "<=": "gives truth values",
        ">": "gives truth values", ">=": "gives truth values", ".&": "of truth values", ".|": "of truth values",
        ".^": "of truth values", ".!": "of truth values", "isNaN": "gives truth values",
        "isFinite": "gives truth values",
        "all": "gives truth values", "any": "gives truth values", "booleans": "gives Swift values",
        "argmax": "gives positions", "argmin": "gives positions", "nonzeroPositions": "gives positions",
        "elements": "gives Swift values", "item": "gives Swift values", "detach": "is there to have none",
        "float": "rounds to F32, so differences say little; it is to(.f32)", "long": "gives integers",
    ]
}
