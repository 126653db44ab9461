import CCUDA

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

/// cuBLAS, opened when the program runs, never closed.
///
/// Sound to send: its functions stay valid for the life of the process, and each handle is used by one thread at a time.
@safe struct BlasLibrary: @unchecked Sendable {
    /// The path of the library, where it is not one of the usual names.
    static let pathVariable = "NNSTORE_CUBLAS"

    /// The process's cuBLAS; `nil` if there is none that can be used.
    static let shared: BlasLibrary? = {
        // Sound: the environment's text is copied before anybody could change it.
        let path = unsafe getenv(pathVariable).map { unsafe String(cString: $0) }
        for name in path.map({ [$0] }) ?? ["libcublas.so.13", "libcublas.so.12"] {
            if let library = BlasLibrary(name) { return library }
        }
        return nil
    }()

    let create: nnstore_cublasCreate
    let destroy: nnstore_cublasDestroy
    let setStream: nnstore_cublasSetStream
    let setWorkspace: nnstore_cublasSetWorkspace
    let multiplyF32: nnstore_cublasSgemmStridedBatched
    let multiplyF64: nnstore_cublasDgemmStridedBatched

    private init?(_ name: String) {
        guard let handle = unsafe dlopen(name, RTLD_NOW | RTLD_LOCAL) else { return nil }
        // Sound: the symbols of these names have these types in every library that has them.
        func function<Function>(_ name: String) -> Function? {
            unsafe dlsym(handle, name).map { unsafe unsafeBitCast($0, to: Function.self) }
        }
        guard let create: nnstore_cublasCreate = unsafe function("cublasCreate_v2"),
            let destroy: nnstore_cublasDestroy = unsafe function("cublasDestroy_v2"),
            let setStream: nnstore_cublasSetStream = unsafe function("cublasSetStream_v2"),
            let setWorkspace: nnstore_cublasSetWorkspace = unsafe function("cublasSetWorkspace_v2"),
            let multiplyF32: nnstore_cublasSgemmStridedBatched = unsafe function("cublasSgemmStridedBatched"),
            let multiplyF64: nnstore_cublasDgemmStridedBatched = unsafe function("cublasDgemmStridedBatched")
        else { return nil }
        unsafe (self.create, self.destroy) = unsafe (create, destroy)
        unsafe (self.setStream, self.setWorkspace) = unsafe (setStream, setWorkspace)
        unsafe (self.multiplyF32, self.multiplyF64) = unsafe (multiplyF32, multiplyF64)
    }
}

/// A matrix, or as many as a batch has, in a device's memory, row by row.
package struct BlasMatrices {
    /// Of the first element.
    package var address: UInt64
    /// How many elements apart rows are; of one that is transposed, columns.
    package var stride: Int
    /// Whether columns lie one after another and not rows.
    package var isTransposed: Bool
    /// How many elements apart the matrices of a batch are.
    package var batchStride: Int

    package init(address: UInt64, stride: Int, isTransposed: Bool, batchStride: Int) {
        (self.address, self.stride) = (address, stride)
        (self.isTransposed, self.batchStride) = (isTransposed, batchStride)
    }

    fileprivate var operation: Int32 {
        Int32(isTransposed ? nnstore_cublas_transposed : nnstore_cublas_as_it_is)
    }
}

/// cuBLAS on one device.
///
/// Sound to send: the handle is used with its context's lock held, and goes with the object.
@safe final class Blas: @unchecked Sendable {
    /// What cuBLAS recommends for the largest devices (cublasSetWorkspace, Hopper).
    private static let workspaceSize = 32 << 20

    private let library: BlasLibrary
    private let handle: nnstore_cublas
    private let workspace: nnstore_cu_pointer

    /// A handle for a stream of the current context, with a workspace that stays as long as it; `nil` if a call fails, or a
    /// first product.
    init?(_ library: BlasLibrary, stream: nnstore_cu_stream, workspace: (Int) -> nnstore_cu_pointer?) {
        var handle: nnstore_cublas?
        guard unsafe library.create(&handle) == 0, let handle = unsafe handle else { return nil }
        guard unsafe library.setStream(handle, stream) == 0, let workspace = workspace(Blas.workspaceSize),
            unsafe library.setWorkspace(handle, workspace, Blas.workspaceSize) == 0
        else {
            _ = unsafe library.destroy(handle)
            return nil
        }
        self.library = library
        unsafe self.handle = unsafe handle
        self.workspace = workspace
        // The workspace serves as operands; what they hold does not matter.
        let matrices = BlasMatrices(address: workspace, stride: 16, isTransposed: false, batchStride: 0)
        guard
            multiply(matrices, matrices, to: workspace + 4096, rows: 16, columns: 16, inner: 16, batch: 1, false, false)
        else { return nil }
    }

    deinit { _ = unsafe library.destroy(handle) }

    /// Begins products; whether that went well.
    func multiply(
        _ left: BlasMatrices, _ right: BlasMatrices, to result: UInt64, rows: Int, columns: Int, inner: Int, batch: Int,
        _ isAdding: Bool, _ isDouble: Bool
    ) -> Bool {
        // A matrix row by row is, column by column, its transpose, and (AB)ᵀ = BᵀAᵀ.
        let (m, n, k) = (Int32(columns), Int32(rows), Int32(inner))
        if isDouble {
            var (factor, kept) = (1.0, isAdding ? 1.0 : 0.0)
            return unsafe library.multiplyF64(
                handle, right.operation, left.operation, m, n, k, &factor, right.address, Int32(right.stride),
                Int64(right.batchStride), left.address, Int32(left.stride), Int64(left.batchStride), &kept, result, m,
                Int64(rows * columns), Int32(batch)) == 0
        }
        var (factor, kept): (Float, Float) = (1, isAdding ? 1 : 0)
        return unsafe library.multiplyF32(
            handle, right.operation, left.operation, m, n, k, &factor, right.address, Int32(right.stride),
            Int64(right.batchStride), left.address, Int32(left.stride), Int64(left.batchStride), &kept, result, m,
            Int64(rows * columns), Int32(batch)) == 0
    }
}

extension GPU {
    /// Whether products go to cuBLAS where it is; a switch for comparisons.
    @TaskLocal package static var usesBlas = true

    /// Begins products of matrices by cuBLAS in the compute lane: `result = left right`, or that added to what is there. The
    /// result's matrices are contiguous. All extents and strides fit 32 bits.
    ///
    /// - Parameter storages: what the matrices are in; kept until the products are begun.
    /// - Returns: whether cuBLAS is there and took them.
    package func multiplyByBlas(
        _ left: BlasMatrices, _ right: BlasMatrices, to result: UInt64, rows: Int, columns: Int, inner: Int, batch: Int,
        isAdding: Bool, isDouble: Bool, keeping storages: [DeviceStorage]
    ) throws(DeviceError) -> Bool {
        guard GPU.usesBlas, let library = BlasLibrary.shared else { return false }
        defer { withExtendedLifetime(storages) {} }
        return try context().withBlas(library) { blas in
            blas.multiply(
                left, right, to: result, rows: rows, columns: columns, inner: inner, batch: batch, isAdding, isDouble)
        }
    }

    /// Whether products go to cuBLAS.
    package func hasBlas() throws(DeviceError) -> Bool {
        guard GPU.usesBlas, let library = BlasLibrary.shared else { return false }
        return try context().withBlas(library) { _ in true }
    }
}
