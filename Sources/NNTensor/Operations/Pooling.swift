import CVectorMath
import NNStore

/// The largest element of each window, in each channel. The gradient goes to the first one of equals; NaN is the largest.
///
/// - Parameters:
///   - x: `[batch, channels, height, width]`, or one image without the first dimension.
///   - kernel: the extents of a window.
///   - stride: how far windows are apart; those of the kernel if not given.
///   - padding: how far windows reach beyond the image, at most half of the kernel.
///   - dilation: how far the elements of a window are apart.
/// - Returns: `[batch, channels, rows of windows, windows in a row]`
/// - Throws: ``TensorError/shapeMismatch(operation:shapes:reason:)``,
///   ``TensorError/dtypeMismatch(operation:dtypes:reason:)`` if the elements are no floats,
///   ``TensorError/invalidArgument(operation:reason:)``.
public func maxPool2d(
    _ x: Tensor, _ kernel: Extent2d, stride: Extent2d? = nil, padding: Extent2d = 0, dilation: Extent2d = 1
) throws -> Tensor {
    if x.rank == 3 {
        return try maxPool2d(x.unsqueeze(0), kernel, stride: stride, padding: padding, dilation: dilation).squeeze(0)
    }
    guard x.rank == 4 else {
        throw TensorError.shapeMismatch(
            operation: "maxPool2d", shapes: [x.shape], reason: "[batch, channels, height, width] is wanted")
    }
    guard x.dtype.isFloatingPoint else {
        throw TensorError.dtypeMismatch(
            operation: "maxPool2d", dtypes: [x.dtype], reason: "only floats are pooled. Convert with to(.f32)")
    }
    // With more, a window might see nothing but padding.
    guard 2 * padding.height <= kernel.height, 2 * padding.width <= kernel.width else {
        throw TensorError.invalidArgument(
            operation: "maxPool2d", reason: "padding \(padding.text) is more than half of the kernel \(kernel.text)")
    }
    let windows = try Windows(kernel: kernel, stride: stride ?? kernel, padding: padding, dilation: dilation)
        .placed(in: x.shape, channels: 1, "maxPool2d")
    let converted = try x.converted(to: Promotion.computing(x.dtype), "maxPool2d")
    let images = try converted.isContiguous ? converted : converted.copied("maxPool2d")
    let shape = [x.shape[0], x.shape[1], windows.out_height, windows.out_width]
    let largest = try Tensor.result(images.dtype, shape)
    let places = try Tensor.result(.i64, shape)
    let from = try images.elements(for: "maxPool2d")
    let (to, positions) = (
        try largest.writableElements(for: "maxPool2d"), try places.writableElements(for: "maxPool2d")
    )
    let (inSize, outSize) = (windows.height * windows.width, windows.out_height * windows.out_width)
    let planes = largest.count / max(1, outSize)
    Parallelism.forEach(planes, threads: x.count < 1 << 16 ? 1 : Parallelism.threads) { plane in
        unsafe PoolingKernels.run(
            windows, from.type, from.address(plane * inSize)!, to.address(plane * outSize)!,
            positions.address(plane * outSize)!)
    }
    let result = try largest.converted(to: x.dtype, "maxPool2d")
    if Tensor.isRecording([x]) {
        let saved = SavedValue(places, for: "maxPool2d")
        let whole = x.shape
        result.record("maxPool2d", [x]) { gradient, _ in
            let sum = try Tensor.result(Promotion.computing(gradient.dtype), [planes, inSize])
            try sum.scatterAdd(
                1, saved.value().reshape([planes, outSize]), gradient.reshape([planes, outSize]), "maxPool2d")
            return [try sum.reshape(whole)]
        }
    }
    return result
}

private enum PoolingKernels {
    @unsafe static func run(
        _ windows: nnstore_windows, _ type: nnstore_element, _ image: UnsafeMutableRawPointer,
        _ to: UnsafeMutableRawPointer, _ positions: UnsafeMutableRawPointer
    ) {
        let positions = unsafe positions.assumingMemoryBound(to: Int64.self)
        unsafe withUnsafePointer(to: windows) { windows in
            if type == nnstore_f64 {
                unsafe nnstore_max_pool_f64(
                    windows, image.assumingMemoryBound(to: Double.self), to.assumingMemoryBound(to: Double.self),
                    positions)
            } else {
                unsafe nnstore_max_pool_f32(
                    windows, image.assumingMemoryBound(to: Float.self), to.assumingMemoryBound(to: Float.self),
                    positions)
            }
        }
    }
}
