/// Reads chunks from a source and decodes them; for one thread at a time.
final class ChunkDecoder {
    private let source: any ByteSource
    private let version: SourceVersion
    /// One for each plane that is decoded at the same time as others.
    private var literals = [LiteralFrameDecoder()]
    /// For the frames that those can't decode.
    private var zstd: ZstdDecoder?
    /// The encoded bytes of a chunk, unless they are in memory.
    private var encodedRoom: Memory
    /// The planes that have to be decoded: as little memory as possible, so that it stays in the processor's cache.
    private var planesRoom: Memory
    private var plain: Memory?

    /// Room for more is made when a larger chunk comes: the first touch of much memory takes longer than to decode a few
    /// kilobytes.
    private static let smallChunk = 64 << 10
    /// Smaller chunks may as well stay in the cache.
    private static let smallestReadLater = 64 << 10

    init(_ source: any ByteSource, _ version: SourceVersion) throws(StoreError) {
        self.source = source
        self.version = version
        encodedRoom = try Memory.allocateUninitialized(0)
        planesRoom = encodedRoom
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

    /// Sees to it that there are `size` bytes, of which a chunk has at most 1 MiB, encoded or decoded.
    private static func makeRoom(_ size: Int, in room: inout Memory) throws(Failure) {
        guard size > room.byteCount else { return }
        do throws(StoreError) {
            room = try Memory.allocateUninitialized(size <= smallChunk ? smallChunk : FileLayout.chunkSize)
        } catch {
            throw .source(error)
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
        try ChunkDecoder.makeRoom(range.count, in: &encodedRoom)
        try encodedRoom.withMutableBytes(in: range) { (encoded: inout MutableRawSpan) throws(Failure) in
            try readEncoded(chunk, into: &encoded)
        }
        try encodedRoom.withBytes(in: range) { (encoded) throws(Failure) in try body(encoded, RawSpan()) }
    }

    /// Decodes the planes that are not stored and joins all of them.
    private func join(
        _ planes: PlaneTransform, _ encoded: RawSpan, _ ahead: RawSpan, _ chunk: ChunkRow,
        into destination: inout MutableRawSpan, _ isReadLater: Bool
    ) throws(Failure) {
        let whole = chunk.logicalSize / planes.width * planes.width
        try ChunkDecoder.makeRoom(chunk.logicalSize, in: &planesRoom)
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
        planesRoom.withBytes(in: 0..<planesRoom.byteCount) { decoded in
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
        into destination: inout MutableRawSpan, _ isReadLater: Bool,
        meanwhile: (inout PlaneJoining) -> Void = { _ in }
    ) {
        let places = parts.prefix(planes.width).map { $0.place(of: elements.lowerBound) }
        planesRoom.withBytes(in: 0..<planesRoom.byteCount) { decoded in
            destination.withBytes(in: elements.lowerBound * planes.width..<elements.upperBound * planes.width) {
                planes.join(
                    encoded: encoded, decoded: decoded, at: places, into: &$0, isReadLater: isReadLater,
                    meanwhile: meanwhile)
            }
        }
    }

    /// Decodes planes block by block, and joins those of one step, while they are in the processor's cache, beside decoding
    /// those of the next one, as far as all are frames of literals. Returns whether they were; if not, everything is to be
    /// done again.
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
        var decoded: Range<Int>?
        for start in stride(from: 0, to: count, by: step) {
            let next = start..<min(count, start + step)
            // The same share of what comes next as of this chunk.
            let ahead = ahead.extracting(
                ahead.byteCount * next.lowerBound / count..<ahead.byteCount * next.upperBound / count)
            var isDecoded = false
            if let decoded {
                join(planes, encoded, parts, decoded, into: &destination, isReadLater) {
                    isDecoded = decode(next, besides: &$0, step, planes, encoded, ahead, &parts)
                }
            } else {
                var nothing = PlaneJoining()
                isDecoded = decode(next, besides: &nothing, step, planes, encoded, ahead, &parts)
            }
            if !isDecoded { return false }
            decoded = next
        }
        join(planes, encoded, parts, decoded!, into: &destination, isReadLater)
        return true
    }

    /// Decodes the blocks that hold the bytes `next` of each plane. The bytes of the step before them stay where they are.
    private func decode(
        _ next: Range<Int>, besides joining: inout PlaneJoining, _ step: Int, _ planes: PlaneTransform,
        _ encoded: RawSpan, _ ahead: RawSpan, _ parts: inout [EncodedPlane]
    ) -> Bool {
        var ahead = ahead
        for index in 0..<planes.width where parts[index].part.coding == .zstd {
            let count = parts[index].size
            var end = count
            // What was decoded before is being joined, nearly always all of it. Steps take turns in two places, the second of
            // which may be larger.
            if next.lowerBound > 0, parts[index].decoded == next.lowerBound {
                if next.lowerBound - step - parts[index].origin < step {
                    parts[index].origin = next.lowerBound - step
                } else {
                    parts[index].origin = next.lowerBound
                    end = step
                }
            }
            let frame = encoded.extracting(parts[index].range)
            // The last step takes empty blocks at the end as well.
            while parts[index].decoded < next.upperBound || (next.upperBound == count && !literals[index].isFinished) {
                let free = parts[index].decoded - parts[index].origin..<end
                guard
                    let size = withRoom(
                        of: parts[index], free,
                        { literals[index].decodeBlock(of: frame, into: &$0, ahead: ahead, besides: &joining) })
                else { return false }
                parts[index].decoded += size
                ahead = RawSpan()
            }
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
        let start = plane.room.lowerBound
        return try planesRoom.withMutableBytes(in: start + range.lowerBound..<start + range.upperBound, body)
    }

    private func decode(_ frame: RawSpan, into destination: inout MutableRawSpan) throws(Failure) {
        if literals[0].decode(frame, into: &destination) { return }
        if zstd == nil {
            do throws(StoreError) { zstd = try ZstdDecoder() } catch { throw .source(error) }
        }
        do throws(ZstdDecoder.BadFrame) {
            try zstd!.decode(frame, into: &destination)
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
