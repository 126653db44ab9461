import CVectorMath
import NNStore

/// The product of matrices.
///
/// Two vectors give their inner product, a matrix and a vector a vector. Of more dimensions the last two are matrices, and
/// the others, a batch of them, are broadcast. Sums of F32 are F32, of halves F32 rounded once; integers wrap around.
///
/// - Throws: ``TensorError/shapeMismatch(operation:shapes:reason:)`` if the inner extents differ or there is a scalar;
///   ``TensorError/dtypeMismatch(operation:dtypes:reason:)`` if the dtypes differ or are booleans.
public func matmul(_ left: Tensor, _ right: Tensor) throws -> Tensor {
    for operand in [left, right] { try operand.requireValue("matmul") }
    guard left.rank > 0, right.rank > 0 else {
        throw TensorError.shapeMismatch(
            operation: "matmul", shapes: [left.shape, right.shape], reason: "a scalar is no matrix. Use * for scaling")
    }
    if left.rank == 1 { return try matmul(left.unsqueeze(0), right).squeeze(right.rank == 1 ? 0 : -2) }
    if right.rank == 1 { return try matmul(left, right.unsqueeze(1)).squeeze(-1) }
    try MatrixProduct.check(left, right, inner: right.shape[right.rank - 2], "matmul")
    if right.rank == 2 && left.rank > 2 && left.isContiguous {
        // One large product instead of many small ones.
        let rows = try matmul(left.reshape([left.count / max(1, left.shape.last!), left.shape.last!]), right)
        return try rows.reshape(left.shape.dropLast() + [right.shape[1]])
    }
    let result = try MatrixProduct.values(left, right, "matmul")
    if Tensor.isRecording([left, right]) {
        let saved = (SavedValue(left, for: "matmul"), SavedValue(right, for: "matmul"))
        result.record("matmul", [left, right]) { gradient, isNeeded in
            [
                isNeeded[0] ? try MatrixProduct.values(gradient, saved.1.value().transpose(-1, -2), "matmul") : nil,
                isNeeded[1] ? try MatrixProduct.values(saved.0.value().transpose(-1, -2), gradient, "matmul") : nil,
            ]
        }
    }
    return result
}

/// `x weightᵀ + bias`: what the module ``Linear`` does.
///
/// - Parameters:
///   - x: `[..., in]`
///   - weight: `[out, in]`
///   - bias: `[out]`
/// - Returns: `[..., out]`
/// - Throws: as ``matmul(_:_:)``.
public func linear(_ x: Tensor, _ weight: Tensor, _ bias: Tensor? = nil) throws -> Tensor {
    for operand in [x, weight, bias ?? x] { try operand.requireValue("linear") }
    guard weight.rank == 2, x.rank >= 1, bias.map({ $0.shape == [weight.shape[0]] }) ?? true else {
        throw TensorError.shapeMismatch(
            operation: "linear", shapes: [x.shape, weight.shape] + (bias.map { [$0.shape] } ?? []),
            reason: "[..., in], [out, in] and [out] are wanted")
    }
    try MatrixProduct.check(x, weight, inner: weight.shape[1], "linear")
    if let bias, bias.dtype != weight.dtype { try MatrixProduct.check(x, bias, inner: x.shape.last!, "linear") }
    let rows = try x.rank == 2 ? x : x.reshape([x.count / max(1, x.shape.last!), x.shape.last!])
    let result = try MatrixProduct.values(rows, weight.T, "linear", adding: bias)
    if Tensor.isRecording([rows, weight] + (bias.map { [$0] } ?? [])) {
        let saved = (SavedValue(rows, for: "linear"), SavedValue(weight, for: "linear"))
        result.record("linear", [rows, weight] + (bias.map { [$0] } ?? [])) { gradient, isNeeded in
            [
                isNeeded[0] ? try MatrixProduct.values(gradient, saved.1.value(), "linear") : nil,
                isNeeded[1] ? try MatrixProduct.values(gradient.T, saved.0.value(), "linear") : nil,
                isNeeded.count > 2 && isNeeded[2] ? try gradient.sum(0) : nil,
            ]
        }
    }
    return x.rank == 2 ? result : try result.reshape(x.shape.dropLast() + [weight.shape[0]])
}

/// Products of matrices without history.
enum MatrixProduct {
    static func check(_ left: Tensor, _ right: Tensor, inner: Int, _ operation: String) throws {
        guard left.dtype == right.dtype else {
            throw TensorError.dtypeMismatch(
                operation: operation, dtypes: [left.dtype, right.dtype],
                reason: "both must have one dtype. Convert one with to(_:)")
        }
        guard left.shape.last == inner else {
            throw TensorError.shapeMismatch(
                operation: operation, shapes: [left.shape, right.shape],
                reason: "the inner extents are \(left.shape.last ?? 0) and \(inner)")
        }
        guard left.dtype != .bool else {
            throw TensorError.dtypeMismatch(
                operation: operation, dtypes: [.bool], reason: "booleans have no matrix product. Convert with to(.f32)")
        }
    }

    /// The product of two tensors of at least two dimensions, added to `bias`, which is broadcast, if there is one.
    static func values(_ left: Tensor, _ right: Tensor, _ operation: String, adding bias: Tensor? = nil) throws
        -> Tensor
    {
        let dtype = left.dtype
        let computing = dtype.isFloatingPoint ? Promotion.computing(dtype) : .i64
        let batch = try Broadcasting.shape(left.shape.dropLast(2), right.shape.dropLast(2), operation)
        let shape = batch + [left.shape[left.rank - 2], right.shape[right.rank - 1]]
        // Nothing is written where there is nothing to add up.
        let device = try Placement.device(of: [left, right], operation)
        let result =
            try left.shape.last == 0
            ? Tensor.zeroed(computing, shape, on: device) : Tensor.unwritten(computing, shape, on: device)
        if let bias { try result.writeValues(of: bias, operation) }
        if device.isGPU {
            try GPUMatrices.multiply(
                left.converted(to: computing, operation), right.converted(to: computing, operation), to: result,
                adding: bias != nil, operation)
            return try result.converted(to: dtype, operation)
        }
        func operand(_ tensor: Tensor) throws -> MatrixKernels.Matrices {
            var source = try tensor.converted(to: computing, operation)
            if !MatrixKernels.Matrices.isReadable(source.layout) { source = try source.copied(operation) }
            return MatrixKernels.Matrices(try source.elements(for: operation), batch: batch)
        }
        guard result.shape.suffix(2).allSatisfy({ $0 < Int(Int32.max) }), left.shape.last! < Int(Int32.max) else {
            throw TensorError.invalidArgument(
                operation: operation,
                reason: "matrices of \(left.shape) and \(right.shape) are larger than BLAS can take")
        }
        let (a, b) = (try operand(left), try operand(right))
        let to = MatrixKernels.Matrices(try result.writableElements(for: operation), batch: batch)
        if computing == .i64 {
            MatrixKernels.multiplyIntegers(a, b, to: to)
        } else {
            MatrixKernels.multiply(a, b, to: to, adding: bias != nil)
        }
        return try result.converted(to: dtype, operation)
    }
}
