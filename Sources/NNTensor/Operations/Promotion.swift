import NNStore

/// Which dtype an operation of several operands has: PyTorch's rules (`torch.result_type`).
enum Promotion {
    /// The dtype in which two tensors are combined. Of two categories (booleans, integers, floats) the higher one wins;
    /// inside one, tensors with dimensions decide over those without, and these over Swift numbers.
    static func dtype(_ left: Tensor, _ right: Tensor, _ operation: String) throws -> DType {
        if left.dtype == right.dtype { return left.dtype }
        var byRank: [DType?] = [nil, nil, nil]
        for tensor in [left, right] {
            let place = tensor.isNumber ? 2 : tensor.rank == 0 ? 1 : 0
            byRank[place] = try byRank[place].map { try dtype($0, tensor.dtype, operation) } ?? tensor.dtype
        }
        let weak = try combined(byRank[1], byRank[2], operation)
        return try combined(byRank[0], weak, operation)!
    }

    /// The dtype of the stronger one, unless the weaker one is of a higher category.
    private static func combined(_ strong: DType?, _ weak: DType?, _ operation: String) throws -> DType? {
        guard let strong, let weak else { return strong ?? weak }
        if category(strong) >= category(weak) { return strong }
        return strong == .bool || weak.isFloatingPoint ? try dtype(strong, weak, operation) : strong
    }

    /// Whether a result of one dtype may be written to memory of another one: floats to floats, integers to integers and
    /// floats, booleans to all.
    static func isWithinCategory(_ dtype: DType, of destination: DType) -> Bool {
        category(dtype) <= category(destination)
    }

    private static func category(_ dtype: DType) -> Int { dtype == .bool ? 0 : dtype.isFloatingPoint ? 2 : 1 }

    /// The smallest dtype that both are converted to (`torch.promote_types`).
    ///
    /// - Throws: ``TensorError/dtypeMismatch(operation:dtypes:reason:)`` if one has no operations.
    static func dtype(_ left: DType, _ right: DType, _ operation: String) throws -> DType {
        for dtype in [left, right] { _ = try dtype.elementType(for: operation) }
        if left == right || right == .bool { return left }
        if left == .bool { return right }
        switch (left.isFloatingPoint, right.isFloatingPoint) {
        case (true, false): return left
        case (false, true): return right
        case (true, true):
            // F16 and BF16 hold different numbers, so together they are F32.
            if left.bytesPerBlock == right.bytesPerBlock { return .f32 }
            return left.bytesPerBlock > right.bytesPerBlock ? left : right
        case (false, false):
            return try integer(left, right, operation)
        }
    }

    private static func integer(_ left: DType, _ right: DType, _ operation: String) throws -> DType {
        let (signed, unsigned) = (isSigned(left) ? left : right, isSigned(left) ? right : left)
        if isSigned(left) == isSigned(right) { return left.bytesPerBlock > right.bytesPerBlock ? left : right }
        if signed.bytesPerBlock > unsigned.bytesPerBlock { return signed }
        switch unsigned.bytesPerBlock {
        case 1: return .i16
        case 2: return .i32
        case 4: return .i64
        default:
            throw TensorError.dtypeMismatch(
                operation: operation, dtypes: [left, right],
                reason: "no integer holds the values of both; convert one of them")
        }
    }

    private static func isSigned(_ dtype: DType) -> Bool { dtype.name.hasPrefix("I") }

    /// The float dtype of a function like exp or a quotient: F32 for integers and booleans.
    static func float(_ dtype: DType) -> DType { dtype.isFloatingPoint ? dtype : .f32 }

    /// The dtype that loops run in: F32 for halves.
    static func computing(_ dtype: DType) -> DType { dtype.isHalf ? .f32 : dtype }
}
