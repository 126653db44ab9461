@testable import NNStore

/// What a chunk goes through.
enum CodecTargets {
    /// Decodes the input as a chunk. Its first bytes say transform, logical size, and the coding and size of each part; the
    /// rest are the encoded bytes, taken as they come.
    static func chunk(_ bytes: [UInt8]) throws {
        guard bytes.count > 24 else { return }
        let planes: PlaneTransform? =
            switch bytes[0] % 7 {
            case 0: nil
            case 1: PlaneTransform(width: .two, isRotated: false)
            case 2: PlaneTransform(width: .two, isRotated: true)
            case 3: PlaneTransform(width: .four, isRotated: false)
            case 4: PlaneTransform(width: .four, isRotated: true)
            case 5: PlaneTransform(width: .eight, isRotated: false)
            default: PlaneTransform(width: .eight, isRotated: true)
            }
        let size = max(planes?.width ?? 1, (Int(bytes[1]) | Int(bytes[2]) << 8 | Int(bytes[3] & 15) << 16) + 1)
        let data = Array(bytes[24...])
        let sizes = ChunkEncoding.partSizes(planes, logicalSize: size)
        var parts: [ChunkPart] = []
        var position = 0
        for (number, decoded) in sizes.enumerated() {
            let said = Int(bytes[4 + 2 * number]) | Int(bytes[5 + 2 * number]) << 8
            let coding: ChunkPart.Coding =
                number == planes?.width
                ? .stored : said % 3 == 0 ? .constant(bytes[5 + 2 * number]) : said % 3 == 1 ? .zstd : .stored
            if case .constant(let byte) = coding {
                parts.append(ChunkPart(constant: byte))
                continue
            }
            // What validation lets through: a stored part has its decoded size, a frame is shorter.
            let encoded = coding == .stored ? decoded : min(decoded - 1, said / 3 + 1)
            guard encoded > 0, encoded <= data.count - position else { return }
            let checksum = data.withRawSpan { Checksum64(of: $0.extracting(position..<position + encoded)) }
            parts.append(ChunkPart(coding: coding, encodedSize: encoded, checksum: checksum))
            position += encoded
        }
        let row = ChunkRow(
            sequence: 0, logicalSize: size, extent: 0..<position, encoding: ChunkEncoding(planes: planes, parts: parts),
            digest: Digest(high: 0, low: 0))
        let source = MemorySource(data)
        let decoder = try ChunkDecoder(source, SourceVersion(byteCount: data.count))
        var destination = [UInt8](repeating: 0, count: size)
        try destination.withMutableRawSpan { (destination: inout MutableRawSpan) throws(ChunkDecoder.Failure) in
            try decoder.decode(row, into: &destination)
        }
    }

    /// Decodes the input as a frame whose content size is the one it says, with our decoder and with libzstd's.
    static func frame(_ bytes: [UInt8]) throws {
        guard bytes.count > 9, let size = contentSize(bytes), size <= 1 << 20 else { return }
        var own = [UInt8](repeating: 0x55, count: size)
        let decoder = LiteralFrameDecoder()
        let isOwn = own.withMutableRawSpan { own in bytes.withRawSpan { decoder.decode($0, into: &own) } }
        var theirs = [UInt8](repeating: 0xaa, count: size)
        var library = try ZstdDecoder()
        var isTheirs = true
        do throws(ZstdDecoder.BadFrame) {
            try theirs.withMutableRawSpan { (theirs: inout MutableRawSpan) throws(ZstdDecoder.BadFrame) in
                try bytes.withRawSpan { (bytes: RawSpan) throws(ZstdDecoder.BadFrame) in
                    try library.decode(bytes, into: &theirs)
                }
            }
        } catch {
            isTheirs = false
        }
        // Frames that ours leaves alone are libzstd's; what ours takes, libzstd has to take, and to find the same in.
        guard isOwn else { return }
        guard isTheirs else { throw FuzzTarget.Finding("libzstd refuses a frame that our decoder takes") }
        guard own == theirs else { throw FuzzTarget.Finding("our decoder and libzstd's find other bytes in a frame") }
    }

    /// The content size in the header of a frame of one segment (RFC 8878 section 3.1.1.1).
    private static func contentSize(_ bytes: [UInt8]) -> Int? {
        guard bytes.starts(with: [0x28, 0xb5, 0x2f, 0xfd]), bytes[4] & 0x20 != 0 else { return nil }
        switch bytes[4] >> 6 {
        case 0: return Int(bytes[5])
        case 1: return Int(bytes[5]) + Int(bytes[6]) << 8 + 256
        case 2: return Int(bytes[5]) | Int(bytes[6]) << 8 | Int(bytes[7]) << 16 | Int(bytes[8]) << 24
        default: return nil
        }
    }

    /// Encodes the input as chunks of every compression and width, and decodes them again.
    static func roundtrip(_ bytes: [UInt8]) throws {
        guard !bytes.isEmpty, bytes.count <= FileLayout.chunkSize else { return }
        let memory = try Memory.allocate(bytes.count)
        memory.withMutableBytes(in: 0..<bytes.count) { target in bytes.withRawSpan { target.copy($0) } }
        let digest = bytes.withRawSpan { Digest(of: $0) }
        let pool = BufferPool()
        for compression in [Compression.fast, .smallest] {
            for version in [FormatVersion(1, 0), FileLayout.version] {
                let encoder = try ChunkEncoder(compression, version, pool)
                for dtype in [DType.u8, .bf16, .f32, .f64] {
                    let transforms = PlaneTransform.all(for: CollectionOfOne(dtype))
                    let encoded = try encoder.encode(memory, 0..<bytes.count, transforms, digest, isPooled: false)
                    let data = encoded.memory.withBytes(in: encoded.range) { $0.array }
                    let row = ChunkRow(
                        sequence: 0, logicalSize: bytes.count, extent: 0..<data.count, encoding: encoded.encoding,
                        digest: digest)
                    var decoded = [UInt8](repeating: 0x33, count: bytes.count)
                    let decoder = try ChunkDecoder(MemorySource(data), SourceVersion(byteCount: data.count))
                    try decoded.withMutableRawSpan { (decoded: inout MutableRawSpan) throws(ChunkDecoder.Failure) in
                        try decoder.decode(row, into: &decoded)
                    }
                    guard decoded == bytes else {
                        throw FuzzTarget.Finding("\(compression), \(version), \(dtype): wrong bytes")
                    }
                    if encoded.isPooled { pool.giveBack(encoded.memory) }
                }
            }
        }
    }
}
