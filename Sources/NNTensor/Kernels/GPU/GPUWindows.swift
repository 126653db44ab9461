import CCUDA
import CVectorMath
import NNDevices
import NNStore

/// The largest elements of windows on a GPU.
enum GPUWindows {
    /// For each window of each plane; everything is contiguous and F32 or F64.
    static func maxPool(
        _ images: Tensor, _ windows: nnstore_windows, planes: Int, largest: Tensor, positions: Tensor
    ) throws {
        let from = try GPUTensor(images, "maxPool2d")
        var work = nnstore_kernel_windows(windows, images: planes / windows.channels)
        work.image = from.address
        let (to, places) = (
            try GPUTensor(writing: largest, "maxPool2d"), try GPUTensor(writing: positions, "maxPool2d")
        )
        (work.columns, work.positions) = (to.address, places.address)
        try from.gpu.launch(
            .maxPool(GPUTensor.suffix(from.type)), largest.count, work,
            keeping: [from.storage, to.storage, places.storage])
    }
}

/// A convolution on a GPU by products of matrices, as on the CPU; all windows of some images at once become columns.
struct GPUConvolution {
    let windows: nnstore_windows
    let batch: Int
    let groups: Int
    let outPerGroup: Int
    let windowSize: Int
    let windowCount: Int

    /// The columns of as many images take no more bytes than this, or of one.
    private static let mostBytes = 256 << 20

    private func parts(_ dtype: DType) -> [Range<Int>] {
        let bytesPerImage = max(1, groups * windowSize * windowCount * dtype.bytesPerBlock)
        let count = max(1, GPUConvolution.mostBytes / bytesPerImage)
        return stride(from: 0, to: batch, by: count).map { $0..<min($0 + count, batch) }
    }

    /// Adds the products to what is there, or writes them.
    func values(_ images: Tensor, _ kernels: Tensor, to result: Tensor, isAdding: Bool) throws {
        let weight = try kernels.detach().reshape([groups, outPerGroup, windowSize])
        for part in parts(images.dtype) {
            let columns = try unfolded(images.detach().narrow(0, part), part.count)
            try GPUMatrices.multiply(
                weight, columns,
                to: result.narrow(0, part).reshape([part.count, groups, outPerGroup, windowCount]), adding: isAdding,
                "conv2d")
        }
    }

    func imageGradient(_ slopes: Tensor, _ kernels: Tensor, to result: Tensor) throws {
        let weight = try kernels.detach().reshape([groups, outPerGroup, windowSize]).transpose(1, 2)
        for part in parts(slopes.dtype) {
            let columns = try Tensor.unwritten(
                slopes.dtype, [part.count, groups, windowSize, windowCount], on: slopes.device)
            let incoming = try slopes.detach().narrow(0, part).reshape([part.count, groups, outPerGroup, windowCount])
            try GPUMatrices.multiply(weight, incoming, to: columns, adding: false, "conv2d")
            let to = try GPUTensor(writing: result.narrow(0, part), "conv2d")
            var work = nnstore_kernel_windows(windows, images: part.count * groups)
            let from = try GPUTensor(columns, "conv2d")
            (work.image, work.columns) = (to.address, from.address)
            try to.gpu.launch(
                .fold(GPUTensor.suffix(to.type)), to.layout.elementCount, work, keeping: [to.storage, from.storage])
        }
    }

    /// `[groups, outPerGroup, windowSize]`, the images' gradients added up in order.
    func weightGradient(_ slopes: Tensor, _ images: Tensor) throws -> Tensor {
        var total: Tensor?
        for part in parts(images.dtype) {
            let columns = try unfolded(images.detach().narrow(0, part), part.count).transpose(2, 3)
            let incoming = try slopes.detach().narrow(0, part).reshape([part.count, groups, outPerGroup, windowCount])
            let sums = try Tensor.unwritten(
                images.dtype, [part.count, groups, outPerGroup, windowSize], on: images.device)
            try GPUMatrices.multiply(incoming, columns, to: sums, adding: false, "conv2d")
            let sum = try sums.sum(0)
            total = try total.map { try BinaryOperation.add.values($0, sum) } ?? sum
        }
        return try total ?? Tensor.zeroed(images.dtype, [groups, outPerGroup, windowSize], on: images.device)
    }

    private func unfolded(_ images: Tensor, _ count: Int) throws -> Tensor {
        let columns = try Tensor.unwritten(images.dtype, [count, groups, windowSize, windowCount], on: images.device)
        let from = try GPUTensor(images, "conv2d")
        var work = nnstore_kernel_windows(windows, images: count * groups)
        let to = try GPUTensor(writing: columns, "conv2d")
        (work.image, work.columns) = (from.address, to.address)
        try from.gpu.launch(
            .unfold(GPUTensor.suffix(from.type)), columns.count, work, keeping: [from.storage, to.storage])
        return columns
    }
}

extension nnstore_kernel_windows {
    fileprivate init(_ windows: nnstore_windows, images: Int) {
        self.init()
        (channels, height, width) = (UInt64(windows.channels), UInt64(windows.height), UInt64(windows.width))
        (kernel_height, kernel_width) = (UInt64(windows.kernel_height), UInt64(windows.kernel_width))
        (stride_height, stride_width) = (UInt64(windows.stride_height), UInt64(windows.stride_width))
        (padding_height, padding_width) = (UInt64(windows.padding_height), UInt64(windows.padding_width))
        (dilation_height, dilation_width) = (UInt64(windows.dilation_height), UInt64(windows.dilation_width))
        (out_height, out_width) = (UInt64(windows.out_height), UInt64(windows.out_width))
        self.images = UInt64(images)
    }
}
