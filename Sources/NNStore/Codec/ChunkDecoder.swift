/// Reads chunks from a source and decodes them; for one thread at a time.
final class ChunkDecoder {
    private let source: any ByteSource
    private let version: SourceVersion
    private var literals = LiteralFrameDecoder()
    private var zstd: ZstdDecoder
    /// The encoded bytes of a chunk, and behind them the planes that have to be decoded: as little memory as possible,
    /// so that all of it stays in the processor's cache.
    private let work: Memory
    private var plain: Memory?

    private static let planesOffset = FileLayout.maximumEncodedSize

    init(_ source: any ByteSource, _ version: SourceVersion) throws(StoreError) {
        self.source = source
        self.version = version
        zstd = try ZstdDecoder()
        work = try Memory.allocate(ChunkDecoder.planesOffset + FileLayout.chunkSize)
    }

    /// Why a chunk can't be decoded. Who asked knows what the chunk is called, and makes an error of it.
    enum Failure: Error {
        /// Reading failed.
        case source(StoreError)
        /// The bytes are not what the index says.
        case damaged(String)
    }

    /// Decodes a chunk into `destination`, which has just its logical size. The checksum of encoded bytes is always
    /// checked before they are decoded.
    ///
    /// - Parameter isZeroed: whether `destination` is zero, so that zeros need not be written.
    func decode(
        _ chunk: ChunkRow, into destination: inout MutableRawSpan, isZeroed: Bool = false
    ) throws(Failure) {
        let encoding = chunk.encoding
        if encoding.isStored {
            try readEncoded(chunk, into: &destination)
        } else if let byte = encoding.constant {
            if byte != 0 || !isZeroed { destination.fill(byte) }
        } else {
            let range = 0..<chunk.extent.count
            try work.withMutableBytes(in: range) { (encoded: inout MutableRawSpan) throws(Failure) in
                try readEncoded(chunk, into: &encoded)
            }
            if let planes = encoding.planes {
                try join(planes, chunk, into: &destination)
            } else {
                try work.withBytes(in: range) { (frame: RawSpan) throws(Failure) in
                    try decode(frame, into: &destination)
                }
            }
        }
    }

    /// Decodes the planes that are not stored and joins all of them.
    private func join(
        _ planes: PlaneTransform, _ chunk: ChunkRow, into destination: inout MutableRawSpan
    ) throws(Failure) {
        let sizes = ChunkEncoding.partSizes(planes, logicalSize: chunk.logicalSize)
        var offsets: [Int] = []
        var position = 0
        var decodedEnd = ChunkDecoder.planesOffset
        for (part, size) in zip(chunk.encoding.parts, sizes) {
            let encoded = position..<position + part.encodedSize
            position = encoded.upperBound
            let decoded = decodedEnd..<decodedEnd + size
            switch part.coding {
            case .stored:
                offsets.append(encoded.lowerBound)
                continue
            case .zstd:
                try work.withMutableBytes(in: decoded) { (plane: inout MutableRawSpan) throws(Failure) in
                    try work.withBytes(in: encoded) { (frame: RawSpan) throws(Failure) in
                        try decode(frame, into: &plane)
                    }
                }
            case .constant(let byte):
                work.withMutableBytes(in: decoded) { $0.fill(byte) }
            }
            offsets.append(decoded.lowerBound)
            decodedEnd = decoded.upperBound
        }
        let whole = chunk.logicalSize / planes.width * planes.width
        work.withBytes { (work: RawSpan) in
            destination.withBytes(in: 0..<whole) {
                planes.join(work, at: Array(offsets.prefix(planes.width)), into: &$0)
            }
            guard whole < chunk.logicalSize else { return }
            let remainder = offsets[planes.width]
            destination.withBytes(in: whole..<chunk.logicalSize) {
                $0.copy(work.extracting(remainder..<remainder + chunk.logicalSize - whole))
            }
        }
    }

    private func decode(_ frame: RawSpan, into destination: inout MutableRawSpan) throws(Failure) {
        if literals.decode(frame, into: &destination) { return }
        do throws(ZstdDecoder.BadFrame) {
            try zstd.decode(frame, into: &destination)
        } catch {
            throw .damaged(error.reason)
        }
    }

    /// Decodes the bytes `range` of a chunk's logical bytes into `destination`.
    func decode(
        _ range: Range<Int>, of chunk: ChunkRow, into destination: inout MutableRawSpan, isZeroed: Bool = false
    ) throws(Failure) {
        if range == 0..<chunk.logicalSize { return try decode(chunk, into: &destination, isZeroed: isZeroed) }
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

    /// Reads a chunk's encoded bytes into `destination`, which has just their size, and checks the checksums of its
    /// parts.
    func readEncoded(_ chunk: ChunkRow, into destination: inout MutableRawSpan) throws(Failure) {
        if chunk.extent.isEmpty { return }
        do throws(StoreError) {
            try source.read(chunk.extent, of: version, into: &destination)
        } catch {
            throw .source(error)
        }
        var position = 0
        for (number, part) in chunk.encoding.parts.enumerated() where part.encodedSize > 0 {
            let found = Checksum64(of: destination.bytes.extracting(position..<position + part.encodedSize))
            guard found == part.checksum else {
                let which = chunk.encoding.parts.count == 1 ? "its checksum" : "the checksum of its part \(number)"
                throw .damaged("\(which) is \(found), the index says \(part.checksum)")
            }
            position += part.encodedSize
        }
    }
}
