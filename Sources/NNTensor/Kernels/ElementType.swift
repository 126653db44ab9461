import CVectorMath
import NNStore

extension DType {
    private static let elementTypes: [DType: nnstore_element] = [
        .f64: nnstore_f64, .f32: nnstore_f32, .f16: nnstore_f16, .bf16: nnstore_bf16, .i64: nnstore_i64,
        .i32: nnstore_i32, .i16: nnstore_i16, .i8: nnstore_i8, .u64: nnstore_u64, .u32: nnstore_u32,
        .u16: nnstore_u16, .u8: nnstore_u8, .bool: nnstore_bool,
    ]

    /// The loops' name for the dtype; `nil` if there are none for it.
    var elementType: nnstore_element? {
        // The two that nearly all tensors have, without hashing a name.
        if self == .f32 { return nnstore_f32 }
        return DType.elementTypes[self]
    }

    /// - Throws: ``TensorError/dtypeMismatch(operation:dtypes:reason:)`` if there are no loops for the dtype.
    func elementType(for operation: String) throws -> nnstore_element {
        guard let type = elementType else {
            throw TensorError.dtypeMismatch(
                operation: operation, dtypes: [self], reason: "tensors of this dtype can be stored, not calculated with"
            )
        }
        return type
    }

    /// Whether the elements are floats that operations exist for.
    public var isFloatingPoint: Bool { self == .f32 || self == .f64 || self == .f16 || self == .bf16 }

    /// Whether the elements are floats of 16 bits, whose operations run in F32.
    var isHalf: Bool { self == .f16 || self == .bf16 }

    /// Whether the elements are integers (booleans are not).
    var isInteger: Bool { self != .bool && !isFloatingPoint && elementType != nil }
}
