import CCUDA
import CVectorMath
import NNDevices
import NNStore

/// Products of matrices on a GPU.
enum GPUMatrices {
    /// Writes the products of the matrices in the last two dimensions, or adds them to what is there. Operands have any
    /// strides and are broadcast; the result is contiguous. All have one dtype: F32, F64 or I64.
    static func multiply(
        _ left: Tensor, _ right: Tensor, to result: Tensor, adding: Bool, _ operation: String
    ) throws {
        let (a, b) = (try GPUTensor(left, operation), try GPUTensor(right, operation))
        let c = try GPUTensor(writing: result, operation)
        let shape = c.layout.shape
        let batch = Array(shape.dropLast(2))
        try KernelDimensions.check(batch.count, operation)
        var work = nnstore_kernel_product()
        work.rows = UInt64(shape[shape.count - 2])
        work.columns = UInt64(shape[shape.count - 1])
        work.inner = UInt64(a.layout.shape[a.layout.rank - 1])
        work.batch = UInt64(batch.reduce(1, *))
        work.batch_rank = Int32(batch.count)
        work.is_adding = adding ? 1 : 0
        KernelDimensions.write(batch, to: &work.batch_extents)
        work.left = matrices(a, batch, inner: [Int(work.rows), Int(work.inner)])
        work.right = matrices(b, batch, inner: [Int(work.inner), Int(work.columns)])
        work.result = c.address
        if work.inner == 0 { return }
        // A thread makes four by four elements.
        let tiles = (Int(work.rows) + 3) / 4 * ((Int(work.columns) + 3) / 4) * Int(work.batch)
        try c.gpu.launch(.product(GPUTensor.suffix(c.type)), tiles, work)
    }

    private static func matrices(
        _ tensor: GPUTensor, _ batch: [Int], inner: [Int]
    ) -> nnstore_kernel_matrices {
        let strides = tensor.layout.strides(in: batch + inner)
        var matrices = nnstore_kernel_matrices()
        matrices.address = tensor.address
        matrices.row = Int64(strides[batch.count])
        matrices.column = Int64(strides[batch.count + 1])
        KernelDimensions.write(Array(strides.dropLast(2)), to: &matrices.batch)
        return matrices
    }
}
