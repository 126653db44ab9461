import NNStore

/// A value that a gradient will need, as it was when the operation ran.
///
/// Memory, layout and version, never the tensor: an operation that saves its own result would keep itself alive.
struct SavedValue {
    let storage: Storage
    let layout: TensorLayout
    /// What the tensor was if it was a Swift number.
    private let isNumber: Bool
    private let exactNumber: Double?
    private let version: UInt64
    private let operation: String

    init(_ tensor: Tensor, for operation: String) {
        storage = tensor.storage
        layout = tensor.layout
        isNumber = tensor.isNumber
        exactNumber = tensor.exactNumber
        version = tensor.storage.version
        self.operation = operation
    }

    /// The value, without history.
    ///
    /// - Throws: ``TensorError/overwritten(operation:shape:dtype:savedVersion:version:)`` if its memory was written to since.
    func value() throws -> Tensor {
        let now = storage.version
        guard now == version else {
            throw TensorError.overwritten(
                operation: operation, shape: layout.shape, dtype: layout.dtype, savedVersion: version, version: now)
        }
        let tensor = Tensor(storage, layout)
        tensor.isNumber = isNumber
        tensor.exactNumber = exactNumber
        return tensor
    }
}
