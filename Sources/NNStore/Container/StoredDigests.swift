extension Checkpoint {
    /// How many logical bytes a chunk has, and so how many its digest is of.
    package static var chunkSize: Int { FileLayout.chunkSize }

    /// The digests of all storages, in the order of their ids, which begin at 1. They are those of the index: that the
    /// chunks have them is not checked here.
    package var storageDigests: [Digest] {
        get throws(StoreError) { try index.storages().map(\.digest) }
    }

    /// The digests of some chunks of a storage, from the index, without reading the chunks.
    ///
    /// - Parameter chunks: inside what the storage has.
    package func chunkDigests(ofStorage id: Int, _ chunks: Range<Int>) throws(StoreError) -> [Digest] {
        try index.chunks(of: index.storage(id), chunks).map(\.digest)
    }
}
