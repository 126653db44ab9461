/// Reads chunks from a source and decodes them; for one thread at a time.
final class ChunkDecoder {
    private let source: any ByteSource
    private let version: SourceVersion
    /// One for each plane that is decoded at the same time as others.
    private var literals = [LiteralFrameDecoder()]
    private var zstd: ZstdDecoder
    /// The encoded bytes of a chunk, unless they are in memory, and behind them the planes that have to be decoded: as
    /// little memory as possible, so that all of it stays in the processor's cache.
    private let work: Memory
    private var plain: Memory?

    private static let planesOffset = FileLayout.maximumEncodedSize
    /// Smaller chunks may as well stay in the cache.
    private static let smallestReadLater = 64 << 10

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
    /// - Parameters:
    ///   - isZeroed: whether `destination` is zero, so that zeros need not be written.
    ///   - isReadLater: whether what is decoded is not read soon, so that it goes past the processor's caches.
    func decode(
        _ chunk: ChunkRow, into destination: inout MutableRawSpan, isZeroed: Bool = false, isReadLater: Bool = false
    ) throws(Failure) {
        let encoding = chunk.encoding
        if encoding.isStored {
            try readEncoded(chunk, into: &destination)
        } else if let byte = encoding.constant {
            if byte != 0 || !isZeroed { destination.fill(byte) }
        } else {
            try withEncoded(chunk) { (encoded: RawSpan, ahead: RawSpan) throws(Failure) in
                if let planes = encoding.planes {
                    let isReadLater = isReadLater && chunk.logicalSize >= ChunkDecoder.smallestReadLater
                    try join(planes, encoded, ahead, chunk, into: &destination, isReadLater)
                } else {
                    try decode(encoded, into: &destination)
                }
            }
        }
    }

    /// Calls `body` with the encoded bytes of a chunk, whose checksums were checked, and with as many of those behind them as
    /// are in memory: most likely they are wanted next.
    private func withEncoded(
        _ chunk: ChunkRow, _ body: (RawSpan, RawSpan) throws(Failure) -> Void
    ) throws(Failure) {
        if let memory = source as? MemorySource {
            let result: Result<Void, Failure>
            do throws(StoreError) {
                result = try memory.withBytes(in: chunk.extent, andBehind: chunk.extent.count) { encoded, ahead in
                    Result { () throws(Failure) in
                        try check(chunk, encoded)
                        try body(encoded, ahead)
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
        try work.withBytes(in: range) { (encoded) throws(Failure) in try body(encoded, RawSpan()) }
    }

    /// Decodes the planes that are not stored and joins all of them.
    private func join(
        _ planes: PlaneTransform, _ encoded: RawSpan, _ ahead: RawSpan, _ chunk: ChunkRow,
        into destination: inout MutableRawSpan, _ isReadLater: Bool
    ) throws(Failure) {
        let whole = chunk.logicalSize / planes.width * planes.width
        var parts = EncodedPlane.all(of: chunk)
        let isJoined = destination.withBytes(in: 0..<whole) {
            joinInSteps(planes, encoded, ahead, &parts, into: &$0, isReadLater)
        }
        if !isJoined {
            parts = EncodedPlane.all(of: chunk)
            for index in parts.indices { try decodeWhole(&parts[index], encoded) }
            destination.withBytes(in: 0..<whole) {
                join(planes, encoded, parts, 0..<chunk.logicalSize / planes.width, into: &$0, isReadLater)
            }
        }
        guard whole < chunk.logicalSize else { return }
        // Where planes were joined in steps, the remainder was left.
        try decodeWhole(&parts[planes.width], encoded)
        let remainder = parts[planes.width]
        work.withBytes(in: ChunkDecoder.planesOffset..<work.byteCount) { decoded in
            let place = remainder.place(of: 0)
            let bytes = (place.isDecoded ? decoded : encoded).extracting(place.offset..<place.offset + remainder.size)
            destination.withBytes(in: whole..<chunk.logicalSize) { $0.copy(bytes) }
        }
    }

    /// A plane or remainder while its chunk is decoded.
    private struct EncodedPlane {
        let part: ChunkPart
        /// Where its encoded bytes lie.
        let range: Range<Int>
        /// The bytes that it decodes to.
        let size: Int
        /// Where decoded bytes are put among all decoded planes.
        let room: Range<Int>
        /// The first of the plane's bytes that is there, and the number of those that were decoded so far.
        var origin = 0
        var decoded = 0

        static func all(of chunk: ChunkRow) -> [EncodedPlane] {
            let sizes = ChunkEncoding.partSizes(chunk.encoding.planes, logicalSize: chunk.logicalSize)
            var (position, roomStart) = (0, 0)
            return zip(chunk.encoding.parts, sizes).map { part, size in
                defer { (position, roomStart) = (position + part.encodedSize, roomStart + size) }
                return EncodedPlane(
                    part: part, range: position..<position + part.encodedSize, size: size,
                    room: roomStart..<roomStart + size)
            }
        }

        /// Where the plane's byte `index`, which was decoded if it had to be, and those behind it lie.
        func place(of index: Int) -> PlaneTransform.Place {
            switch part.coding {
            case .stored: PlaneTransform.Place(isDecoded: false, offset: range.lowerBound + index)
            // All are equal.
            case .constant: PlaneTransform.Place(isDecoded: true, offset: room.lowerBound)
            case .zstd: PlaneTransform.Place(isDecoded: true, offset: room.lowerBound + index - origin)
            }
        }
    }

    private func join(
        _ planes: PlaneTransform, _ encoded: RawSpan, _ parts: [EncodedPlane], _ elements: Range<Int>,
        into destination: inout MutableRawSpan, _ isReadLater: Bool
    ) {
        let places = parts.prefix(planes.width).map { $0.place(of: elements.lowerBound) }
        work.withBytes(in: ChunkDecoder.planesOffset..<work.byteCount) { decoded in
            destination.withBytes(in: elements.lowerBound * planes.width..<elements.upperBound * planes.width) {
                planes.join(encoded: encoded, decoded: decoded, at: places, into: &$0, isReadLater: isReadLater)
            }
        }
    }

    /// Decodes planes block by block and joins what was decoded while it is in the processor's cache, as far as all are
    /// frames of literals. Returns whether they were; if not, everything is to be done again.
    private func joinInSteps(
        _ planes: PlaneTransform, _ encoded: RawSpan, _ ahead: RawSpan, _ parts: inout [EncodedPlane],
        into destination: inout MutableRawSpan, _ isReadLater: Bool
    ) -> Bool {
        let count = destination.byteCount / planes.width
        if count == 0 { return false }
        let step = min(count, LiteralFrameEncoder.largestBlock)
        for index in 0..<planes.width {
            switch parts[index].part.coding {
            case .stored: break
            case .constant(let byte): withRoom(of: parts[index], 0..<step) { $0.fill(byte) }
            case .zstd:
                while literals.count <= index { literals.append(LiteralFrameDecoder()) }
                guard literals[index].begin(encoded.extracting(parts[index].range), contentSize: count) else {
                    return false
                }
            }
        }
        for start in stride(from: 0, to: count, by: step) {
            let end = min(count, start + step)
            // The same share of what comes next as of this chunk.
            var ahead = ahead.extracting(ahead.byteCount * start / count..<ahead.byteCount * end / count)
            for index in 0..<planes.width where parts[index].part.coding == .zstd {
                // What was decoded before has been joined, nearly always all of it.
                if parts[index].decoded == start { parts[index].origin = start }
                let frame = encoded.extracting(parts[index].range)
                // The last step takes empty blocks at the end as well.
                while parts[index].decoded < end || (end == count && !literals[index].isFinished) {
                    let free = parts[index].decoded - parts[index].origin..<count
                    guard
                        let size = withRoom(
                            of: parts[index], free, { literals[index].decodeBlock(of: frame, into: &$0, ahead: ahead) })
                    else { return false }
                    parts[index].decoded += size
                    ahead = RawSpan()
                }
            }
            join(planes, encoded, parts, start..<end, into: &destination, isReadLater)
        }
        return true
    }

    private func decodeWhole(_ plane: inout EncodedPlane, _ encoded: RawSpan) throws(Failure) {
        guard plane.part.coding != .stored else { return }
        try withRoom(of: plane, 0..<plane.size) { (bytes: inout MutableRawSpan) throws(Failure) in
            if case .constant(let byte) = plane.part.coding {
                bytes.fill(byte)
            } else {
                try decode(encoded.extracting(plane.range), into: &bytes)
            }
        }
        plane.origin = 0
        plane.decoded = plane.size
    }

    /// Calls `body` with a range of the room for a decoded plane.
    private func withRoom<Result, Failure: Error>(
        of plane: EncodedPlane, _ range: Range<Int>, _ body: (inout MutableRawSpan) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        let start = ChunkDecoder.planesOffset + plane.room.lowerBound
        return try work.withMutableBytes(in: start + range.lowerBound..<start + range.upperBound, body)
    }

    private func decode(_ frame: RawSpan, into destination: inout MutableRawSpan) throws(Failure) {
        if literals[0].decode(frame, into: &destination) { return }
        do throws(ZstdDecoder.BadFrame) {
            try zstd.decode(frame, into: &destination)
        } catch {
            throw .damaged(error.reason)
        }
    }

    /// Decodes the bytes `range` of a chunk's logical bytes into `destination`.
    func decode(
        _ range: Range<Int>, of chunk: ChunkRow, into destination: inout MutableRawSpan, isZeroed: Bool = false,
        isReadLater: Bool = false
    ) throws(Failure) {
        if range == 0..<chunk.logicalSize {
            return try decode(chunk, into: &destination, isZeroed: isZeroed, isReadLater: isReadLater)
        }
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
        var end = encoded.byteCount
        // The last part first: the first ones are decoded next, and are still in the processor's cache then.
        for (number, part) in chunk.encoding.parts.enumerated().reversed() where part.encodedSize > 0 {
            let found = Checksum64(of: encoded.extracting(end - part.encodedSize..<end))
            guard found == part.checksum else {
                let which = chunk.encoding.parts.count == 1 ? "its checksum" : "the checksum of its part \(number)"
                throw .damaged("\(which) is \(found), the index says \(part.checksum)")
            }
            end -= part.encodedSize
        }
    }
}
