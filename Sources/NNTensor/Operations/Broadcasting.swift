/// The rules by which shapes are matched: from the last dimension on, extents are equal or one of them is 1.
enum Broadcasting {
    /// The shape that both are broadcast to.
    ///
    /// - Throws: ``TensorError/shapeMismatch(operation:shapes:reason:)`` if there is none.
    static func shape(_ left: [Int], _ right: [Int], _ operation: String) throws -> [Int] {
        if left == right { return left }
        let rank = max(left.count, right.count)
        var shape = [Int](repeating: 1, count: rank)
        for position in 1...max(1, rank) where position <= rank {
            let a = position <= left.count ? left[left.count - position] : 1
            let b = position <= right.count ? right[right.count - position] : 1
            guard a == b || a == 1 || b == 1 else {
                throw TensorError.shapeMismatch(
                    operation: operation, shapes: [left, right],
                    reason: "in dimension \(rank - position) \(a) meets \(b); they must be equal, or one of them 1")
            }
            shape[rank - position] = a == 1 ? b : a
        }
        return shape
    }

    /// Whether a tensor of shape `inner` is broadcast to just `outer`.
    static func fits(_ inner: [Int], in outer: [Int]) -> Bool {
        inner.count <= outer.count
            && zip(inner.reversed(), outer.reversed()).allSatisfy { $0 == $1 || $0 == 1 }
    }
}
