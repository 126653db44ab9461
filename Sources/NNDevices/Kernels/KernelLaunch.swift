import CCUDA
import NNStore

/// A kernel of CCUDA's files.
package struct Kernel: Hashable, Sendable {
    let file: UInt32
    let name: String

    private init(_ file: nnstore_kernels, _ name: String) {
        (self.file, self.name) = (file.rawValue, "nnstore_kernel_" + name)
    }

    /// Operations on elements, calculated in F32, F64 or I64.
    package static func elementwise(_ type: String) -> Kernel {
        Kernel(nnstore_elementwise_kernels, "elementwise_" + type)
    }
    /// Sums, calculated in F64 or I64.
    package static func sum(isInteger: Bool) -> Kernel {
        Kernel(nnstore_reductions_kernels, isInteger ? "sum_integer" : "sum_float")
    }
    /// The largest or smallest elements.
    package static func extreme(isInteger: Bool) -> Kernel {
        Kernel(nnstore_reductions_kernels, isInteger ? "extreme_integer" : "extreme_float")
    }
    /// Softmax of rows or its gradient; of long ones by a block of threads for each.
    package static func softmax(_ type: String, isGradient: Bool, isLong: Bool) -> Kernel {
        Kernel(
            nnstore_rows_kernels, (isLong ? "long_" : "") + (isGradient ? "softmax_gradient_" : "softmax_") + type)
    }
    /// Products of matrices.
    package static func product(_ type: String) -> Kernel { Kernel(nnstore_matrices_kernels, "product_" + type) }
    /// Elements by index.
    package static let gather = Kernel(nnstore_indexing_kernels, "gather")
    /// Additions by index.
    package static func addAt(_ type: String) -> Kernel { Kernel(nnstore_indexing_kernels, "add_at_" + type) }
    /// Windows as columns.
    package static func unfold(_ type: String) -> Kernel { Kernel(nnstore_windows_kernels, "unfold_" + type) }
    /// Columns back to windows.
    package static func fold(_ type: String) -> Kernel { Kernel(nnstore_windows_kernels, "fold_" + type) }
    /// The largest elements of windows.
    package static func maxPool(_ type: String) -> Kernel { Kernel(nnstore_windows_kernels, "max_pool_" + type) }
    /// A step of stochastic gradient descent.
    package static func sgd(_ type: String) -> Kernel { Kernel(nnstore_optimizers_kernels, "sgd_" + type) }
    /// A step of Adam.
    package static func adam(_ type: String) -> Kernel { Kernel(nnstore_optimizers_kernels, "adam_" + type) }
}

extension GPU {
    /// Threads of a block, as `kernel.h` has them, and the most blocks: kernels take several pieces of work a thread where
    /// there are more.
    package static let blockSize = 256
    /// Threads that can exchange values without waiting for others.
    package static let warpSize = 32
    private static let mostBlocks = 1 << 16

    /// Begins a kernel in the compute lane.
    ///
    /// - Parameters:
    ///   - kernel: whose file is compiled for the device when one of its kernels is first used.
    ///   - count: the pieces of work.
    ///   - arguments: the structure of `cuda_kernels.h` that the kernel takes. Sound if the addresses in it are those of
    ///     `storages`, which have what the kernel reads and writes.
    ///   - storages: are on this GPU, and kept until the kernel is begun; releasing them later waits for it.
    package func launch<Arguments: BitwiseCopyable>(
        _ kernel: Kernel, _ count: Int, _ arguments: Arguments, keeping storages: [DeviceStorage]
    ) throws(DeviceError) {
        if count == 0 { return }
        let context = try context()
        let blocks = UInt32(min(GPU.mostBlocks, (count + GPU.blockSize - 1) / GPU.blockSize))
        defer { withExtendedLifetime(storages) {} }
        try context.kernels.launch(
            kernel, blocks: blocks, threads: UInt32(GPU.blockSize), arguments, context)
    }

    /// Sets the bytes of a storage to zero, in the compute lane.
    package func zero(_ storage: DeviceStorage) throws(DeviceError) {
        if storage.byteCount == 0 { return }
        let context = try context()
        try context.with { functions throws(DeviceError) in
            // Sound: the storage is released in the same lane.
            try context.check(
                unsafe functions.fill(storage.address, 0, storage.byteCount, context.stream(.compute)),
                "setting \(storage.byteCount) bytes to zero")
        }
    }
}
