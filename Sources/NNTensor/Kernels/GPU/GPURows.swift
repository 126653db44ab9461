import CCUDA
import NNDevices
import NNStore

/// Softmax of rows of tensors on a GPU.
enum GPURows {
    /// From this length on a block of threads shares a row.
    private static let longRow = 1024

    /// Softmax of each row of `x`, or its logarithm; or the gradients, if there is one to the results that `x` then has. All are
    /// F32 or F64 and contiguous.
    static func softmax(
        _ x: Tensor, gradient: Tensor?, isLogarithm: Bool, to result: Tensor, _ operation: String
    ) throws {
        guard x.count > 0, let length = x.shape.last else { return }
        let from = try GPUTensor(x, operation)
        let incoming = try gradient.map { try GPUTensor($0, operation) }
        let to = try GPUTensor(writing: result, operation)
        var work = nnstore_kernel_rows()
        (work.rows, work.length) = (UInt64(x.count / length), UInt64(length))
        (work.from, work.gradient, work.to) = (from.address, incoming?.address ?? 0, to.address)
        work.is_logarithm = isLogarithm ? 1 : 0
        let isLong = length >= longRow
        try from.gpu.launch(
            .softmax(GPUTensor.suffix(from.type), isGradient: gradient != nil, isLong: isLong),
            x.count / length * (isLong ? GPU.blockSize : GPU.warpSize), work,
            keeping: [from.storage, to.storage] + (incoming.map { [$0.storage] } ?? []))
    }
}
