import CCUDA
import CVectorMath
import NNDevices
import NNStore

/// Products of matrices on a GPU: by cuBLAS where it is to be had and can read the operands, else by a kernel.
enum GPUMatrices {
    /// Writes the products of the matrices in the last two dimensions, or adds them to what is there. Operands have any
    /// strides and are broadcast; the result is contiguous. All have one dtype: F32, F64 or I64.
    static func multiply(
        _ left: Tensor, _ right: Tensor, to result: Tensor, adding: Bool, _ operation: String
    ) throws {
        let product = Product(
            left: try GPUTensor(left, operation), right: try GPUTensor(right, operation),
            result: try GPUTensor(writing: result, operation), isAdding: adding)
        if product.inner == 0 || product.result.layout.isEmpty { return }
        if try !product.multiplyByBlas() { try product.multiplyByKernel(operation) }
    }

    private struct Product {
        let left: GPUTensor
        let right: GPUTensor
        let result: GPUTensor
        let isAdding: Bool
        /// The dimensions in front of the matrices, joined as far as they can be, with the strides of both operands.
        let batch: (extents: [Int], strides: [[Int]])

        init(left: GPUTensor, right: GPUTensor, result: GPUTensor, isAdding: Bool) {
            (self.left, self.right, self.result, self.isAdding) = (left, right, result, isAdding)
            let extents = Array(result.layout.shape.dropLast(2))
            batch = KernelDimensions.joined(
                extents,
                [left, right].map { Array($0.layout.strides(in: extents + $0.layout.shape.suffix(2)).dropLast(2)) })
        }

        var rows: Int { result.layout.shape[result.layout.rank - 2] }
        var columns: Int { result.layout.shape[result.layout.rank - 1] }
        var inner: Int { left.layout.shape[left.layout.rank - 1] }
        private var storages: [DeviceStorage] { [left.storage, right.storage, result.storage] }

        func multiplyByKernel(_ operation: String) throws {
            func matrices(_ tensor: GPUTensor, _ strides: [Int]) -> nnstore_kernel_matrices {
                let own = tensor.layout.strides
                var matrices = nnstore_kernel_matrices()
                matrices.address = tensor.address
                (matrices.row, matrices.column) = (Int64(own[own.count - 2]), Int64(own[own.count - 1]))
                KernelDimensions.write(strides, to: &matrices.batch)
                return matrices
            }
            try KernelDimensions.check(batch.extents.count, operation)
            var work = nnstore_kernel_product()
            (work.rows, work.columns, work.inner) = (UInt64(rows), UInt64(columns), UInt64(inner))
            work.batch = UInt64(batch.extents.reduce(1, *))
            work.batch_rank = Int32(batch.extents.count)
            work.is_adding = isAdding ? 1 : 0
            KernelDimensions.write(batch.extents, to: &work.batch_extents)
            work.left = matrices(left, batch.strides[0])
            work.right = matrices(right, batch.strides[1])
            work.result = result.address
            // A thread makes four by four elements.
            let tiles = (rows + 3) / 4 * ((columns + 3) / 4) * Int(work.batch)
            try result.gpu.launch(.product(GPUTensor.suffix(result.type)), tiles, work, keeping: storages)
        }

        /// As many calls are worth it where the batch has several dimensions.
        private static let mostCalls = 64

        /// Begins the products by cuBLAS, if it is there and can read the operands.
        func multiplyByBlas() throws -> Bool {
            // The last dimension of the batch in one call, the others one after another.
            let outer = batch.extents.dropLast()
            let calls = outer.reduce(1, *)
            guard result.type == nnstore_f32 || result.type == nnstore_f64,
                MatrixKernels.Matrices.isReadable(left.layout), MatrixKernels.Matrices.isReadable(right.layout),
                rows < Int(Int32.max), columns < Int(Int32.max), calls <= Product.mostCalls,
                batch.extents.last ?? 1 < Int(Int32.max)
            else { return false }
            let inOneCall = batch.extents.last ?? 1
            let size = inOneCall * rows * columns * result.layout.dtype.bytesPerBlock
            for number in 0..<calls {
                let done = try result.gpu.multiplyByBlas(
                    matrices(left, batch.strides[0], number), matrices(right, batch.strides[1], number),
                    to: result.address + UInt64(number * size), rows: rows, columns: columns, inner: inner,
                    batch: inOneCall, isAdding: isAdding, isDouble: result.type == nnstore_f64, keeping: storages)
                if done { continue }
                if number == 0 { return false }
                // Beginning anew would add the first products twice.
                throw TensorError.wrongDevice(
                    operation: "matmul", devices: [result.gpu.device.description],
                    reason:
                        "cuBLAS made \(number) of \(calls) products and refused the next one. Without it (a path in "
                        + "NNSTORE_CUBLAS that leads nowhere) the library's own kernel makes all of them")
            }
            return true
        }

        /// The matrices of one call.
        private func matrices(_ tensor: GPUTensor, _ strides: [Int], _ number: Int) -> BlasMatrices {
            var (offset, rest) = (0, number)
            for dimension in batch.extents.indices.dropLast().reversed() {
                offset += rest % batch.extents[dimension] * strides[dimension]
                rest /= batch.extents[dimension]
            }
            // As they are, also where the extent is 1, which BLAS looks at too.
            let (shape, own) = (tensor.layout.shape, tensor.layout.strides)
            let (down, across) = (own[own.count - 2], own[own.count - 1])
            let isTransposed = !(across == 1 && down >= shape[shape.count - 1])
            return BlasMatrices(
                address: tensor.address + UInt64(offset * tensor.layout.dtype.bytesPerBlock),
                stride: max(1, isTransposed ? across : down), isTransposed: isTransposed,
                batchStride: strides.last ?? 0)
        }
    }
}
