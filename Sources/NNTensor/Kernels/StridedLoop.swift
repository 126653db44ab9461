import NNStore

/// How to walk through up to four tensors of one shape at once, the first one being written: the dimensions in an order
/// and so joined that the innermost run is as long as possible.
///
/// Offsets and strides are in elements, one lane a tensor.
struct StridedLoop: Sendable {
    typealias Lanes = SIMD4<Int>

    /// The length of the innermost run.
    private(set) var count: Int
    /// The strides inside of a run.
    private(set) var strides: Lanes
    /// The dimensions around it, outermost first.
    private var outer: [(extent: Int, strides: Lanes)] = []
    /// The number of runs.
    private(set) var runs = 1

    /// - Parameter strides: for each dimension of `shape` those of the tensors; 0 where a tensor is broadcast.
    init(shape: [Int], strides: [Lanes]) {
        var dimensions: [(extent: Int, strides: Lanes)] = []
        for index in shape.indices where shape[index] != 1 { dimensions.append((shape[index], strides[index])) }
        if shape.contains(0) {
            (count, self.strides, runs) = (0, Lanes(repeating: 1), 0)
            return
        }
        // A stable order by what is written: its neighbours should be written after each other.
        if !dimensions.indices.dropFirst().allSatisfy({ dimensions[$0 - 1].strides[0] >= dimensions[$0].strides[0] }) {
            dimensions = dimensions.enumerated()
                .sorted { ($1.element.strides[0], $0.offset) < ($0.element.strides[0], $1.offset) }
                .map(\.element)
        }
        var joined: [(extent: Int, strides: Lanes)] = []
        for dimension in dimensions {
            if let last = joined.last, last.strides == dimension.strides &* Lanes(repeating: dimension.extent) {
                joined[joined.count - 1] = (last.extent * dimension.extent, dimension.strides)
            } else {
                joined.append(dimension)
            }
        }
        (count, self.strides) = joined.popLast() ?? (1, Lanes(repeating: 1))
        outer = joined
        runs = joined.reduce(1) { $0 * $1.extent }
    }

    /// All dimensions, the innermost one last.
    var dimensions: [(extent: Int, strides: Lanes)] { outer + [(count, strides)] }

    /// The most elements that are handled at one go, and the fewest that are worth a thread: a few hundred microseconds.
    private static let piece = 1 << 15
    private static let worthThreads = 1 << 18

    /// Calls `body` with a number of elements and the offsets of the first one until all have been there. Large loops run
    /// on all cores; what is called for which elements depends on the shape alone.
    ///
    /// - Parameter cost: how much more an element costs than a sum of two.
    func run(cost: Int = 1, _ body: @Sendable (_ count: Int, _ offsets: Lanes) -> Void) {
        let total = count * runs
        if total == 0 { return }
        if runs == 1 && count <= StridedLoop.piece { return body(count, .zero) }
        let piecesPerRun = (count + StridedLoop.piece - 1) / StridedLoop.piece
        let pieces = piecesPerRun * runs
        let piecesPerTask = max(1, StridedLoop.piece / count)
        let tasks = (pieces + piecesPerTask - 1) / piecesPerTask
        let threads = total * cost < StridedLoop.worthThreads ? 1 : Parallelism.threads
        Parallelism.forEach(tasks, threads: threads) { task in
            let end = min(pieces, (task + 1) * piecesPerTask)
            var walk = Walk(self, run: task * piecesPerTask / piecesPerRun)
            for piece in task * piecesPerTask..<end {
                let start = piece % piecesPerRun * StridedLoop.piece
                body(min(StridedLoop.piece, count - start), walk.offsets &+ strides &* Lanes(repeating: start))
                if piece % piecesPerRun == piecesPerRun - 1 { walk.advance(self) }
            }
        }
    }

    /// Calls `body` with the offsets of each run, in order, on this thread.
    func forEachRun(_ body: (_ offsets: Lanes) -> Void) {
        if runs == 0 { return }
        var walk = Walk(self, run: 0)
        for _ in 0..<runs {
            body(walk.offsets)
            walk.advance(self)
        }
    }

    /// The offsets of the runs, one after another.
    private struct Walk {
        var offsets: Lanes = .zero
        var position: [Int]

        init(_ loop: StridedLoop, run: Int) {
            position = [Int](repeating: 0, count: loop.outer.count)
            var rest = run
            for index in loop.outer.indices.reversed() {
                position[index] = rest % loop.outer[index].extent
                rest /= loop.outer[index].extent
                offsets &+= loop.outer[index].strides &* Lanes(repeating: position[index])
            }
        }

        mutating func advance(_ loop: StridedLoop) {
            for index in loop.outer.indices.reversed() {
                let (extent, strides) = loop.outer[index]
                position[index] += 1
                offsets &+= strides
                if position[index] < extent { return }
                position[index] = 0
                offsets &-= strides &* Lanes(repeating: extent)
            }
        }
    }
}
