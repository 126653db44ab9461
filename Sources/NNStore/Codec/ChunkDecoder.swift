/// Reads chunks from a source and decodes them; one a thread.
final class ChunkDecoder {
    private let source: any ByteSource
    private let version: SourceVersion
    private var zstd: ZstdDecoder
    private let encoded: Memory
    private var plain: Memory?

    init(_ source: any ByteSource, _ version: SourceVersion) throws(StoreError) {
        self.source = source
        self.version = version
        zstd = try ZstdDecoder()
        encoded = try Memory.allocate(FileLayout.maximumEncodedSize)
    }

    /// Decodes a chunk into `destination`, which has just its logical size. The checksum of the encoded bytes is
    /// always checked before they are decoded.
    func decode(_ chunk: ChunkRow, of storage: Int, into destination: inout MutableRawSpan) throws(StoreError) {
        switch chunk.coding {
        case .stored:
            try source.read(chunk.extent, of: version, into: &destination)
            try check(destination.bytes, chunk, storage)
        case .zstd:
            let range = 0..<chunk.extent.count
            try encoded.withMutableBytes(in: range) { (encoded: inout MutableRawSpan) throws(StoreError) in
                try source.read(chunk.extent, of: version, into: &encoded)
            }
            try encoded.withBytes(in: range) { (encoded: RawSpan) throws(StoreError) in
                try check(encoded, chunk, storage)
                do {
                    try zstd.decode(encoded, into: &destination)
                } catch let error as ZstdDecoder.BadFrame {
                    throw damaged(chunk, storage, error.reason)
                }
            }
        }
    }

    /// Decodes the bytes `range` of a chunk's logical bytes into `destination`.
    func decode(
        _ range: Range<Int>, of chunk: ChunkRow, of storage: Int, into destination: inout MutableRawSpan
    ) throws(StoreError) {
        if range == 0..<chunk.logicalSize { return try decode(chunk, of: storage, into: &destination) }
        let plain: Memory
        if let own = self.plain { plain = own } else { plain = try Memory.allocate(FileLayout.chunkSize) }
        self.plain = plain
        try plain.withMutableBytes(in: 0..<chunk.logicalSize) { (plain: inout MutableRawSpan) throws(StoreError) in
            try decode(chunk, of: storage, into: &plain)
        }
        plain.withBytes(in: range) { destination.copy($0) }
    }

    private func check(_ encoded: RawSpan, _ chunk: ChunkRow, _ storage: Int) throws(StoreError) {
        let found = Checksum64(of: encoded)
        guard found == chunk.checksum else {
            throw damaged(chunk, storage, "its checksum is \(found), the index says \(chunk.checksum)")
        }
    }

    private func damaged(_ chunk: ChunkRow, _ storage: Int, _ reason: String) -> StoreError {
        .damaged(
            file: source.name,
            problem: Problem(
                .chunk, "chunk \(chunk.sequence) of storage \(storage) (file offset \(chunk.extent.lowerBound)): \(reason)",
                offset: chunk.extent.lowerBound))
    }
}
