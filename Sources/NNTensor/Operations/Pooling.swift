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
    let images = try x.prepared(for: "maxPool2d")
    let shape = [x.shape[0], x.shape[1], windows.out_height, windows.out_width]
    let largest = try Tensor.zeroed(images.dtype, shape, on: x.device)
    let places = try Tensor.zeroed(.i64, shape, on: x.device)
    let (inSize, outSize) = (windows.height * windows.width, windows.out_height * windows.out_width)
    let planes = largest.count / max(1, outSize)
    if x.device.isGPU {
        try GPUWindows.maxPool(images, windows, planes: planes, largest: largest, positions: places)
    } else {
        let from = try images.elements(for: "maxPool2d")
        let (to, positions) = (
            try largest.writableElements(for: "maxPool2d"), try places.writableElements(for: "maxPool2d")
        )
        Parallelism.forEach(planes, threads: x.count < 1 << 16 ? 1 : Parallelism.threads) { plane in
            unsafe withUnsafePointer(to: windows) { windows in
                let (image, place) = (plane * inSize, plane * outSize)
                if from.type == nnstore_f64 {
                    unsafe nnstore_max_pool_f64(
                        windows, from.pointer(image), to.pointer(place), positions.pointer(place))
                } else {
                    unsafe nnstore_max_pool_f32(
                        windows, from.pointer(image), to.pointer(place), positions.pointer(place))
                }
            }
        }
    }
    let result = try largest.converted(to: x.dtype, "maxPool2d")
    if Tensor.isRecording([x]) {
        let saved = SavedValue(places, for: "maxPool2d")
        let whole = x.shape
        result.record("maxPool2d", [x]) { gradient, _ in
            let sum = try Tensor.zeroed(
                Promotion.computing(gradient.dtype), [planes, inSize], on: gradient.device)
            try sum.scatterAdd(
                1, saved.value().reshape([planes, outSize]), gradient.reshape([planes, outSize]), "maxPool2d")
            return [try sum.reshape(whole)]
        }
    }
    return result
}
