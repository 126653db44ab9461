import CVectorMath
import NNStore

/// The elements less their mean, divided by their standard deviation, over the last dimensions (J. Ba, J. Kiros, G. Hinton:
/// Layer Normalization, 2016).
///
/// - Parameters:
///   - shape: the last extents, over which means and deviations are taken.
///   - weight: what the result is multiplied by, of that shape.
///   - bias: what is added to the result, of that shape.
///   - epsilon: is added to the variance.
/// - Throws: ``TensorError/shapeMismatch(operation:shapes:reason:)`` if `shape` is not how the tensor's shape ends, or not
///   that of weight and bias; ``TensorError/dtypeMismatch(operation:dtypes:reason:)`` if not all are floats of one dtype.
public func layerNorm(
    _ x: Tensor, _ shape: [Int], weight: Tensor? = nil, bias: Tensor? = nil, epsilon: Double = 1e-5
) throws -> Tensor {
    let parameters = [weight, bias].compactMap(\.self)
    for operand in [x] + parameters { try operand.requireValue("layerNorm") }
    guard !shape.isEmpty, x.shape.suffix(shape.count).elementsEqual(shape), parameters.allSatisfy({ $0.shape == shape })
    else {
        throw TensorError.shapeMismatch(
            operation: "layerNorm", shapes: [x.shape, shape] + parameters.map(\.shape),
            reason: "the second must be how the first one ends, and what weight and bias have")
    }
    guard ([x] + parameters).allSatisfy({ $0.dtype == x.dtype && $0.dtype.isFloatingPoint }) else {
        throw TensorError.dtypeMismatch(
            operation: "layerNorm", dtypes: ([x] + parameters).map(\.dtype),
            reason: "all must be floats of one dtype. Convert with to(_:)")
    }
    if try Placement.device(of: [x] + parameters, "layerNorm").isGPU {
        // Its gradient comes from those of its parts.
        let axes = Array(x.rank - shape.count..<x.rank)
        // The mean is rounded to the dtype; that of what is left corrects it, where values are far from zero.
        let near = try BinaryOperation.subtract(x, x.detach().mean(axes, keepDimensions: true))
        let distance = try BinaryOperation.subtract(near, near.mean(axes, keepDimensions: true))
        let variance = try BinaryOperation.multiply(distance, distance).mean(axes, keepDimensions: true)
        let deviation = try UnaryOperation.sqrt(BinaryOperation.add(variance, Tensor(number: epsilon)))
        var result = try BinaryOperation.divide(distance, deviation)
        if let weight { result = try BinaryOperation.multiply(result, weight) }
        return try bias.map { try BinaryOperation.add(result, $0) } ?? result
    }
    let normalization = LayerNormalization(count: shape.reduce(1, *), rows: x.shape.dropLast(shape.count).reduce(1, *))
    let (result, statistics) = try normalization.values(x, weight, bias, epsilon)
    if Tensor.isRecording([x] + parameters) {
        let savedX = SavedValue(x, for: "layerNorm")
        let savedWeight = weight.map { SavedValue($0, for: "layerNorm") }
        let (hasWeight, hasBias) = (weight != nil, bias != nil)
        result.record("layerNorm", [x] + parameters) { gradient, isNeeded in
            let all = try normalization.gradients(
                gradient, savedX.value(), savedWeight?.value(), statistics, ofX: isNeeded[0],
                ofWeight: hasWeight && isNeeded[1], ofBias: hasBias && isNeeded[isNeeded.count - 1])
            // In the order of the operands.
            return [all.x] + (hasWeight ? [try all.weight?.reshape(shape)] : [])
                + (hasBias ? [try all.bias?.reshape(shape)] : [])
        }
    }
    return result
}

/// Rows of `count` contiguous elements.
private struct LayerNormalization: Sendable {
    let count: Int
    let rows: Int

    /// The rows are divided into at most so many parts, whose gradients of weight and bias are added up in order.
    private static let parts = 16
    private var parts: Int { max(1, min(LayerNormalization.parts, rows)) }
    private var threads: Int { rows * count < 1 << 16 ? 1 : Parallelism.threads }
    private func range(_ part: Int) -> Range<Int> { rows * part / parts..<rows * (part + 1) / parts }

    /// The result, and the mean and the reciprocal deviation of each row, F64.
    func values(_ x: Tensor, _ weight: Tensor?, _ bias: Tensor?, _ epsilon: Double) throws -> (Tensor, Tensor) {
        let source = try x.prepared(for: "layerNorm")
        let result = try Tensor.unwritten(source.dtype, x.shape, on: .cpu)
        let statistics = try Tensor.zeroed(.f64, [rows, 2], on: .cpu)
        let (scales, shifts) = (try weight?.prepared(for: "layerNorm"), try bias?.prepared(for: "layerNorm"))
        let from = try source.elements(for: "layerNorm")
        let (scale, shift) = (try scales?.elements(for: "layerNorm"), try shifts?.elements(for: "layerNorm"))
        let to = try result.writableElements(for: "layerNorm")
        let kept = try statistics.writableElements(for: "layerNorm")
        if result.count > 0 {
            Parallelism.forEach(parts, threads: threads) { part in
                let range = range(part)
                let offset = range.lowerBound * count
                let numbers = unsafe kept.address(2 * range.lowerBound)!.assumingMemoryBound(to: Double.self)
                if from.type == nnstore_f64 {
                    unsafe nnstore_normalize_rows_f64(
                        range.count, count, from.pointer(offset), scale?.pointer(0), shift?.pointer(0), epsilon,
                        to.pointer(offset), numbers)
                } else {
                    unsafe nnstore_normalize_rows_f32(
                        range.count, count, from.pointer(offset), scale?.pointer(0), shift?.pointer(0), epsilon,
                        to.pointer(offset), numbers)
                }
            }
        }
        return (try result.converted(to: x.dtype, "layerNorm"), statistics)
    }

    func gradients(
        _ gradient: Tensor, _ x: Tensor, _ weight: Tensor?, _ statistics: Tensor, ofX: Bool, ofWeight: Bool,
        ofBias: Bool
    ) throws -> (x: Tensor?, weight: Tensor?, bias: Tensor?) {
        let (slopes, source) = (try gradient.prepared(for: "layerNorm"), try x.prepared(for: "layerNorm"))
        let scales = try weight?.prepared(for: "layerNorm")
        let result = ofX ? try Tensor.zeroed(source.dtype, x.shape, on: .cpu) : nil
        let weightSums = ofWeight ? try Tensor.zeroed(.f64, [parts, count], on: .cpu) : nil
        let biasSums = ofBias ? try Tensor.zeroed(.f64, [parts, count], on: .cpu) : nil
        let (incoming, from) = (try slopes.elements(for: "layerNorm"), try source.elements(for: "layerNorm"))
        let scale = try scales?.elements(for: "layerNorm")
        let kept = try statistics.elements(for: "layerNorm")
        let to = try result?.writableElements(for: "layerNorm")
        let weights = try weightSums?.writableElements(for: "layerNorm")
        let biases = try biasSums?.writableElements(for: "layerNorm")
        if x.count > 0 {
            Parallelism.forEach(parts, threads: threads) { part in
                let range = range(part)
                let offset = range.lowerBound * count
                let numbers = unsafe kept.address(2 * range.lowerBound)!.assumingMemoryBound(to: Double.self)
                if from.type == nnstore_f64 {
                    unsafe nnstore_normalize_rows_gradient_f64(
                        range.count, count, incoming.pointer(offset), from.pointer(offset), scale?.pointer(0), numbers,
                        to?.pointer(offset), weights?.pointer(part * count), biases?.pointer(part * count))
                } else {
                    unsafe nnstore_normalize_rows_gradient_f32(
                        range.count, count, incoming.pointer(offset), from.pointer(offset), scale?.pointer(0), numbers,
                        to?.pointer(offset), weights?.pointer(part * count), biases?.pointer(part * count))
                }
            }
        }
        return (result, try weightSums?.sum(0), try biasSums?.sum(0))
    }
}
