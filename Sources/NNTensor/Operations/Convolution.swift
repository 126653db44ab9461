import CVectorMath
import NNStore

/// The sum of products of a kernel and each window of an image, for each kernel.
///
/// - Parameters:
///   - x: `[batch, in, height, width]`, or one image without the first dimension.
///   - weight: `[out, in / groups, kernel height, kernel width]`
///   - bias: `[out]`, is added to each place.
///   - stride: how far windows are apart.
///   - padding: the zeros around the image.
///   - dilation: how far the elements of a window are apart.
///   - groups: the number of parts into which the channels are divided; each output part sees one of them.
/// - Returns: `[batch, out, rows of windows, windows in a row]`
/// - Throws: ``TensorError/shapeMismatch(operation:shapes:reason:)``,
///   ``TensorError/dtypeMismatch(operation:dtypes:reason:)`` if the dtypes differ or are no floats,
///   ``TensorError/invalidArgument(operation:reason:)``.
public func conv2d(
    _ x: Tensor, _ weight: Tensor, _ bias: Tensor? = nil, stride: Extent2d = 1, padding: Extent2d = 0,
    dilation: Extent2d = 1, groups: Int = 1
) throws -> Tensor {
    for operand in [x, weight, bias ?? x] { try operand.requireValue("conv2d") }
    if x.rank == 3 {
        let batch = try x.unsqueeze(0)
        return try conv2d(batch, weight, bias, stride: stride, padding: padding, dilation: dilation, groups: groups)
            .squeeze(0)
    }
    let operands = [x, weight] + (bias.map { [$0] } ?? [])
    guard groups > 0, x.rank == 4, weight.rank == 4, weight.shape[0] % groups == 0,
        x.shape[1] == weight.shape[1] * groups, bias.map({ $0.shape == [weight.shape[0]] }) ?? true
    else {
        throw TensorError.shapeMismatch(
            operation: "conv2d", shapes: operands.map(\.shape),
            reason: "[batch, in, height, width], [out, in / groups, kernel height, kernel width] and [out] are wanted, "
                + "groups being \(groups)")
    }
    guard operands.allSatisfy({ $0.dtype == x.dtype && $0.dtype.isFloatingPoint }) else {
        throw TensorError.dtypeMismatch(
            operation: "conv2d", dtypes: operands.map(\.dtype),
            reason: "all must be floats of one dtype. Convert with to(_:)")
    }
    _ = try Placement.device(of: operands, "conv2d")
    let convolution = Convolution(
        windows: try Windows(
            kernel: Extent2d(weight.shape[2], weight.shape[3]), stride: stride, padding: padding, dilation: dilation
        ).placed(in: x.shape, channels: weight.shape[1], "conv2d"),
        batch: x.shape[0], groups: groups, outPerGroup: weight.shape[0] / groups)
    let result = try convolution.values(x, weight, bias)
    if Tensor.isRecording(operands) {
        let saved = (SavedValue(x, for: "conv2d"), SavedValue(weight, for: "conv2d"))
        result.record("conv2d", operands) { gradient, isNeeded in
            [
                isNeeded[0] ? try convolution.imageGradient(gradient, saved.1.value()) : nil,
                isNeeded[1] ? try convolution.weightGradient(gradient, saved.0.value()) : nil,
                isNeeded.count > 2 && isNeeded[2] ? try gradient.sum([0, 2, 3]) : nil,
            ]
        }
    }
    return result
}

/// A convolution by products of matrices: the windows of an image become the columns of one (K. Chellapilla, S. Puri,
/// P. Simard: High Performance Convolutional Neural Networks for Document Processing, 2006).
///
/// Images run beside each other; what is added to what does not depend on how many do.
private struct Convolution: Sendable {
    /// In the channels of one group.
    let windows: nnstore_windows
    let batch: Int
    let groups: Int
    let outPerGroup: Int

    /// The elements of a window in all channels of a group, and the windows of an image.
    private var windowSize: Int { windows.channels * windows.kernel_height * windows.kernel_width }
    private var windowCount: Int { windows.out_height * windows.out_width }
    private var imageSize: Int { windows.channels * windows.height * windows.width }

    /// The images of a batch are divided into at most so many parts, whose gradients of the weight are added up in order.
    private static let parts = 8

    private var threads: Int {
        batch * groups * outPerGroup * windowSize * windowCount < 1 << 20 ? 1 : Parallelism.threads
    }

    private var onGPU: GPUConvolution {
        GPUConvolution(
            windows: windows, batch: batch, groups: groups, outPerGroup: outPerGroup, windowSize: windowSize,
            windowCount: windowCount)
    }

    func values(_ x: Tensor, _ weight: Tensor, _ bias: Tensor?) throws -> Tensor {
        let (images, kernels) = (try x.prepared(for: "conv2d"), try weight.prepared(for: "conv2d"))
        let shape = [batch, groups * outPerGroup, windows.out_height, windows.out_width]
        let result = try Tensor.zeroed(images.dtype, shape, on: x.device)
        if let bias { try result.writeValues(of: bias.detach().reshape([1, -1, 1, 1]), "conv2d") }
        if x.device.isGPU {
            try onGPU.values(images, kernels, to: result, isAdding: bias != nil)
            return try result.converted(to: x.dtype, "conv2d")
        }
        let (from, with) = (try images.elements(for: "conv2d"), try kernels.elements(for: "conv2d"))
        let to = try result.writableElements(for: "conv2d")
        let isAdding = bias != nil
        if result.count > 0 {
            Parallelism.forEach(batch * groups, threads: threads) { place in
                let columns = Columns(windowSize * windowCount, from.type)
                columns.unfold(windows, from, at: place * imageSize)
                MatrixKernels.multiply(
                    .init(with, place % groups * outPerGroup * windowSize, rows: outPerGroup, columns: windowSize),
                    .init(columns, rows: windowSize, columns: windowCount),
                    to: .init(to, place * outPerGroup * windowCount, rows: outPerGroup, columns: windowCount),
                    adding: isAdding)
            }
        }
        return try result.converted(to: x.dtype, "conv2d")
    }

    func imageGradient(_ gradient: Tensor, _ weight: Tensor) throws -> Tensor {
        let (slopes, kernels) = (try gradient.prepared(for: "conv2d"), try weight.prepared(for: "conv2d"))
        let result = try Tensor.zeroed(
            slopes.dtype, [batch, groups * windows.channels, windows.height, windows.width], on: gradient.device)
        if gradient.device.isGPU {
            try onGPU.imageGradient(slopes, kernels, to: result)
            return result
        }
        let (from, with) = (try slopes.elements(for: "conv2d"), try kernels.elements(for: "conv2d"))
        let to = try result.writableElements(for: "conv2d")
        if slopes.count > 0 && result.count > 0 {
            Parallelism.forEach(batch * groups, threads: threads) { place in
                let columns = Columns(windowSize * windowCount, from.type)
                MatrixKernels.multiply(
                    .init(
                        with, place % groups * outPerGroup * windowSize, rows: outPerGroup, columns: windowSize,
                        isTransposed: true),
                    .init(from, place * outPerGroup * windowCount, rows: outPerGroup, columns: windowCount),
                    to: .init(columns, rows: windowSize, columns: windowCount), adding: false)
                columns.fold(windows, to, at: place * imageSize)
            }
        }
        return result
    }

    func weightGradient(_ gradient: Tensor, _ x: Tensor) throws -> Tensor {
        let (slopes, images) = (try gradient.prepared(for: "conv2d"), try x.prepared(for: "conv2d"))
        if gradient.device.isGPU {
            let sums = try onGPU.weightGradient(slopes, images)
            return try sums.reshape([
                groups * outPerGroup, windows.channels, windows.kernel_height, windows.kernel_width,
            ])
        }
        let size = groups * outPerGroup * windowSize
        let parts = max(1, min(Convolution.parts, batch))
        let sums = try Tensor.zeroed(
            slopes.dtype, [parts, groups * outPerGroup, windows.channels, windows.kernel_height, windows.kernel_width],
            on: .cpu)
        let (from, with) = (try slopes.elements(for: "conv2d"), try images.elements(for: "conv2d"))
        let to = try sums.writableElements(for: "conv2d")
        if slopes.count > 0 && sums.count > 0 {
            let (batch, groups) = (batch, groups)
            Parallelism.forEach(parts * groups, threads: threads) { task in
                let (part, group) = (task / groups, task % groups)
                let columns = Columns(windowSize * windowCount, from.type)
                for image in batch * part / parts..<batch * (part + 1) / parts {
                    let place = image * groups + group
                    columns.unfold(windows, with, at: place * imageSize)
                    MatrixKernels.multiply(
                        .init(from, place * outPerGroup * windowCount, rows: outPerGroup, columns: windowCount),
                        .init(columns, rows: windowSize, columns: windowCount, isTransposed: true),
                        to: .init(
                            to, part * size + group * outPerGroup * windowSize, rows: outPerGroup, columns: windowSize),
                        adding: true)
                }
            }
        }
        return try sums.sum(0)
    }
}
