import CCUDA
import CVectorMath
import NNDevices
import NNStore

/// A step of an optimizer over the elements of a parameter, its gradient and what is kept for it.
enum OptimizerStep: Sendable {
    case sgd(nnstore_sgd)
    case adam(nnstore_adam)

    /// As many elements are worth handing to a thread.
    private static let piece = 1 << 15

    /// Takes the step. What is not contiguous, or of a dtype that has no loops, goes through a copy; what is on another device
    /// than the parameter has been moved there.
    ///
    /// - Parameter state: what is kept: the momentum, if there is one; the mean and the square.
    func apply(to parameter: Tensor, _ gradient: Tensor, _ state: [Tensor]) throws {
        let device = try Placement.device(of: [parameter, gradient] + state, "optimizer")
        let value = try parameter.prepared(for: "optimizer")
        let kept = try state.map { try $0.prepared(for: "optimizer") }
        let slope = try gradient.prepared(for: "optimizer")
        if device.isGPU {
            try applyOnGPU(value, slope, kept)
        } else {
            try applyOnCPU(value, slope, kept)
        }
        for (tensor, result) in zip([parameter] + state, [value] + kept) where result !== tensor {
            try tensor.writeValues(of: result, "optimizer")
        }
    }

    private func applyOnCPU(_ value: Tensor, _ gradient: Tensor, _ kept: [Tensor]) throws {
        let from = try gradient.elements(for: "optimizer")
        let to = try value.writableElements(for: "optimizer")
        let others = try kept.map { try $0.writableElements(for: "optimizer") }
        let count = value.count
        let pieces = (count + OptimizerStep.piece - 1) / OptimizerStep.piece
        Parallelism.forEach(pieces, threads: pieces < 8 ? 1 : Parallelism.threads) { number in
            let start = number * OptimizerStep.piece
            run(min(OptimizerStep.piece, count - start), start, to, from, others.first, others.dropFirst().first)
        }
    }

    /// The loop over `count` elements from an element on, which all have.
    private func run(
        _ count: Int, _ start: Int, _ parameter: Elements, _ gradient: Elements, _ first: Elements?, _ second: Elements?
    ) {
        switch self {
        case .sgd(let step):
            unsafe withUnsafePointer(to: step) { step in
                if parameter.type == nnstore_f64 {
                    unsafe nnstore_sgd_f64(
                        step, count, parameter.pointer(start), gradient.pointer(start), first?.pointer(start))
                } else {
                    unsafe nnstore_sgd_f32(
                        step, count, parameter.pointer(start), gradient.pointer(start), first?.pointer(start))
                }
            }
        case .adam(let step):
            unsafe withUnsafePointer(to: step) { step in
                if parameter.type == nnstore_f64 {
                    unsafe nnstore_adam_f64(
                        step, count, parameter.pointer(start), gradient.pointer(start), first?.pointer(start),
                        second?.pointer(start))
                } else {
                    unsafe nnstore_adam_f32(
                        step, count, parameter.pointer(start), gradient.pointer(start), first?.pointer(start),
                        second?.pointer(start))
                }
            }
        }
    }

    private func applyOnGPU(_ value: Tensor, _ gradient: Tensor, _ kept: [Tensor]) throws {
        let from = try GPUTensor(gradient, "optimizer")
        let to = try GPUTensor(writing: value, "optimizer")
        let state = try kept.map { try GPUTensor(writing: $0, "optimizer") }
        let others = state.map(\.address)
        let storages = [from.storage, to.storage] + state.map(\.storage)
        switch self {
        case .sgd(let step):
            let arguments = nnstore_kernel_sgd(
                count: UInt64(value.count), parameter: to.address, gradient: from.address, first: others.first ?? 0,
                second: 0, learning_rate: step.learning_rate, momentum: step.momentum, dampening: step.dampening,
                weight_decay: step.weight_decay, is_nesterov: step.nesterov ? 1 : 0, is_first: step.is_first ? 1 : 0)
            try to.gpu.launch(.sgd(GPUTensor.suffix(to.type)), value.count, arguments, keeping: storages)
        case .adam(let step):
            let arguments = nnstore_kernel_adam(
                count: UInt64(value.count), parameter: to.address, gradient: from.address, mean: others[0],
                square: others[1], learning_rate: step.learning_rate, beta1: step.beta1, beta2: step.beta2,
                epsilon: step.epsilon, weight_decay: step.weight_decay, correction1: step.correction1,
                correction2: step.correction2, is_decoupled: step.is_decoupled ? 1 : 0, reserved: 0)
            try to.gpu.launch(.adam(GPUTensor.suffix(to.type)), value.count, arguments, keeping: storages)
        }
    }
}
