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

    /// Why a chunk can't be decoded. Who asked knows what the chunk is called, and makes an error of it.
    enum Failure: Error {
        /// Reading failed.
        case source(StoreError)
        /// The bytes are not what the index says.
        case damaged(String)
    }

    /// Decodes a chunk into `destination`, which has just its logical size. The checksum of the encoded bytes is
    /// always checked before they are decoded.
    func decode(_ chunk: ChunkRow, into destination: inout MutableRawSpan) throws(Failure) {
        switch chunk.coding {
        case .stored:
            try readEncoded(chunk, into: &destination)
        case .zstd:
            let range = 0..<chunk.extent.count
            try encoded.withMutableBytes(in: range) { (encoded: inout MutableRawSpan) throws(Failure) in
                try readEncoded(chunk, into: &encoded)
            }
            try encoded.withBytes(in: range) { (encoded: RawSpan) throws(Failure) in
                do throws(ZstdDecoder.BadFrame) {
                    try zstd.decode(encoded, into: &destination)
                } catch {
                    throw .damaged(error.reason)
                }
            }
        }
    }

    /// Decodes the bytes `range` of a chunk's logical bytes into `destination`.
    func decode(_ range: Range<Int>, of chunk: ChunkRow, into destination: inout MutableRawSpan) throws(Failure) {
        if range == 0..<chunk.logicalSize { return try decode(chunk, into: &destination) }
        let plain: Memory
        if let own = self.plain {
            plain = own
        } else {
            do throws(StoreError) { plain = try Memory.allocate(FileLayout.chunkSize) } catch { throw .source(error) }
        }
        self.plain = plain
        try plain.withMutableBytes(in: 0..<chunk.logicalSize) { (plain: inout MutableRawSpan) throws(Failure) in
            try decode(chunk, into: &plain)
        }
        plain.withBytes(in: range) { destination.copy($0) }
    }

    /// Reads a chunk's encoded bytes into `destination`, which has just their size, and checks their checksum.
    func readEncoded(_ chunk: ChunkRow, into destination: inout MutableRawSpan) throws(Failure) {
        do throws(StoreError) {
            try source.read(chunk.extent, of: version, into: &destination)
        } catch {
            throw .source(error)
        }
        let found = Checksum64(of: destination.bytes)
        guard found == chunk.checksum else {
            throw .damaged("its checksum is \(found), the index says \(chunk.checksum)")
        }
    }
}
