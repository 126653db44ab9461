import NNStore

/// Kernels that are moved over images, `[batch, in, height, width]`; see
/// ``conv2d(_:_:_:stride:padding:dilation:groups:)``.
open class Conv2d: Module {
    /// `[out, in / groups, kernel height, kernel width]`
    public final var weight: Parameter
    /// `[out]`; `nil` if there is none.
    public final var bias: Parameter?
    private let windows: Windows
    fileprivate let groups: Int

    /// Values uniform between ± 1 / √(number of elements of a window), as in PyTorch.
    ///
    /// - Parameters:
    ///   - kernelSize: the extents of a kernel.
    ///   - stride: how far windows are apart.
    ///   - padding: the zeros around the image.
    ///   - dilation: how far the elements of a window are apart.
    ///   - groups: the number of parts into which the channels are divided; both numbers of channels are multiples of it.
    public convenience init(
        _ inChannels: Int, _ outChannels: Int, kernelSize: Extent2d, stride: Extent2d = 1, padding: Extent2d = 0,
        dilation: Extent2d = 1, groups: Int = 1, bias: Bool = true, dtype: DType = .f32, generator: Generator? = nil
    ) {
        guard groups > 0, inChannels % groups == 0, outChannels % groups == 0 else {
            stop("Conv2d", "\(inChannels) and \(outChannels) channels are not multiples of \(groups) groups")
        }
        let shape = [outChannels, inChannels / groups, kernelSize.height, kernelSize.width]
        self.init(
            weight: Parameter(.zeros(shape, dtype: dtype)),
            bias: bias ? Parameter(.zeros([outChannels], dtype: dtype)) : nil,
            Windows(kernel: kernelSize, stride: stride, padding: padding, dilation: dilation), groups)
        orStop { try resetParameters(generator) }
    }

    fileprivate init(weight: Parameter, bias: Parameter?, _ windows: Windows, _ groups: Int) {
        self.weight = weight
        self.bias = bias
        self.windows = windows
        self.groups = groups
    }

    /// Gives the parameters fresh values.
    ///
    /// - Throws: ``TensorError/uninitialized(what:)`` if they have no shape yet.
    public final func resetParameters(_ generator: Generator? = nil) throws {
        try Initializer.kaimingUniform(weight, negativeSlope: 5.0.squareRoot(), generator: generator)
        if let bias { try Initializer.uniformByFanIn(bias, of: weight, generator) }
    }

    open override func forward(_ x: Tensor) throws -> Tensor {
        try conv2d(
            x, weight, bias, stride: windows.stride, padding: windows.padding, dilation: windows.dilation,
            groups: groups)
    }

    open override var details: String {
        let channels = weight.isInitialized ? (weight.shape[1] * groups, weight.shape[0]) : (0, weight.pattern[0] ?? 0)
        var text = "\(channels.0), \(channels.1), kernel_size=\(windows.kernel.text), stride=\(windows.stride.text)"
        if windows.padding != 0 { text += ", padding=\(windows.padding.text)" }
        if windows.dilation != 1 { text += ", dilation=\(windows.dilation.text)" }
        if groups != 1 { text += ", groups=\(groups)" }
        if bias == nil { text += ", bias=False" }
        return text
    }
}

/// A ``Conv2d`` that learns from its first batch how many channels come in. Afterwards it is one.
public final class LazyConv2d: Conv2d {
    private let generator: Generator?

    /// The parameters get their values with the first batch, or from a state dict.
    public init(
        _ outChannels: Int, kernelSize: Extent2d, stride: Extent2d = 1, padding: Extent2d = 0, dilation: Extent2d = 1,
        groups: Int = 1, bias: Bool = true, dtype: DType = .f32, generator: Generator? = nil
    ) {
        guard groups > 0, outChannels % groups == 0 else {
            stop("LazyConv2d", "\(outChannels) channels are not a multiple of \(groups) groups")
        }
        self.generator = generator
        super.init(
            weight: Parameter(uninitialized: [outChannels, nil, kernelSize.height, kernelSize.width], dtype: dtype),
            bias: bias ? Parameter(uninitialized: [outChannels], dtype: dtype) : nil,
            Windows(kernel: kernelSize, stride: stride, padding: padding, dilation: dilation), groups)
    }

    public override var typeName: String { weight.isInitialized ? "Conv2d" : "LazyConv2d" }

    public override func forward(_ x: Tensor) throws -> Tensor {
        if !weight.isInitialized {
            let channels = try x.size(-3)
            guard channels % groups == 0 else {
                throw TensorError.shapeMismatch(
                    operation: typeName, shapes: [x.shape],
                    reason: "\(channels) channels are not a multiple of \(groups) groups")
            }
            try weight.materialize(weight.pattern.map { $0 ?? channels / groups })
            if let bias, !bias.isInitialized { try bias.materialize([weight.shape[0]]) }
            try resetParameters(generator)
        }
        return try super.forward(x)
    }
}

/// The largest element of each window of images; see ``maxPool2d(_:_:stride:padding:dilation:)``.
public final class MaxPool2d: Module {
    private let windows: Windows

    /// - Parameters:
    ///   - kernelSize: the extents of a window.
    ///   - stride: how far windows are apart; as far as they are large if not given.
    ///   - padding: how far windows reach beyond the image.
    ///   - dilation: how far the elements of a window are apart.
    public init(_ kernelSize: Extent2d, stride: Extent2d? = nil, padding: Extent2d = 0, dilation: Extent2d = 1) {
        windows = Windows(kernel: kernelSize, stride: stride ?? kernelSize, padding: padding, dilation: dilation)
    }

    public override func forward(_ x: Tensor) throws -> Tensor {
        try maxPool2d(x, windows.kernel, stride: windows.stride, padding: windows.padding, dilation: windows.dilation)
    }

    public override var details: String {
        "kernel_size=\(windows.kernel.shortText), stride=\(windows.stride.shortText), padding=\(windows.padding.shortText), "
            + "dilation=\(windows.dilation.shortText), ceil_mode=False"
    }
}
