/// Reads chunks from a source and decodes them; for one thread at a time.
final class ChunkDecoder {
    private let source: any ByteSource
    private let version: SourceVersion
    private var literals = LiteralFrameDecoder()
    private var zstd: ZstdDecoder
    /// The encoded bytes of a chunk, unless they are in memory, and behind them the planes that have to be decoded: as
    /// little memory as possible, so that all of it stays in the processor's cache.
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
            try withEncoded(chunk) { (encoded: RawSpan) throws(Failure) in
                if let planes = encoding.planes {
                    try join(planes, encoded, chunk, into: &destination)
                } else {
                    try decode(encoded, into: &destination)
                }
            }
        }
    }

    /// Calls `body` with the encoded bytes of a chunk, whose checksums were checked.
    private func withEncoded(
        _ chunk: ChunkRow, _ body: (RawSpan) throws(Failure) -> Void
    ) throws(Failure) {
        if let memory = source as? MemorySource {
            let result: Result<Void, Failure>
            do throws(StoreError) {
                result = try memory.withBytes(in: chunk.extent) { (encoded: RawSpan) in
                    Result { () throws(Failure) in
                        try check(chunk, encoded)
                        try body(encoded)
                    }
                }
            } catch {
                throw .source(error)
            }
            return try result.get()
        }
        let range = 0..<chunk.extent.count
        try work.withMutableBytes(in: range) { (encoded: inout MutableRawSpan) throws(Failure) in
            try readEncoded(chunk, into: &encoded)
        }
        try work.withBytes(in: range, body)
    }

    /// Decodes the planes that are not stored and joins all of them.
    private func join(
        _ planes: PlaneTransform, _ encoded: RawSpan, _ chunk: ChunkRow, into destination: inout MutableRawSpan
    ) throws(Failure) {
        let sizes = ChunkEncoding.partSizes(planes, logicalSize: chunk.logicalSize)
        var places: [PlaneTransform.Place] = []
        var position = 0
        var decodedEnd = 0
        for (part, size) in zip(chunk.encoding.parts, sizes) {
            let bytes = position..<position + part.encodedSize
            position = bytes.upperBound
            if part.coding == .stored {
                places.append(PlaneTransform.Place(isDecoded: false, offset: bytes.lowerBound))
                continue
            }
            places.append(PlaneTransform.Place(isDecoded: true, offset: decodedEnd))
            let start = ChunkDecoder.planesOffset + decodedEnd
            try work.withMutableBytes(in: start..<start + size) { (plane: inout MutableRawSpan) throws(Failure) in
                if case .constant(let byte) = part.coding {
                    plane.fill(byte)
                } else {
                    try decode(encoded.extracting(bytes), into: &plane)
                }
            }
            decodedEnd += size
        }
        let whole = chunk.logicalSize / planes.width * planes.width
        work.withBytes(in: ChunkDecoder.planesOffset..<work.byteCount) { (decoded: RawSpan) in
            destination.withBytes(in: 0..<whole) {
                planes.join(encoded: encoded, decoded: decoded, at: Array(places.prefix(planes.width)), into: &$0)
            }
            guard whole < chunk.logicalSize else { return }
            let remainder = places[planes.width]
            let bytes = (remainder.isDecoded ? decoded : encoded).extracting(
                remainder.offset..<remainder.offset + chunk.logicalSize - whole)
            destination.withBytes(in: whole..<chunk.logicalSize) { $0.copy(bytes) }
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
        try check(chunk, destination.bytes)
    }

    private func check(_ chunk: ChunkRow, _ encoded: RawSpan) throws(Failure) {
        var position = 0
        for (number, part) in chunk.encoding.parts.enumerated() where part.encodedSize > 0 {
            let found = Checksum64(of: encoded.extracting(position..<position + part.encodedSize))
            guard found == part.checksum else {
                let which = chunk.encoding.parts.count == 1 ? "its checksum" : "the checksum of its part \(number)"
                throw .damaged("\(which) is \(found), the index says \(part.checksum)")
            }
            position += part.encodedSize
        }
    }
}
