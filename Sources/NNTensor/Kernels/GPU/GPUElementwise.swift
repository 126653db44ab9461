import CCUDA
import CVectorMath
import NNDevices
import NNStore

/// Operations on each element of tensors on a GPU; operands may be numbers, and of other types than the one calculated in.
enum GPUElementwise {
    /// As ``ElementwiseKernels/unary(_:_:_:_:)``.
    static func unary(
        _ kernel: nnstore_unary, _ type: nnstore_element, _ from: Tensor, to result: Tensor, _ operation: String
    ) throws -> Bool {
        guard unsafe nnstore_unary_operation(kernel, type) != nil else { return false }
        try run(Int(nnstore_kernel_unary), kernel.rawValue, type, [from], to: result, operation)
        return true
    }

    /// As ``ElementwiseKernels/binary(_:_:_:_:_:)``.
    static func binary(
        _ kernel: nnstore_binary, _ type: nnstore_element, _ left: Tensor, _ right: Tensor, to result: Tensor,
        _ operation: String
    ) throws -> Bool {
        guard unsafe nnstore_binary_operation(kernel, type) != nil else { return false }
        try run(Int(nnstore_kernel_binary), kernel.rawValue, type, [left, right], to: result, operation)
        return true
    }

    /// `result` is `left` where `condition`, which is on the GPU, is true, and `right` elsewhere.
    static func select(
        _ condition: Tensor, _ left: Tensor, _ right: Tensor, to result: Tensor, _ operation: String
    ) throws {
        let type = try result.dtype.elementType(for: operation)
        try run(Int(nnstore_kernel_select), 0, type, [condition, left, right], to: result, operation)
    }

    /// Copies elements, converting them if the types differ.
    static func copy(_ from: Tensor, to result: Tensor, _ operation: String) throws {
        // As what it is, so that it is rounded once; a Swift number keeps all of its digits in F64.
        let isExact = from.exactNumber != nil && result.dtype == .f64
        let type = isExact ? nnstore_f64 : try from.dtype.elementType(for: operation)
        try run(Int(nnstore_kernel_copy), 0, type, [from], to: result, operation)
    }

    private static func run(
        _ kind: Int, _ number: UInt32, _ type: nnstore_element, _ from: [Tensor], to result: Tensor,
        _ operation: String
    ) throws {
        let to = try GPUTensor(writing: result, operation)
        let shape = to.layout.shape
        var strides = [StridedLoop.Lanes](repeating: .zero, count: shape.count)
        for (lane, tensor) in ([result] + from).enumerated() {
            for (dimension, stride) in tensor.layout.strides(in: shape).enumerated() {
                strides[dimension][lane] = stride
            }
        }
        let loop = StridedLoop(shape: shape, strides: strides)
        var arguments = nnstore_kernel_elementwise()
        arguments.count = UInt64(to.layout.elementCount)
        arguments.kind = Int32(kind)
        arguments.operation = Int32(number)
        let dimensions = loop.dimensions
        try KernelDimensions.check(dimensions.count, operation)
        arguments.rank = dimensions.count > 1 ? Int32(dimensions.count) : 0
        KernelDimensions.write(dimensions.map(\.extent), to: &arguments.extents)
        var storages: [DeviceStorage] = []
        func operand(_ lane: Int, _ tensor: Tensor) throws -> nnstore_kernel_operand {
            var operand = nnstore_kernel_operand()
            operand.type = Int32(try tensor.dtype.elementType(for: operation).rawValue)
            KernelDimensions.write(dimensions.map { $0.strides[lane] }, to: &operand.strides)
            if tensor.storage.deviceBacking != nil {
                let onGPU = try GPUTensor(tensor, operation)
                operand.address = onGPU.address
                storages.append(onGPU.storage)
            } else {
                operand.number = try tensor.exactNumber ?? tensor.item()
                operand.integer =
                    tensor.dtype.isFloatingPoint ? Int64(clamping: operand.number) : try tensor.item(as: Int64.self)
            }
            return operand
        }
        arguments.operands.0 = try operand(0, result)
        arguments.operands.1 = try operand(1, from[0])
        if from.count > 1 { arguments.operands.2 = try operand(2, from[1]) }
        if from.count > 2 { arguments.operands.3 = try operand(3, from[2]) }
        try to.gpu.launch(
            .elementwise(GPUTensor.suffix(type)), to.layout.elementCount, arguments, keeping: storages)
    }
}

extension Int64 {
    /// The nearest integer that there is; 0 for NaN.
    fileprivate init(clamping value: Double) {
        self = value.isNaN ? 0 : value >= 0x1p63 ? .max : value <= -0x1p63 ? .min : Int64(value)
    }
}
