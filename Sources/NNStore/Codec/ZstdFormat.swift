/// The headers of zstd's format (RFC 8878) as ``LiteralFrameEncoder`` writes them.
enum ZstdFormat {
    /// Magic number and frame header of a single segment (section 3.1.1.1).
    static func frameHeader(contentSize: Int) -> [UInt8] {
        let magic: [UInt8] = [0x28, 0xb5, 0x2f, 0xfd]
        return switch contentSize {
        case ..<256: magic + [0x20] + littleEndian(contentSize, 1)
        case ..<(256 + 1 << 16): magic + [0x60] + littleEndian(contentSize - 256, 2)
        default: magic + [0xa0] + littleEndian(contentSize, 4)
        }
    }

    enum BlockType: Int {
        case raw = 0
        /// One byte again and again.
        case repeated = 1
        case compressed = 2
    }

    /// Section 3.1.1.2.
    ///
    /// - Parameter size: that of the block, or of what it decodes to if it is one byte again and again.
    static func blockHeader(_ type: BlockType, size: Int, isLast: Bool) -> [UInt8] {
        littleEndian(size << 3 | type.rawValue << 1 | (isLast ? 1 : 0), 3)
    }

    /// The header of `count` literals in four streams (section 3.1.1.3.1.1).
    ///
    /// - Parameters:
    ///   - encodedSize: the bytes of the code's description, of the jump table and of the streams.
    ///   - isDescribed: whether there is a description.
    static func literalsHeader(_ count: Int, encodedSize: Int, isDescribed: Bool) -> [UInt8] {
        let (format, bits, size) =
            switch max(count, encodedSize) {
            case ..<(1 << 10): (1, 10, 3)
            case ..<(1 << 14): (2, 14, 4)
            default: (3, 18, 5)
            }
        return littleEndian((isDescribed ? 2 : 3) | format << 2 | count << 4 | encodedSize << (4 + bits), size)
    }

    static func littleEndian(_ value: Int, _ size: Int) -> [UInt8] {
        (0..<size).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
    }
}
