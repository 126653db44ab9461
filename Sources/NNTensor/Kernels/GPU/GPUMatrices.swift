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
        if try multiplyByBlas(a, b, c, work, batch) { return }
        // A thread makes four by four elements.
        let tiles = (Int(work.rows) + 3) / 4 * ((Int(work.columns) + 3) / 4) * Int(work.batch)
        try c.gpu.launch(.product(GPUTensor.suffix(c.type)), tiles, work)
    }

    /// The products by cuBLAS, if it is there and can read the operands.
    private static func multiplyByBlas(
        _ left: GPUTensor, _ right: GPUTensor, _ result: GPUTensor, _ work: nnstore_kernel_product, _ batch: [Int]
    ) throws -> Bool {
        guard result.type == nnstore_f32 || result.type == nnstore_f64,
            MatrixKernels.Matrices.isReadable(left.layout), MatrixKernels.Matrices.isReadable(right.layout),
            result.layout.shape.allSatisfy({ $0 < Int(Int32.max) })
        else { return false }
        // The last dimension of the batch in one call, the others one after another.
        let outer = batch.dropLast().reduce(1, *)
        guard outer <= 64 else { return false }
        func matrices(_ tensor: GPUTensor, _ inner: [Int], _ number: Int) -> BlasMatrices {
            let strides = tensor.layout.strides(in: batch + inner)
            var (offset, rest) = (0, number)
            for dimension in batch.indices.dropLast().reversed() {
                offset += rest % batch[dimension] * strides[dimension]
                rest /= batch[dimension]
            }
            // As they are, also where the extent is 1, which BLAS looks at too.
            let own = tensor.layout.strides
            let (down, across) = (own[own.count - 2], own[own.count - 1])
            let isTransposed = !(across == 1 && down >= inner[1])
            return BlasMatrices(
                address: tensor.address + UInt64(offset * tensor.layout.dtype.bytesPerBlock),
                stride: max(1, isTransposed ? across : down), isTransposed: isTransposed,
                batchStride: batch.isEmpty ? 0 : strides[batch.count - 1])
        }
        let (rows, columns, inner) = (Int(work.rows), Int(work.columns), Int(work.inner))
        let size = (batch.last ?? 1) * rows * columns * result.layout.dtype.bytesPerBlock
        if size == 0 { return true }
        for number in 0..<outer {
            let done = try result.gpu.multiplyByBlas(
                matrices(left, [rows, inner], number), matrices(right, [inner, columns], number),
                to: result.address + UInt64(number * size), rows: rows, columns: columns, inner: inner,
                batch: batch.last ?? 1, isAdding: work.is_adding != 0, isDouble: result.type == nnstore_f64)
            if !done { return false }
        }
        return true
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
