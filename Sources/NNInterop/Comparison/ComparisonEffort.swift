import NNStore
import Synchronization

/// Counts what a comparison goes through, tells its progress, and ends it where a small file stands for too much.
final class ComparisonEffort: Sendable {
    private let file: String
    private let limit: Int
    private let progress: (@Sendable (Int, Int?) -> Void)?
    private let state = Mutex(State())

    private struct State {
        var spent = 0
        var total = 0
        /// The bytes of the tensors that were compared, and of the one that is.
        var finished = 0
        var current = 0
    }

    init(file: String, limit: Int, progress: (@Sendable (Int, Int?) -> Void)?) {
        self.file = file
        self.limit = limit
        self.progress = progress
    }

    /// Notes that `byteCount` bytes of `tensor` are to be gone through, before they are.
    ///
    /// - Throws: ``NNStore/StoreError/limitExceeded(file:what:limit:found:)``.
    func spend(_ byteCount: Int, on tensor: String) throws(StoreError) {
        let spent = state.withLock { state in
            state.spent = state.spent.addingReportingOverflow(byteCount).overflow ? .max : state.spent + byteCount
            return state.spent
        }
        guard spent <= limit else {
            throw .limitExceeded(
                file: file, what: "the bytes that comparing goes through (ckpt-tool: --max-bytes)", limit: limit,
                found: "more at \(quoted(tensor))")
        }
    }

    /// What a tensor counts in the progress: expanded ones stand for more than they are.
    private static func size(_ layout: TensorLayout) -> Int { min(layout.byteCount, layout.byteRange.count) }

    /// Notes a tensor that will be compared.
    func expect(_ layout: TensorLayout) {
        state.withLock { state in
            let (sum, overflow) = state.total.addingReportingOverflow(ComparisonEffort.size(layout))
            state.total = overflow ? .max : sum
        }
    }

    /// Notes that a piece of the present tensor was compared.
    func advance(_ byteCount: Int) {
        guard progress != nil else { return }
        state.withLock { $0.current += byteCount }
        tell()
    }

    /// Notes that a tensor was compared, by whatever way.
    func finish(_ layout: TensorLayout) {
        state.withLock { state in
            let (sum, overflow) = state.finished.addingReportingOverflow(ComparisonEffort.size(layout))
            state.finished = overflow ? .max : sum
            state.current = 0
        }
        tell()
    }

    private func tell() {
        guard let progress else { return }
        let (done, total) = state.withLock { state in
            let (sum, overflow) = state.finished.addingReportingOverflow(state.current)
            return (overflow ? state.total : min(sum, state.total), state.total)
        }
        progress(done, total)
    }
}
