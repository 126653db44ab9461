import NNStore

/// The digests that a file has of its storages: a container has them in its index, other formats have none.
struct StorageDigests: Sendable {
    private let checkpoint: Checkpoint?
    private let ids: [Storage: Int]
    private let digests: [Digest]

    /// - Parameter state: what `file` gave as its state; the digests are of its storages.
    init(_ file: any CheckpointFile, _ state: StateTree) throws {
        guard let checkpoint = (file as? ContainerFile)?.checkpoint else {
            (self.checkpoint, ids, digests) = (nil, [:], [])
            return
        }
        self.checkpoint = checkpoint
        digests = try checkpoint.storageDigests
        ids = Dictionary(
            zip(state.tensors, try checkpoint.tensors).map { ($0.tensor.storage, $1.storage) },
            uniquingKeysWith: { first, _ in first })
    }

    /// The digest of a whole storage; `nil` if the file has none.
    func digest(of storage: Storage) -> Digest? { ids[storage].map { digests[$0 - 1] } }

    /// The digests of some chunks of a storage; `nil` if the file has none.
    func chunks(_ range: Range<Int>, of storage: Storage) throws -> [Digest]? {
        guard let checkpoint, let id = ids[storage] else { return nil }
        return try checkpoint.chunkDigests(ofStorage: id, range)
    }
}
