import CVectorMath
import NNStore

/// The elements of `left` where `condition` is true, and those of `right` elsewhere; all three are broadcast.
///
/// - Parameter condition: BOOL.
/// - Throws: ``TensorError/shapeMismatch(operation:shapes:reason:)`` if they can't be broadcast to one shape;
///   ``TensorError/dtypeMismatch(operation:dtypes:reason:)`` if the condition is not BOOL.
public func select(_ condition: Tensor, _ left: Tensor, _ right: Tensor) throws -> Tensor {
    guard condition.dtype == .bool else {
        throw TensorError.dtypeMismatch(
            operation: "select", dtypes: [condition.dtype],
            reason: "the condition must be BOOL: a comparison, or to(.bool)")
    }
    let dtype = try Promotion.dtype(left, right, "select")
    let shape = try Broadcasting.shape(
        condition.shape, Broadcasting.shape(left.shape, right.shape, "select"), "select")
    let device = try Placement.device(ofElementwise: [condition, left, right], "select")
    let result = try Tensor.unwritten(dtype, shape, on: device)
    let type = try dtype.elementType(for: "select")
    func operand(_ tensor: Tensor) throws -> Elements {
        if tensor.dtype == dtype { return try tensor.elements(for: "select") }
        if let number = tensor.exactNumber {
            return try Tensor([number], shape: [], dtype: dtype).elements(for: "select", in: type)
        }
        return try tensor.converted(to: dtype, "select").elements(for: "select")
    }
    if device.isGPU {
        try GPUElementwise.select(condition.copied(to: device), left, right, to: result, "select")
    } else {
        ElementwiseKernels.select(
            try condition.elements(for: "select"), try operand(left), try operand(right),
            try result.writableElements(for: "select"))
    }
    if Tensor.isRecording([left, right]) {
        let saved = SavedValue(condition, for: "select")
        result.record("select", [left, right]) { gradient, isNeeded in
            let condition = try saved.value()
            let zero = Tensor(number: 0)
            return [
                isNeeded[0] ? try select(condition, gradient, zero) : nil,
                isNeeded[1] ? try select(condition, zero, gradient) : nil,
            ]
        }
    }
    return result
}
