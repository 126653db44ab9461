import CVectorMath
import NNStore

/// exp(x) divided by its sum over a dimension, which so adds up to 1; the largest element is subtracted first, so that
/// nothing overflows.
///
/// - Throws: ``TensorError/invalidArgument(operation:reason:)`` if there is no such dimension;
///   ``TensorError/dtypeMismatch(operation:dtypes:reason:)`` if the elements are no floats.
public func softmax(_ x: Tensor, dimension: Int) throws -> Tensor {
    try SoftmaxOperation(name: "softmax", isLogarithm: false)(x, dimension)
}

/// The logarithm of ``softmax(_:dimension:)``, more exactly than by two functions.
///
/// - Throws: as ``softmax(_:dimension:)``.
public func logSoftmax(_ x: Tensor, dimension: Int) throws -> Tensor {
    try SoftmaxOperation(name: "logSoftmax", isLogarithm: true)(x, dimension)
}

private struct SoftmaxOperation {
    let name: String
    let isLogarithm: Bool

    /// As many elements are worth handing to a thread.
    private static let piece = 1 << 15

    func callAsFunction(_ x: Tensor, _ dimension: Int) throws -> Tensor {
        guard x.dtype.isFloatingPoint else {
            throw TensorError.dtypeMismatch(
                operation: name, dtypes: [x.dtype], reason: "only floats have one. Convert with to(.f32)")
        }
        if x.rank == 0 { return try self(x.unsqueeze(0), dimension).squeeze(0) }
        let axis = try x.axis(dimension, name)
        if axis != x.rank - 1 { return try self(x.transpose(axis, -1), -1).transpose(axis, -1) }
        let computing = try x.prepared(for: name)
        let output = try Tensor.unwritten(computing.dtype, x.shape, on: x.device)
        try rows(computing, nil, output)
        let result = try output.converted(to: x.dtype, name)
        if Tensor.isRecording([x]) {
            let saved = SavedValue(result, for: name)
            result.record(name, [x]) { gradient, _ in [try self.gradient(gradient, of: saved.value())] }
        }
        return result
    }

    private func gradient(_ gradient: Tensor, of result: Tensor) throws -> Tensor {
        let computing = try result.prepared(for: name)
        let output = try Tensor.unwritten(computing.dtype, result.shape, on: result.device)
        try rows(computing, gradient.prepared(for: name), output)
        return output
    }

    /// Calculates the rows, or their gradients if there is one; everything is contiguous.
    private func rows(_ x: Tensor, _ gradient: Tensor?, _ output: Tensor) throws {
        if x.device.isGPU {
            return try GPURows.softmax(x, gradient: gradient, isLogarithm: isLogarithm, to: output, name)
        }
        let length = x.shape.last!
        guard x.count > 0 else { return }
        let source = try x.elements(for: name)
        let incoming = try gradient?.elements(for: name)
        let destination = try output.writableElements(for: name)
        let isDouble = x.dtype == .f64
        let rows = x.count / length
        let rowsPerTask = max(1, SoftmaxOperation.piece / length)
        let threads = x.count < 4 * SoftmaxOperation.piece ? 1 : Parallelism.threads
        Parallelism.forEach((rows + rowsPerTask - 1) / rowsPerTask, threads: threads) { [isLogarithm] task in
            let first = task * rowsPerTask
            let count = min(rowsPerTask, rows - first)
            let offset = first * length
            switch (isDouble, incoming) {
            case (true, nil):
                unsafe nnstore_softmax_f64(
                    count, length, source.pointer(offset), destination.pointer(offset), isLogarithm)
            case (false, nil):
                unsafe nnstore_softmax_f32(
                    count, length, source.pointer(offset), destination.pointer(offset), isLogarithm)
            case (true, let slopes?):
                unsafe nnstore_softmax_gradient_f64(
                    count, length, slopes.pointer(offset), source.pointer(offset), destination.pointer(offset),
                    isLogarithm)
            case (false, let slopes?):
                unsafe nnstore_softmax_gradient_f32(
                    count, length, slopes.pointer(offset), source.pointer(offset), destination.pointer(offset),
                    isLogarithm)
            }
        }
    }
}
