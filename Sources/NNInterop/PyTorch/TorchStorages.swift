import NNStore

/// Where the bytes of a PyTorch file's storages are.
protocol TorchStorages: Sendable {
    /// The bytes of a storage.
    ///
    /// - Parameters:
    ///   - key: what the file calls it.
    ///   - byteCount: the size that the pickle gives it.
    ///   - fail: makes an error of a sentence about it.
    func backing(
        _ key: String, byteCount: Int, _ fail: (String) -> InteropError
    ) throws -> any StorageBacking

    /// Whether numbers are the other way round in the file.
    var isBigEndian: Bool { get }
}
