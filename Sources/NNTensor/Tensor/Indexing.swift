import NNStore

/// What may stand in the brackets of a tensor: an integer (negative ones count from the end), a range, a stride, `...` as
/// `.ellipsis`, a new dimension as `.newAxis`, or a tensor of indices (I64) or truth values (BOOL).
public protocol TensorIndex {
    /// The index as one of the kinds that there are.
    var tensorIndex: TensorIndexItem { get }
}

/// The kinds of indices of tensors.
public enum TensorIndexItem {
    /// One index; the dimension goes.
    case index(Int)
    /// Every `step`-th index from `lower` to before `upper`; the ends of the dimension where they are `nil`.
    case range(lower: Int?, upper: Int?, step: Int)
    /// As many whole dimensions as are left.
    case remaining
    /// A new dimension of extent 1.
    case inserted
    /// The indices that a tensor holds, or the places where it is true.
    case tensor(Tensor)
}

extension Int: TensorIndex {
    /// One index.
    public var tensorIndex: TensorIndexItem { .index(self) }
}
extension Range: TensorIndex where Bound == Int {
    /// A range.
    public var tensorIndex: TensorIndexItem { .range(lower: lowerBound, upper: upperBound, step: 1) }
}
extension ClosedRange: TensorIndex where Bound == Int {
    /// A range.
    public var tensorIndex: TensorIndexItem { .range(lower: lowerBound, upper: upperBound + 1, step: 1) }
}
extension PartialRangeFrom: TensorIndex where Bound == Int {
    /// A range to the end.
    public var tensorIndex: TensorIndexItem { .range(lower: lowerBound, upper: nil, step: 1) }
}
extension PartialRangeUpTo: TensorIndex where Bound == Int {
    /// A range from the beginning; a negative bound counts from the end.
    public var tensorIndex: TensorIndexItem { .range(lower: nil, upper: upperBound, step: 1) }
}
extension PartialRangeThrough: TensorIndex where Bound == Int {
    /// A range from the beginning.
    public var tensorIndex: TensorIndexItem { .range(lower: nil, upper: upperBound + 1, step: 1) }
}
extension StrideTo: TensorIndex where Element == Int {
    /// Every so many indices.
    public var tensorIndex: TensorIndexItem {
        let indices = Array(self)
        guard let first = indices.first else { return .range(lower: 0, upper: 0, step: 1) }
        let step = indices.count > 1 ? indices[1] - first : 1
        return .range(lower: first, upper: indices[indices.count - 1] + 1, step: step)
    }
}
extension Tensor: TensorIndex {
    /// The indices that the tensor holds.
    public var tensorIndex: TensorIndexItem { .tensor(self) }
}
extension TensorIndexItem: TensorIndex {
    /// The index itself.
    public var tensorIndex: TensorIndexItem { self }
}
extension TensorIndex where Self == TensorIndexItem {
    /// As many whole dimensions as are left: `x[.ellipsis, 0]`.
    public static var ellipsis: TensorIndexItem { .remaining }
    /// A new dimension of extent 1: `x[0..<2, .newAxis]`.
    public static var newAxis: TensorIndexItem { .inserted }
}

// Reading gives a view (a copy, where a tensor is an index), writing writes into the memory. What is not there stops the
// program with a message: subscripts that can be written to can't throw. A subscript for each number of indices, because
// Swift 6.3's compiler fails on one for any number that can be written to.

extension Tensor {
    /// All of the tensor: `w[...] = 0`, `w[...] += 1`.
    public subscript(_ all: UnboundedRange) -> Tensor {
        get { self }
        set { setPart([], newValue) }
    }

    /// The part at an index of the first dimension.
    public subscript<A: TensorIndex>(_ a: A) -> Tensor {
        get { part([a.tensorIndex]) }
        set { setPart([a.tensorIndex], newValue) }
    }

    /// The part at indices of the first two dimensions.
    public subscript<A: TensorIndex, B: TensorIndex>(_ a: A, _ b: B) -> Tensor {
        get { part([a.tensorIndex, b.tensorIndex]) }
        set { setPart([a.tensorIndex, b.tensorIndex], newValue) }
    }

    /// The part at indices of the first three dimensions.
    public subscript<A: TensorIndex, B: TensorIndex, C: TensorIndex>(_ a: A, _ b: B, _ c: C) -> Tensor {
        get { part([a.tensorIndex, b.tensorIndex, c.tensorIndex]) }
        set { setPart([a.tensorIndex, b.tensorIndex, c.tensorIndex], newValue) }
    }

    /// The part at indices of the first four dimensions.
    public subscript<A: TensorIndex, B: TensorIndex, C: TensorIndex, D: TensorIndex>(
        _ a: A, _ b: B, _ c: C, _ d: D
    ) -> Tensor {
        get { part([a.tensorIndex, b.tensorIndex, c.tensorIndex, d.tensorIndex]) }
        set { setPart([a.tensorIndex, b.tensorIndex, c.tensorIndex, d.tensorIndex], newValue) }
    }

    /// The part at any number of indices.
    public subscript(_ items: [TensorIndexItem]) -> Tensor {
        get { part(items) }
        set { setPart(items, newValue) }
    }

    private func part(_ items: [TensorIndexItem]) -> Tensor {
        orStop { try IndexedPart(self, items).read() }
    }

    private func setPart(_ items: [TensorIndexItem], _ value: Tensor) {
        orStop { try IndexedPart(self, items).write(value) }
    }
}

extension Tensor {
    /// The positions of the elements that are not 0, in row-major order: I64 `[number of them]`.
    ///
    /// - Throws: ``TensorError/dtypeMismatch(operation:dtypes:reason:)`` for dtypes without operations.
    public func nonzeroPositions() throws -> Tensor {
        try Tensor(booleans().enumerated().filter(\.element).map { Int64($0.offset) }).copied(to: device)
    }
}

/// The part of a tensor that a list of indices names.
private struct IndexedPart {
    let tensor: Tensor
    let items: [TensorIndexItem]
    private static let operation = "subscript"

    init(_ tensor: Tensor, _ items: [TensorIndexItem]) throws {
        self.tensor = tensor
        var items = items
        let consuming = items.reduce(0) { count, item in
            switch item {
            case .remaining, .inserted: count
            case .tensor(let index) where index.dtype == .bool: count + index.rank
            default: count + 1
            }
        }
        guard consuming <= tensor.rank else {
            throw TensorError.invalidArgument(
                operation: IndexedPart.operation,
                reason: "\(consuming) indices for the \(tensor.rank) dimensions of shape \(tensor.shape)")
        }
        let ellipses = items.indices.filter { if case .remaining = items[$0] { true } else { false } }
        guard ellipses.count <= 1 else {
            throw TensorError.invalidArgument(
                operation: IndexedPart.operation, reason: "only one .ellipsis is possible")
        }
        if let place = ellipses.first {
            let whole = [TensorIndexItem](
                repeating: .range(lower: nil, upper: nil, step: 1), count: tensor.rank - consuming)
            items.replaceSubrange(place...place, with: whole)
        }
        self.items = items
    }

    /// The tensor after all that makes views, and the index that is a tensor with its dimension, if there is one.
    private func view() throws -> (view: Tensor, index: (axis: Int, tensor: Tensor)?) {
        var result = tensor
        var axis = 0
        var index: (axis: Int, tensor: Tensor)?
        for item in items {
            switch item {
            case .index(let position):
                result = try result.select(axis, position)
            case .range(let lower, let upper, let step):
                result = try range(result, axis, lower, upper, step)
                axis += 1
            case .inserted:
                result = try result.unsqueeze(axis)
                axis += 1
            case .remaining: break
            case .tensor(let tensor):
                guard index == nil else {
                    throw TensorError.invalidArgument(
                        operation: IndexedPart.operation,
                        reason: "only one of the indices can be a tensor; take one after another")
                }
                index = (axis, tensor)
                axis += tensor.dtype == .bool ? tensor.rank : 1
            }
        }
        return (result, index)
    }

    private func range(_ tensor: Tensor, _ axis: Int, _ lower: Int?, _ upper: Int?, _ step: Int) throws -> Tensor {
        if lower == nil && upper == nil { return tensor }
        let extent = tensor.shape[axis]
        func place(_ bound: Int) -> Int { bound < 0 ? bound + extent : bound }
        let (first, end) = (place(lower ?? 0), place(upper ?? extent))
        guard first >= 0, first <= extent, end <= extent, end >= first, step > 0 else {
            throw TensorError.invalidArgument(
                operation: IndexedPart.operation,
                reason:
                    "\(lower.map(String.init) ?? "")..<\(upper.map(String.init) ?? "") of dimension \(axis) of shape "
                    + "\(tensor.shape); only 0..<\(extent) is there")
        }
        return try tensor.narrow(axis, first..<end, step: step)
    }

    func read() throws -> Tensor {
        let (view, index) = try view()
        guard let index else { return view }
        if index.tensor.dtype == .bool {
            let (flat, positions) = try masked(view, index.axis, index.tensor)
            return try flat.indexSelect(index.axis, positions)
        }
        let flat = try view.indexSelect(
            index.axis, index.tensor.reshape([index.tensor.count]).positive(view.shape[index.axis]))
        if index.tensor.rank == 1 { return flat }
        return try flat.reshape(view.shape[..<index.axis] + index.tensor.shape + view.shape[(index.axis + 1)...])
    }

    func write(_ value: Tensor) throws {
        let (view, index) = try view()
        guard let index else {
            // `x[0] += 1` reads a part, changes it in place, and would write it to itself.
            if value.storage === view.storage && value.layout == view.layout { return }
            return try view.assign(value, "copy")
        }
        guard index.tensor.dtype == .bool else {
            throw TensorError.invalidArgument(
                operation: IndexedPart.operation,
                reason: "writing to indices that a tensor holds is not possible; use a mask or a loop")
        }
        let mask = try index.tensor.reshape(
            index.tensor.shape + Array(repeating: 1, count: view.rank - index.axis - index.tensor.rank))
        try view.assign(select(mask, value, view), "copy")
    }

    /// The dimensions that a mask covers made one, and the positions in it that are true.
    private func masked(_ view: Tensor, _ axis: Int, _ mask: Tensor) throws -> (flat: Tensor, positions: Tensor) {
        let covered = Array(view.shape[axis..<axis + mask.rank])
        guard covered == mask.shape else {
            throw TensorError.shapeMismatch(
                operation: IndexedPart.operation, shapes: [view.shape, mask.shape],
                reason: "a mask must have the extents of the dimensions that it stands for")
        }
        let flat = try view.reshape(view.shape[..<axis] + [mask.count] + view.shape[(axis + mask.rank)...])
        return (flat, try mask.nonzeroPositions())
    }
}

extension Tensor {
    /// Indices with negative ones counted from the end.
    fileprivate func positive(_ extent: Int) throws -> Tensor {
        guard dtype.isInteger else {
            throw TensorError.dtypeMismatch(
                operation: "subscript", dtypes: [dtype], reason: "indices are I64, masks BOOL")
        }
        let indices = try converted(to: .i64, "subscript")
        return try NNTensor.select(
            BinaryOperation.less(indices, Tensor(number: 0)), BinaryOperation.add(indices, Tensor(number: extent)),
            indices)
    }
}
