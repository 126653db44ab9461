import COpenBLAS
import NNStore

extension Initializer {
    /// A matrix whose rows (or columns, where these are fewer) are orthogonal and have length `gain`, all such matrices
    /// equally likely (A. Saxe, J. McClelland, S. Ganguli: Exact solutions to the nonlinear dynamics of learning in deep
    /// linear neural networks, 2013).
    ///
    /// - Parameter tensor: `[out, in]`; of more dimensions, all but the first count as one.
    /// - Throws: ``TensorError/invalidArgument(operation:reason:)`` for fewer than two dimensions, or for extents beyond
    ///   what LAPACK can take.
    public static func orthogonal(_ tensor: Tensor, gain: Double = 1, generator: Generator? = nil) throws {
        try tensor.requireValue("orthogonal")
        guard tensor.rank >= 2, tensor.count <= Int(Int32.max) else {
            throw TensorError.invalidArgument(
                operation: "orthogonal",
                reason: "shape \(tensor.shape): two dimensions or more, and at most 2^31 elements, are wanted")
        }
        try requireFloat(tensor, "orthogonal")
        if tensor.count == 0 { return }
        let (rows, columns) = (tensor.shape[0], tensor.count / tensor.shape[0])
        let (fewer, more) = (min(rows, columns), max(rows, columns))
        // Row by row, a matrix of few rows is one of few columns to LAPACK, which goes by columns.
        let drawn = Tensor.randn([fewer, more], dtype: .f64, generator: generator)
        try MatrixKernels.makeRowsOrthonormal(drawn)
        let matrix = try BinaryOperation.multiply(rows <= columns ? drawn : drawn.T, Tensor(number: gain))
        try write(matrix.reshape(tensor.shape), to: tensor, "orthogonal")
    }
}

extension MatrixKernels {
    /// Makes the rows of a contiguous F64 matrix, which are not more than its columns, orthonormal: the first factor of
    /// its QR decomposition, with the signs that make the second one's diagonal positive, and so the first one unique.
    static func makeRowsOrthonormal(_ matrix: Tensor) throws {
        _ = oneThread
        var (m, n) = (Int32(matrix.shape[1]), Int32(matrix.shape[0]))
        let elements = try matrix.writableElements(for: "orthogonal")
        let a = unsafe elements.address(0)!.assumingMemoryBound(to: Double.self)
        var tau = [Double](repeating: 0, count: Int(n))
        // 64 is LAPACK's block of columns; more would not help.
        var workCount = n * 64
        var work = [Double](repeating: 0, count: Int(workCount))
        var status: Int32 = 0
        unsafe dgeqrf_(&m, &n, a, &m, &tau, &work, &workCount, &status)
        let signs = (0..<Int(n)).map { unsafe a[$0 * Int(m) + $0] < 0 ? -1.0 : 1.0 }
        var k = n
        unsafe dorgqr_(&m, &n, &k, a, &m, tau, &work, &workCount, &status)
        for (row, sign) in signs.enumerated() where sign < 0 {
            for column in 0..<Int(m) { unsafe a[row * Int(m) + column] *= sign }
        }
    }
}
