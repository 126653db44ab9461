/// A row of `chunk` after validation (spec section 7).
struct ChunkRow: Sendable, Hashable {
    let sequence: Int
    let logicalSize: Int
    /// Where the encoded bytes lie in the file; 0..<0 if there are none.
    let extent: Range<Int>
    let encoding: ChunkEncoding
    let digest: Digest
}

/// How the encoded bytes of a chunk are to be read: what they are after decoding, and the parts that they consist of.
struct ChunkEncoding: Sendable, Hashable {
    /// The transform that decoding undoes; `nil` if the logical bytes are encoded as they are.
    let planes: PlaneTransform?
    /// The parts in the order of their bytes: one, or one for each plane and perhaps one for the remainder.
    let parts: [ChunkPart]

    /// The logical bytes as they are.
    static func stored(_ size: Int, _ checksum: Checksum64) -> ChunkEncoding {
        ChunkEncoding(planes: nil, parts: [ChunkPart(coding: .stored, encodedSize: size, checksum: checksum)])
    }

    /// Whether the encoded bytes are the logical bytes.
    var isStored: Bool { planes == nil && parts[0].coding == .stored }

    /// The byte that all logical bytes are, if the chunk has just one constant part.
    var constant: UInt8? {
        if planes == nil, case .constant(let byte) = parts[0].coding { byte } else { nil }
    }

    /// The bytes of all parts.
    var encodedSize: Int { parts.reduce(0) { $0 + $1.encodedSize } }

    /// The decoded sizes of the parts of a chunk of `logicalSize` bytes: of each plane, then of the remainder, if an
    /// element does not fit any more.
    static func partSizes(_ planes: PlaneTransform?, logicalSize: Int) -> [Int] {
        guard let width = planes?.width else { return [logicalSize] }
        var sizes = [Int](repeating: logicalSize / width, count: width)
        if logicalSize % width != 0 { sizes.append(logicalSize % width) }
        return sizes
    }
}

/// A part of a chunk, which can be cut out, checked and decoded alone.
struct ChunkPart: Sendable, Hashable {
    enum Coding: Sendable, Hashable {
        /// The encoded bytes are the decoded ones.
        case stored
        /// One zstd frame.
        case zstd
        /// No encoded bytes: the part is this byte again and again.
        case constant(UInt8)
    }

    let coding: Coding
    let encodedSize: Int
    /// Of the encoded bytes.
    let checksum: Checksum64

    init(coding: Coding, encodedSize: Int, checksum: Checksum64) {
        self.coding = coding
        self.encodedSize = encodedSize
        self.checksum = checksum
    }

    /// A part that is one byte again and again.
    init(constant byte: UInt8) {
        self.init(coding: .constant(byte), encodedSize: 0, checksum: ChunkPart.emptyChecksum)
    }

    /// The checksum of no bytes.
    static let emptyChecksum = [UInt8]().withRawSpan { Checksum64(of: $0) }
}

/// The column `parts`: 13 bytes for each part of a chunk.
enum ChunkParts {
    static let partSize = 13

    static func encode(_ parts: [ChunkPart]) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(parts.count * partSize)
        for part in parts {
            switch part.coding {
            case .stored: bytes.append(0)
            case .zstd: bytes.append(1)
            case .constant: bytes.append(2)
            }
            if case .constant(let byte) = part.coding {
                bytes.append(littleEndian: UInt32(byte))
            } else {
                bytes.append(littleEndian: UInt32(part.encodedSize))
            }
            part.checksum.append(to: &bytes)
        }
        return bytes
    }

    /// The parts that the bytes say, each valid in itself; `nil` if one is not.
    static func decode(_ bytes: [UInt8]) -> [ChunkPart]? {
        guard bytes.count % partSize == 0 else { return nil }
        return bytes.withRawSpan { (span: RawSpan) -> [ChunkPart]? in
            var parts: [ChunkPart] = []
            for start in stride(from: 0, to: bytes.count, by: partSize) {
                let number = Int(span.littleEndian(at: start + 1, as: UInt32.self))
                let checksum = Checksum64(in: span, at: start + 5)
                switch bytes[start] {
                case 0: parts.append(ChunkPart(coding: .stored, encodedSize: number, checksum: checksum))
                case 1: parts.append(ChunkPart(coding: .zstd, encodedSize: number, checksum: checksum))
                case 2:
                    guard let byte = UInt8(exactly: number), checksum == ChunkPart.emptyChecksum else { return nil }
                    parts.append(ChunkPart(constant: byte))
                default: return nil
                }
            }
            return parts
        }
    }
}
