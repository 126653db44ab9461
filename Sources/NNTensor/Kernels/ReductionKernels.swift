import CVectorMath
import NNStore

/// Sums and extremes over some of the dimensions.
///
/// What is added to what is decided by shape and strides alone, never by the number of threads.
enum ReductionKernels {
    /// A sum of more elements in a row is made of the sums of pieces of this length.
    private static let piece = 1 << 16
    /// As many sums stand side by side.
    private static let columns = 1 << 10

    /// Which dimensions stay, and which are reduced.
    private struct Plan {
        /// The result's elements: lane 0 there, lane 1 in the source.
        let kept: StridedLoop
        /// The elements that one of the result is made of: lane 0 their position in row-major order, lane 1 in the source.
        let reduced: StridedLoop
        let reducedCount: Int
        let keptCount: Int
        /// Whether neighbours in memory go to the same element of the result.
        let isAlongRows: Bool

        init(_ from: Elements, _ axes: [Int], inOrder: Bool) {
            let layout = from.layout
            let keptAxes = (0..<layout.rank).filter { !axes.contains($0) }
            func loop(_ axes: [Int], rowMajor: Bool) -> StridedLoop {
                let shape = axes.map { layout.shape[$0] }
                var (strides, next) = ([StridedLoop.Lanes](repeating: .zero, count: axes.count), 1)
                for place in axes.indices.reversed() {
                    let stride = layout.strides[axes[place]]
                    strides[place] = StridedLoop.Lanes(rowMajor ? next : stride, stride, 0, 0)
                    next *= max(1, shape[place])
                }
                return StridedLoop(shape: shape, strides: strides)
            }
            kept = loop(keptAxes, rowMajor: true)
            reduced = loop(axes, rowMajor: inOrder)
            reducedCount = axes.reduce(1) { $0 * layout.shape[$1] }
            keptCount = keptAxes.reduce(1) { $0 * layout.shape[$1] }
            func smallest(_ axes: [Int]) -> Int {
                axes.filter { layout.shape[$0] > 1 }.map { layout.strides[$0] }.min() ?? Int.max
            }
            isAlongRows = smallest(axes) <= smallest(keptAxes)
        }
    }

    /// Whether elements of a type can be added up, and one of them chosen.
    static func exist(for type: nnstore_element) -> Bool {
        unsafe nnstore_sum(type) != nil && nnstore_largest(type) != nil
    }

    /// Sums over `axes` to `to`, which is contiguous and has the other dimensions, multiplied by `factor`.
    static func sum(_ from: Elements, _ axes: [Int], _ to: Elements, factor: Double) {
        let plan = Plan(from, axes, inOrder: false)
        if plan.keptCount == 0 || plan.reducedCount == 0 { return }
        let isInteger = from.type != nnstore_f64 && from.type != nnstore_f32
        let output = Output(to, isInteger: isInteger, factor: factor)
        if !plan.isAlongRows {
            sumColumns(from, plan, output)
        } else if plan.reduced.runs == 1 && plan.reduced.count > piece && plan.keptCount < 64 {
            sumPieces(from, plan, output)
        } else {
            sumRows(from, plan, output)
        }
    }

    /// Where sums go, which are doubles or integers of 64 bits in the loops.
    @safe private struct Output: Sendable {
        let to: Elements
        let type: nnstore_element
        let factor: Double

        init(_ to: Elements, isInteger: Bool, factor: Double) {
            self.to = to
            type = isInteger ? nnstore_i64 : nnstore_f64
            self.factor = factor
        }

        @unsafe func write(_ sums: UnsafeMutablePointer<Double>, _ count: Int, at offset: Int) {
            if factor != 1 && type == nnstore_f64 { for index in 0..<count { unsafe sums[index] *= factor } }
            unsafe nnstore_conversion_loop(type, to.type)(count, sums, 1, to.address(offset), 1)
        }
    }

    private static func sumRows(_ from: Elements, _ plan: Plan, _ output: Output) {
        let loop = unsafe nnstore_sum(from.type)!
        let (count, stride) = (plan.reduced.count, plan.reduced.strides[1])
        plan.kept.run(cost: plan.reducedCount) { keptCount, offsets in
            for index in 0..<keptCount {
                var sum = 0.0
                let start = offsets[1] + index * plan.kept.strides[1]
                plan.reduced.forEachRun { run in unsafe loop(count, from.address(start + run[1]), stride, &sum) }
                unsafe output.write(&sum, 1, at: offsets[0] + index * plan.kept.strides[0])
            }
        }
    }

    private static func sumPieces(_ from: Elements, _ plan: Plan, _ output: Output) {
        let loop = unsafe nnstore_sum(from.type)!
        let (count, stride) = (plan.reduced.count, plan.reduced.strides[1])
        let pieces = (count + piece - 1) / piece
        plan.kept.forEachRun { run in
            for index in 0..<plan.kept.count {
                let start = run[1] + index * plan.kept.strides[1]
                let partial = Partial(pieces)
                Parallelism.forEach(pieces) { number in
                    let first = number * piece
                    unsafe loop(
                        min(piece, count - first), from.address(start + first * stride), stride,
                        partial.address + number)
                }
                var sum = 0.0
                unsafe nnstore_sum(output.type)(pieces, partial.address, 1, &sum)
                unsafe output.write(&sum, 1, at: run[0] + index * plan.kept.strides[0])
            }
        }
    }

    /// Sums of pieces. Sendable because each is written by one thread, and read when all have ended.
    @safe private final class Partial: @unchecked Sendable {
        let address: UnsafeMutablePointer<Double>
        init(_ count: Int) {
            unsafe address = .allocate(capacity: count)
            unsafe address.initialize(repeating: 0, count: count)
        }
        deinit { unsafe address.deallocate() }
    }

    private static func sumColumns(_ from: Elements, _ plan: Plan, _ output: Output) {
        let loop = unsafe nnstore_sum_columns(from.type)!
        plan.kept.run(cost: plan.reducedCount) { keptCount, offsets in
            unsafe withUnsafeTemporaryAllocation(of: Double.self, capacity: min(columns, keptCount)) { sums in
                for first in stride(from: 0, to: keptCount, by: columns) {
                    let width = min(columns, keptCount - first)
                    let start = offsets[1] + first * plan.kept.strides[1]
                    unsafe sums.initialize(repeating: 0)
                    plan.reduced.forEachRun { run in
                        for index in 0..<plan.reduced.count {
                            let row = start + run[1] + index * plan.reduced.strides[1]
                            unsafe loop(width, from.address(row), plan.kept.strides[1], sums.baseAddress)
                        }
                    }
                    unsafe output.write(sums.baseAddress!, width, at: offsets[0] + first * plan.kept.strides[0])
                }
            }
        }
    }

    /// The largest or smallest elements over `axes`, and their positions in row-major order, I64; both results are
    /// contiguous. There is at least one element for each.
    static func extreme(
        _ operation: Extreme, _ from: Elements, _ axes: [Int], values: Elements, positions: Elements
    ) {
        let plan = Plan(from, axes, inOrder: true)
        let loop = unsafe operation == .largest ? nnstore_largest(from.type)! : nnstore_smallest(from.type)!
        let (count, stride) = (plan.reduced.count, plan.reduced.strides[1])
        plan.kept.run(cost: plan.reducedCount) { keptCount, offsets in
            for index in 0..<keptCount {
                let start = offsets[1] + index * plan.kept.strides[1]
                let place = offsets[0] + index * plan.kept.strides[0]
                let position = unsafe positions.address(place)!.assumingMemoryBound(to: Int64.self)
                unsafe position.pointee = -1
                plan.reduced.forEachRun { run in
                    unsafe loop(
                        count, from.address(start + run[1]), stride, Int64(run[0]), position, values.address(place))
                }
            }
        }
    }

    enum Extreme: Sendable { case largest, smallest }
}
