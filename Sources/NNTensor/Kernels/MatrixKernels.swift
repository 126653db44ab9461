import COpenBLAS
import CVectorMath
import NNStore

/// Products of matrices by OpenBLAS.
///
/// OpenBLAS runs on the calling thread alone, because its sums change with the number of its threads. Large products are cut
/// into tiles, which only the shape decides, and the tiles are spread over the threads.
enum MatrixKernels {
    /// A batch of matrices in memory.
    struct Matrices {
        let elements: Elements
        let rows: Int
        let columns: Int
        /// The distances of neighbours in a column and in a row, in elements.
        let rowStride: Int
        let columnStride: Int
        /// Where each matrix of the batch begins.
        let offsets: [Int]

        /// - Parameter elements: of at least two dimensions.
        /// - Parameter batch: the dimensions in front of the last two, which those of the elements are broadcast to.
        init(_ elements: Elements, batch: [Int]) {
            let layout = elements.layout
            self.elements = elements
            rows = layout.shape[layout.rank - 2]
            columns = layout.shape[layout.rank - 1]
            rowStride = layout.strides[layout.rank - 2]
            columnStride = layout.strides[layout.rank - 1]
            let strides = elements.strides(in: batch + [rows, columns]).dropLast(2)
            var offsets = [0]
            for (extent, stride) in zip(batch, strides) {
                offsets = offsets.flatMap { start in (0..<extent).map { start + $0 * stride } }
            }
            self.offsets = offsets
        }

        /// One matrix that lies row by row in memory from an element on, or its transpose, which then has `columns` rows.
        init(_ elements: Elements, _ offset: Int, rows: Int, columns: Int, isTransposed: Bool = false) {
            self.elements = elements
            self.rows = isTransposed ? columns : rows
            self.columns = isTransposed ? rows : columns
            rowStride = isTransposed ? 1 : columns
            columnStride = isTransposed ? columns : 1
            offsets = [offset]
        }

        /// As ``init(_:_:rows:columns:isTransposed:)``, of all windows.
        init(_ windows: Columns, rows: Int, columns: Int, isTransposed: Bool = false) {
            self.init(windows.elements, 0, rows: rows, columns: columns, isTransposed: isTransposed)
        }

        /// Whether BLAS can read the matrices as they are: row by row, or column by column.
        static func isReadable(_ layout: TensorLayout) -> Bool {
            let (rows, columns) = (layout.shape[layout.rank - 2], layout.shape[layout.rank - 1])
            let (down, right) = (layout.strides[layout.rank - 2], layout.strides[layout.rank - 1])
            let largest = max(rows, columns, down, right)
            guard largest < Int(Int32.max) else { return false }
            return right == 1 && down >= columns || down == 1 && right >= rows
        }

        fileprivate var isTransposed: Bool { !(columnStride == 1 && rowStride >= columns) }
        fileprivate var leadingDimension: Int32 { Int32(max(1, isTransposed ? columnStride : rowStride)) }
        fileprivate var order: CBLAS_TRANSPOSE { isTransposed ? CblasTrans : CblasNoTrans }
    }

    static let oneThread: Void = openblas_set_num_threads(1)

    /// From as many multiplications on, a product is cut into tiles.
    private static let smallestTiled = 1 << 24
    private static let tiles = 8
    private static let smallestTile = 64

    /// Writes the products, or adds them to what is there. The result's matrices are contiguous.
    static func multiply(_ left: Matrices, _ right: Matrices, to result: Matrices, adding: Bool) {
        _ = oneThread
        let (m, n, k) = (result.rows, result.columns, left.columns)
        if m == 0 || n == 0 || k == 0 { return }
        let isByRows = m >= n
        let extent = isByRows ? m : n
        let isTiled = m * n * k >= smallestTiled
        let tile = isTiled ? max(smallestTile, ((extent + tiles - 1) / tiles + 15) / 16 * 16) : extent
        let count = (extent + tile - 1) / tile
        let batch = result.offsets.count
        let threads = m * n * k * batch < 1 << 22 ? 1 : Parallelism.threads
        Parallelism.forEach(batch * count, threads: threads) { index in
            let start = index % count * tile
            let size = min(tile, extent - start)
            multiplyTile(
                left, right, result, index / count, rows: isByRows ? start..<start + size : 0..<m,
                columns: isByRows ? 0..<n : start..<start + size, adding)
        }
    }

    private static func multiplyTile(
        _ left: Matrices, _ right: Matrices, _ result: Matrices, _ number: Int, rows: Range<Int>, columns: Range<Int>,
        _ adding: Bool
    ) {
        let a = unsafe left.elements.address(left.offsets[number] + rows.lowerBound * left.rowStride)!
        let b = unsafe right.elements.address(right.offsets[number] + columns.lowerBound * right.columnStride)!
        let c = unsafe result.elements.address(
            result.offsets[number] + rows.lowerBound * result.rowStride + columns.lowerBound)!
        let (m, n, k) = (Int32(rows.count), Int32(columns.count), Int32(left.columns))
        if result.elements.type == nnstore_f64 {
            unsafe cblas_dgemm(
                CblasRowMajor, left.order, right.order, m, n, k, 1, a.assumingMemoryBound(to: Double.self),
                left.leadingDimension, b.assumingMemoryBound(to: Double.self), right.leadingDimension, adding ? 1 : 0,
                c.assumingMemoryBound(to: Double.self), Int32(result.rowStride))
        } else {
            unsafe cblas_sgemm(
                CblasRowMajor, left.order, right.order, m, n, k, 1, a.assumingMemoryBound(to: Float.self),
                left.leadingDimension, b.assumingMemoryBound(to: Float.self), right.leadingDimension, adding ? 1 : 0,
                c.assumingMemoryBound(to: Float.self), Int32(result.rowStride))
        }
    }

    /// Writes the products of matrices of I64.
    static func multiplyIntegers(_ left: Matrices, _ right: Matrices, to result: Matrices) {
        let (m, n, k) = (result.rows, result.columns, left.columns)
        if m == 0 || n == 0 { return }
        for number in result.offsets.indices {
            unsafe nnstore_multiply_matrices_i64(
                m, n, k, left.elements.address(left.offsets[number])?.assumingMemoryBound(to: Int64.self),
                left.rowStride,
                left.columnStride, right.elements.address(right.offsets[number])?.assumingMemoryBound(to: Int64.self),
                right.rowStride, right.columnStride,
                result.elements.address(result.offsets[number])?.assumingMemoryBound(to: Int64.self))
        }
    }
}
