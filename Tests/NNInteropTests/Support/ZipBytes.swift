/// A zip archive put together by hand, whose parts may contradict each other.
struct ZipBytes {
    struct Entry {
        var name: String
        /// The bytes as they are in the file.
        var bytes: [UInt8]
        var method: UInt16 = 0
        var flags: UInt16 = 0
        var crc: UInt32
        /// What the directory says of the size when decoded.
        var byteCount: Int
        var localName: String?
        var localFlags: UInt16?
        var localMethod: UInt16?
        var localCRC: UInt32?
        var localSize: UInt32?
        var localExtra: [UInt8] = []
        var extra: [UInt8] = []
        /// Where the directory says that it is; where it is, if nothing.
        var offset: Int?
        var descriptor: [UInt8] = []
        var directorySize: UInt32?

        init(_ name: String, _ bytes: [UInt8]) {
            self.name = name
            self.bytes = bytes
            crc = crc32(bytes)
            byteCount = bytes.count
        }

        /// The same with something changed.
        func with(_ change: (inout Entry) -> Void) -> Entry {
            var entry = self
            change(&entry)
            return entry
        }
    }

    let bytes: [UInt8]

    /// - Parameters:
    ///   - comment: what stands behind the end record.
    ///   - count: how many entries the end record has, it says.
    init(_ entries: [Entry], comment: [UInt8] = [], count: Int? = nil, between: [UInt8] = []) {
        var bytes: [UInt8] = []
        var directory: [UInt8] = []
        for entry in entries {
            let offset = bytes.count
            let localName = Array((entry.localName ?? entry.name).utf8)
            bytes += le(0x0403_4b50, 4) + le(20, 2) + le(Int(entry.localFlags ?? entry.flags), 2)
            bytes += le(Int(entry.localMethod ?? entry.method), 2) + le(0, 4) + le(Int(entry.localCRC ?? entry.crc), 4)
            bytes += le(Int(entry.localSize ?? UInt32(entry.bytes.count)), 4)
            bytes += le(Int(entry.localSize ?? UInt32(entry.byteCount)), 4)
            bytes += le(localName.count, 2) + le(entry.localExtra.count, 2) + localName + entry.localExtra + entry.bytes
            bytes += entry.descriptor
            directory += le(0x0201_4b50, 4) + le(20, 2) + le(20, 2) + le(Int(entry.flags), 2) + le(Int(entry.method), 2)
            directory += le(0, 4) + le(Int(entry.crc), 4)
            directory += le(Int(entry.directorySize ?? UInt32(entry.bytes.count)), 4)
            directory += le(Int(entry.directorySize ?? UInt32(entry.byteCount)), 4)
            directory +=
                le(entry.name.utf8.count, 2) + le(entry.extra.count, 2) + le(0, 2) + le(0, 2) + le(0, 2) + le(0, 4)
            directory += le(entry.offset ?? offset, 4) + entry.name.utf8 + entry.extra
        }
        bytes += between
        let start = bytes.count
        let number = count ?? entries.count
        bytes += directory
        bytes += le(0x0605_4b50, 4) + le(0, 4) + le(number, 2) + le(number, 2) + le(directory.count, 4) + le(start, 4)
        bytes += le(comment.count, 2) + comment
        self.bytes = bytes
    }
}

/// The bytes of an integer, little-endian.
func le(_ value: Int, _ count: Int) -> [UInt8] { (0..<count).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) } }

/// CRC-32, bit by bit.
func crc32(_ bytes: [UInt8]) -> UInt32 {
    var crc: UInt32 = 0xffff_ffff
    for byte in bytes {
        crc ^= UInt32(byte)
        for _ in 0..<8 { crc = crc & 1 == 1 ? crc >> 1 ^ 0xedb8_8320 : crc >> 1 }
    }
    return ~crc
}

/// A deflate stream of one block that is stored as it is (RFC 1951, 3.2.4).
func deflated(_ bytes: [UInt8]) -> [UInt8] { [1] + le(bytes.count, 2) + le(~bytes.count & 0xffff, 2) + bytes }
