/// Encodes the chunks of format 2: planes of elements, each in the cheapest coding (spec section 7); one a thread.
///
/// What it makes of a chunk depends on the chunk's bytes, the transforms offered and the compression alone, so files
/// are equal whatever the number of threads.
final class PlaneCoder {
    private let effort: Effort
    private let pool: BufferPool
    private var literals: LiteralFrameEncoder
    private var matches: ZstdEncoder
    /// Takes many times longer; only where everything is tried.
    private var strongest: ZstdEncoder?
    private var sampler = PlaneSampler()
    private let planes: Memory
    /// For a second try, when the first one is to be kept until it is known which is shorter.
    private var second: Memory?
    /// For a try of a whole chunk; only where everything is tried.
    private var candidate: Memory?

    private enum Effort {
        /// A sample of each plane decides.
        case sampling
        /// Everything that may be shorter is tried.
        case trying
    }

    /// - Parameter compression: `fast` or `smallest`.
    init(_ compression: Compression, _ pool: BufferPool) throws(StoreError) {
        self.pool = pool
        effort = compression == .smallest ? .trying : .sampling
        literals = LiteralFrameEncoder(countsAll: compression == .smallest)
        matches = try ZstdEncoder(level: 3)
        if compression == .smallest { strongest = try ZstdEncoder(level: 16) }
        planes = try pool.take()
    }

    /// Encodes a chunk to the beginning of `destination`, which has its size at least; `nil` if it would not be shorter.
    ///
    /// - Parameter transforms: those that the dtypes of the chunk's tensors suggest, `nil` among them for none.
    func encode(
        _ source: RawSpan, _ transforms: [PlaneTransform?], into destination: inout MutableRawSpan
    ) throws(StoreError) -> ChunkEncoding? {
        if let byte = source.constantByte { return ChunkEncoding(planes: nil, parts: [ChunkPart(constant: byte)]) }
        let fitting = transforms.filter { ($0?.width ?? 1) <= source.byteCount }
        let encoding: ChunkEncoding
        switch effort {
        case .sampling:
            encoding = try encode(
                source, fitting.count > 1 ? likeliest(fitting, source) : fitting.first ?? nil, &destination)
        case .trying:
            encoding = try encodeShortest(source, fitting, &destination)
        }
        return PlaneCoder.cost(encoding) < source.byteCount + ChunkParts.partSize ? encoding : nil
    }

    /// What an encoding takes in the file, its parts in the index included.
    private static func cost(_ encoding: ChunkEncoding) -> Int {
        encoding.encodedSize + encoding.parts.count * ChunkParts.partSize
    }

    /// Of several transforms the one that a sample of the chunk is shortest with.
    private func likeliest(_ transforms: [PlaneTransform?], _ source: RawSpan) -> PlaneTransform? {
        // From the middle, at a multiple of every width.
        let size = min(source.byteCount, 32 << 10) / 8 * 8
        let start = (source.byteCount - size) / 2 / 8 * 8
        let part = source.extracting(start..<start + size)
        var best: (transform: PlaneTransform?, size: Int)?
        for transform in transforms where size > 0 {
            let estimate: Int
            if let transform {
                planes.withMutableBytes(in: 0..<size) { transform.split(part, into: &$0) }
                let count = size / transform.width
                estimate = (0..<transform.width).reduce(0) { sum, plane in
                    sum + planes.withBytes(in: plane * count..<(plane + 1) * count) { estimatedSize($0) }
                }
            } else {
                estimate = estimatedSize(part)
            }
            if estimate < best?.size ?? .max { best = (transform, estimate) }
        }
        return best?.transform
    }

    private func estimatedSize(_ plane: RawSpan) -> Int {
        plane.constantByte != nil ? 0 : min(plane.byteCount, sampler.sample(plane).literalSize(plane.byteCount))
    }

    /// Encodes with each transform and without one, and keeps the shortest.
    private func encodeShortest(
        _ source: RawSpan, _ transforms: [PlaneTransform?], _ destination: inout MutableRawSpan
    ) throws(StoreError) -> ChunkEncoding {
        let candidate = if let candidate { candidate } else { try pool.take() }
        self.candidate = candidate
        var best: ChunkEncoding?
        // None comes last: by then it is known how short it has to be to be worth a long search.
        for transform in transforms.filter({ $0 != nil }) + [nil] {
            let limit = best?.encodedSize ?? source.byteCount
            let encoding = try candidate.withMutableBytes(in: 0..<candidate.byteCount) {
                (bytes: inout MutableRawSpan) throws(StoreError) in
                try encode(source, transform, &bytes, rival: transform == nil ? limit : .max)
            }
            if let best, PlaneCoder.cost(best) <= PlaneCoder.cost(encoding) { continue }
            candidate.withBytes(in: 0..<encoding.encodedSize) { destination.copy($0) }
            best = encoding
        }
        return best!
    }

    /// - Parameter rival: the size of another encoding of the chunk.
    private func encode(
        _ source: RawSpan, _ transform: PlaneTransform?, _ destination: inout MutableRawSpan, rival: Int = .max
    ) throws(StoreError) -> ChunkEncoding {
        guard let transform else {
            let sample = sampler.sample(source)
            let repeats =
                sample.hasRepeats || sampler.hasDistantRepeats(source, sample)
                || sampler.hasRepeatedElements(
                    source, width: 1, encodedIn: min(source.byteCount, sample.literalSize(source.byteCount)))
            let part = try encodePart(source, sample, mayRepeat: repeats, into: &destination, at: 0, rival: rival)
            return ChunkEncoding(planes: nil, parts: [part])
        }
        let count = source.byteCount / transform.width
        let whole = count * transform.width
        planes.withMutableBytes(in: 0..<whole) { transform.split(source.extracting(0..<whole), into: &$0) }
        let ranges = (0..<transform.width).map { $0 * count..<($0 + 1) * count }
        let samples = ranges.map { range in planes.withBytes(in: range) { sampler.sample($0) } }
        // Where elements repeat, the densest plane shows it best: there, least repeats by chance.
        let densest = samples.indices.max { samples[$0].entropy < samples[$1].entropy }!
        let repeats = planes.withBytes(in: ranges[densest]) { sampler.hasDistantRepeats($0, samples[densest]) }
        var parts: [ChunkPart] = []
        var position = 0
        for (range, sample) in zip(ranges, samples) {
            let part = try planes.withBytes(in: range) { (bytes: RawSpan) throws(StoreError) in
                try encodePart(
                    bytes, sample, mayRepeat: repeats || sample.hasRepeats, into: &destination, at: position)
            }
            position += part.encodedSize
            parts.append(part)
        }
        if whole < source.byteCount {
            parts.append(store(source.extracting(whole..<source.byteCount), in: &destination, at: position))
        }
        let encoding = ChunkEncoding(planes: transform, parts: parts)
        // Matches of whole elements may beat those of planes. (Where everything is tried, so are they.)
        guard case .sampling = effort,
            repeats || samples[densest].hasRepeats || samples[0].isSparse(width: transform.width)
                || sampler.hasRepeatedElements(source, width: transform.width, encodedIn: encoding.encodedSize),
            let size = try improve(encoding.encodedSize, source, .matches, in: &destination, at: 0)
        else { return encoding }
        let checksum = destination.withBytes(in: 0..<size) { Checksum64(of: $0.bytes) }
        return ChunkEncoding(planes: nil, parts: [ChunkPart(coding: .zstd, encodedSize: size, checksum: checksum)])
    }

    /// Encodes a plane to `position` in its cheapest coding. There is room for all of its bytes.
    private func encodePart(
        _ plane: RawSpan, _ sample: PlaneSample, mayRepeat: Bool, into destination: inout MutableRawSpan,
        at position: Int, rival: Int = .max
    ) throws(StoreError) -> ChunkPart {
        if let byte = plane.constantByte { return ChunkPart(constant: byte) }
        let size = plane.byteCount
        var length: Int?
        switch effort {
        case .sampling:
            let literalSize = sample.literalSize(size)
            if mayRepeat {
                length = try encode(plane, .matches, into: &destination, at: position)
                // Literals are decoded several times faster than matches, so those have to be worth it.
                let limit = length.map { $0 + size / PlaneCoder.leastGain } ?? size
                if literalSize < limit {
                    length = try improve(limit, plane, .literals, in: &destination, at: position) ?? length
                }
            } else if literalSize < size - size / PlaneCoder.leastGain {
                length = try encode(plane, .literals, into: &destination, at: position)
            }
        case .trying:
            length = try encode(plane, .literals, into: &destination, at: position)
            if length != nil, size > PlaneCoder.smallBlock {
                length = try improve(length!, plane, .smallLiterals, in: &destination, at: position) ?? length
            }
            // The quick search tells whether the slow one may find anything that is worth its time.
            let best = length ?? size
            let margin = sample.mayHaveRepeats ? 8 : 32
            let limit = min(length.map { $0 + $0 / margin } ?? size - size / PlaneCoder.leastGain, rival)
            if let quick = try attempt(plane, .matches, shorterThan: limit) {
                if quick < best { length = accept(quick, in: &destination, at: position) }
                length = try improve(length ?? size, plane, .bestMatches, in: &destination, at: position) ?? length
            }
        }
        guard let length else { return store(plane, in: &destination, at: position) }
        let checksum = destination.withBytes(in: position..<position + length) { Checksum64(of: $0.bytes) }
        return ChunkPart(coding: .zstd, encodedSize: length, checksum: checksum)
    }

    /// Less than this part of a plane's size is not worth what it costs to decode: of a plane that would lose no more by
    /// literals, which is stored then, and of one that would lose no more by matches than by literals.
    private static let leastGain = 128
    private static let smallBlock = 32 << 10

    /// How a frame can be made.
    private enum Way {
        case literals
        /// With more codes, for planes whose statistics change.
        case smallLiterals
        case matches
        /// Takes many times longer than the others.
        case bestMatches
    }

    private func frame(
        _ plane: RawSpan, _ way: Way, into bytes: inout MutableRawSpan, shorterThan limit: Int
    ) throws(StoreError) -> Int? {
        switch way {
        case .literals: try literals.encode(plane, into: &bytes, shorterThan: limit)
        case .smallLiterals:
            try literals.encode(plane, into: &bytes, shorterThan: limit, blockSize: PlaneCoder.smallBlock)
        case .matches: try matches.encode(plane, into: &bytes, shorterThan: limit)
        case .bestMatches: try strongest?.encode(plane, into: &bytes, shorterThan: limit)
        }
    }

    /// Encodes a plane to `position`, if it becomes shorter; returns its length then.
    private func encode(
        _ plane: RawSpan, _ way: Way, into destination: inout MutableRawSpan, at position: Int
    ) throws(StoreError) -> Int? {
        let end = min(destination.byteCount, position + plane.byteCount + BufferPool.slack)
        return try destination.withBytes(in: position..<end) { (bytes: inout MutableRawSpan) throws(StoreError) in
            try frame(plane, way, into: &bytes, shorterThan: plane.byteCount)
        }
    }

    /// Encodes a plane aside, if it becomes shorter than `limit`; returns its length then.
    private func attempt(_ plane: RawSpan, _ way: Way, shorterThan limit: Int) throws(StoreError) -> Int? {
        let second = if let second { second } else { try pool.take() }
        self.second = second
        return try second.withMutableBytes(in: 0..<second.byteCount) {
            (bytes: inout MutableRawSpan) throws(StoreError) in
            try frame(plane, way, into: &bytes, shorterThan: limit)
        }
    }

    /// Puts what the last attempt made to `position`.
    private func accept(_ length: Int, in destination: inout MutableRawSpan, at position: Int) -> Int {
        second?.withBytes(in: 0..<length) { bytes in
            destination.withBytes(in: position..<position + length) { $0.copy(bytes) }
        }
        return length
    }

    /// Puts another encoding in the place of one, if it is shorter than `limit`; returns its length then.
    private func improve(
        _ limit: Int, _ plane: RawSpan, _ way: Way, in destination: inout MutableRawSpan, at position: Int
    ) throws(StoreError) -> Int? {
        try attempt(plane, way, shorterThan: limit).map { accept($0, in: &destination, at: position) }
    }

    private func store(_ bytes: RawSpan, in destination: inout MutableRawSpan, at position: Int) -> ChunkPart {
        destination.withBytes(in: position..<position + bytes.byteCount) { $0.copy(bytes) }
        return ChunkPart(coding: .stored, encodedSize: bytes.byteCount, checksum: Checksum64(of: bytes))
    }
}
