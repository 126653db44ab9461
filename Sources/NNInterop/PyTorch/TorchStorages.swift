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

/// A storage as a pickle names it.
struct TorchStorageReference {
    let key: String
    /// What its elements are; nothing if it is bytes.
    let element: TorchDType?
    /// Where it begins in the storage of that key, in bytes: other than 0 only for views of legacy files.
    let byteOffset: Int
    let byteCount: Int
    /// The size of the storage of that key, if it is known.
    let rootByteCount: Int?
}
