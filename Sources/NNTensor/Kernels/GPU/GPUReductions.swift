import CCUDA
import CVectorMath
import NNDevices
import NNStore

/// Sums and extremes over some dimensions of tensors on a GPU.
enum GPUReductions {
    /// A sum is cut into parts, one for a thread, until there are as many threads or parts as these, or parts would be
    /// shorter. The shape alone decides.
    private static let enoughThreads = 1 << 18
    private static let mostParts = 1 << 18
    private static let shortestPart = 64

    /// How many parts each of some results is made of.
    private static func parts(_ kept: Int, _ reduced: Int) -> Int {
        kept >= enoughThreads ? 1 : max(1, min(reduced / shortestPart, enoughThreads / kept, mostParts))
    }

    /// Sums over `axes` to `result`, which is contiguous and has the other dimensions, multiplied by `factor`.
    static func sum(
        _ source: Tensor, _ axes: [Int], to result: Tensor, factor: Double, _ operation: String
    ) throws {
        let from = try GPUTensor(source, operation)
        var work = try reduction(from, axes, operation)
        let (kept, reduced) = (Int(work.kept.count), Int(work.reduced.count))
        if kept == 0 || reduced == 0 { return }
        let isInteger = GPUTensor.suffix(from.type) == "i64"
        let parts = parts(kept, reduced)
        work.parts = UInt64(parts)
        let destination =
            parts == 1
            ? result : try Tensor.unwritten(isInteger ? .i64 : .f64, [kept, parts], on: from.gpu.device)
        let to = try GPUTensor(writing: destination, operation)
        work.to = to.address
        work.to_type = Int32(to.type.rawValue)
        work.factor = parts == 1 ? factor : 1
        try from.gpu.launch(
            .sum(isInteger: isInteger), kept * parts, work, keeping: [from.storage, to.storage])
        if parts > 1 { try sum(destination, [1], to: result, factor: factor, operation) }
    }

    /// The largest or smallest elements over `axes`, and their positions in row-major order; both results are contiguous.
    static func extreme(
        _ extreme: ReductionKernels.Extreme, _ source: Tensor, _ axes: [Int], values: Tensor, positions: Tensor,
        _ operation: String
    ) throws {
        try self.extreme(extreme, source, axes, candidates: nil, values: values, positions: positions, operation)
    }

    /// - Parameter candidates: the positions of the elements, if they are not numbered; in the same places.
    private static func extreme(
        _ extreme: ReductionKernels.Extreme, _ source: Tensor, _ axes: [Int], candidates: Tensor?, values: Tensor,
        positions: Tensor, _ operation: String
    ) throws {
        let from = try GPUTensor(source, operation)
        var work = try reduction(from, axes, operation)
        let kept = Int(work.kept.count)
        if kept == 0 { return }
        let parts = parts(kept, Int(work.reduced.count))
        var (best, places) = (values, positions)
        if parts > 1 {
            best = try Tensor.unwritten(source.dtype, [kept, parts], on: from.gpu.device)
            places = try Tensor.unwritten(.i64, [kept, parts], on: from.gpu.device)
        }
        let to = try GPUTensor(writing: best, operation)
        let positionsTo = try GPUTensor(writing: places, operation)
        let numbered = try candidates.map { try GPUTensor($0, operation) }
        work.parts = UInt64(parts)
        (work.to, work.positions, work.candidates) = (to.address, positionsTo.address, numbered?.address ?? 0)
        work.to_type = Int32(to.type.rawValue)
        work.is_largest = extreme == .largest ? 1 : 0
        try from.gpu.launch(
            .extreme(isInteger: GPUTensor.suffix(from.type) == "i64"), kept * parts, work,
            keeping: [from.storage, to.storage, positionsTo.storage] + (numbered.map { [$0.storage] } ?? []))
        if parts > 1 {
            try self.extreme(extreme, best, [1], candidates: places, values: values, positions: positions, operation)
        }
    }

    private static func reduction(
        _ from: GPUTensor, _ axes: [Int], _ operation: String
    ) throws -> nnstore_kernel_reduction {
        let layout = from.layout
        let kept = (0..<layout.rank).filter { !axes.contains($0) && layout.shape[$0] != 1 }
        let reduced = axes.filter { layout.shape[$0] != 1 }
        func walk(_ axes: [Int]) throws -> nnstore_kernel_walk {
            let joined = KernelDimensions.joined(
                axes.map { layout.shape[$0] }, [axes.map { layout.strides[$0] }])
            return try nnstore_kernel_walk(joined.extents, joined.strides[0], operation)
        }
        func smallest(_ axes: [Int]) -> Int { axes.map { layout.strides[$0] }.min() ?? Int.max }
        var work = nnstore_kernel_reduction()
        (work.kept, work.reduced) = (try walk(kept), try walk(reduced))
        work.from = from.address
        work.from_type = Int32(from.type.rawValue)
        work.parts = 1
        work.factor = 1
        work.is_by_columns = smallest(kept) < smallest(reduced) ? 1 : 0
        return work
    }
}
