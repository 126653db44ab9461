import CVectorMath
import NNStore

/// Steps of optimizers over the elements of a parameter, its gradient and what is kept for it.
enum OptimizerKernels {
    /// The elements of a loop: their type and number, the parameter's, the gradient's, and up to two tensors more.
    typealias Loop =
        @Sendable (
            _ type: nnstore_element, _ count: Int, _ parameter: UnsafeMutableRawPointer,
            _ gradient: UnsafeMutableRawPointer,
            _ state: (UnsafeMutableRawPointer?, UnsafeMutableRawPointer?)
        ) -> Void

    /// As many elements are worth handing to a thread.
    private static let piece = 1 << 15

    /// Calls `loop` with pieces of the tensors. What is not contiguous, or of a dtype that has no loops, goes through a copy.
    static func update(_ parameter: Tensor, _ gradient: Tensor, _ state: [Tensor], _ loop: @escaping Loop) throws {
        let value = try parameter.prepared(for: "optimizer")
        let kept = try state.map { try $0.prepared(for: "optimizer") }
        let from = try gradient.prepared(for: "optimizer").elements(for: "optimizer")
        let to = try value.writableElements(for: "optimizer")
        let others = try kept.map { try $0.writableElements(for: "optimizer") }
        let count = value.count
        let pieces = (count + piece - 1) / piece
        Parallelism.forEach(pieces, threads: pieces < 8 ? 1 : Parallelism.threads) { number in
            let start = number * piece
            unsafe loop(
                to.type, min(piece, count - start), to.address(start)!, from.address(start)!,
                (others.first?.address(start), others.dropFirst().first?.address(start)))
        }
        for (tensor, result) in zip([parameter] + state, [value] + kept) where result !== tensor {
            try tensor.writeValues(of: result, "optimizer")
        }
    }
}
