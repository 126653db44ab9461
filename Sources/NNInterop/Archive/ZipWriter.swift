import NNStore

/// Writes a zip archive of stored entries, from front to back: nothing that was written is changed afterwards, so checksums stand
/// behind the bytes and in the directory.
final class ZipWriter {
    private struct Row {
        let name: [UInt8]
        let crc: UInt32
        let byteCount: Int
        let offset: Int
    }

    private let output: BufferedOutput
    private let start: Int
    private var rows: [Row] = []

    /// A descriptor follows the bytes; the name is UTF-8.
    private static let flags: UInt16 = 0x0808
    /// The first of January 1980, the first day that the format has: equal contents give equal archives.
    private static let date: UInt16 = 0x0021
    private static let narrow = 0xffff_ffff

    init(_ output: BufferedOutput) {
        self.output = output
        start = output.position
    }

    /// Adds an entry.
    ///
    /// - Parameters:
    ///   - alignment: its bytes begin at a multiple of so many.
    ///   - body: appends just `byteCount` bytes by the closure that it is given.
    func add(
        _ name: String, byteCount: Int, alignment: Int = 1, _ body: ((RawSpan) throws -> Void) throws -> Void
    ) throws {
        let name = Array(name.utf8)
        guard name.count <= Int(UInt16.max) - 1024 else {
            throw StoreError.invalidArgument(reason: "a name of \(name.count) bytes is too long for a zip archive")
        }
        let offset = output.position - start
        let isWide = byteCount >= ZipWriter.narrow
        var extra: [UInt8] = []
        if isWide {
            extra.append(littleEndian: UInt16(1))
            extra.append(littleEndian: UInt16(16))
            extra.append(littleEndian: UInt64(byteCount))
            extra.append(littleEndian: UInt64(byteCount))
        }
        // PyTorch pads so too.
        let unpadded = offset + 30 + name.count + extra.count + 4
        let padding = (alignment - unpadded % alignment) % alignment
        if alignment > 1 {
            extra += "FB".utf8
            extra.append(littleEndian: UInt16(padding))
            extra += [UInt8](repeating: UInt8(ascii: "Z"), count: padding)
        }
        var header: [UInt8] = []
        header.append(littleEndian: UInt32(0x0403_4b50))
        appendCommon(to: &header, isWide: isWide)
        // The sizes are known, and readers of streams want them; the checksum is not.
        header.append(littleEndian: UInt32(0))
        header.append(littleEndian: isWide ? UInt32.max : UInt32(byteCount))
        header.append(littleEndian: isWide ? UInt32.max : UInt32(byteCount))
        header.append(littleEndian: UInt16(name.count))
        header.append(littleEndian: UInt16(extra.count))
        try output.append(header + name + extra)

        var crc: UInt32 = 0
        var written = 0
        try body { bytes in
            guard bytes.byteCount <= byteCount - written else {
                throw StoreError.invalidArgument(reason: "more than the \(byteCount) bytes that an entry was to have")
            }
            crc = Checksum32.appending(bytes, to: crc)
            written += bytes.byteCount
            try output.append(bytes)
        }
        guard written == byteCount else {
            throw StoreError.invalidArgument(reason: "\(written) bytes, an entry was to have \(byteCount)")
        }
        var descriptor: [UInt8] = []
        descriptor.append(littleEndian: UInt32(0x0807_4b50))
        descriptor.append(littleEndian: crc)
        for _ in 0..<2 {
            if isWide {
                descriptor.append(littleEndian: UInt64(byteCount))
            } else {
                descriptor.append(littleEndian: UInt32(byteCount))
            }
        }
        try output.append(descriptor)
        rows.append(Row(name: name, crc: crc, byteCount: byteCount, offset: offset))
    }

    /// Version, flags, method, time and date.
    private func appendCommon(to header: inout [UInt8], isWide: Bool) {
        header.append(littleEndian: UInt16(isWide ? 45 : 20))
        header.append(littleEndian: ZipWriter.flags)
        header.append(littleEndian: UInt16(0))
        header.append(littleEndian: UInt16(0))
        header.append(littleEndian: ZipWriter.date)
    }

    /// Writes the directory.
    func finish() throws {
        let directory = output.position - start
        for row in rows {
            var wide: [UInt8] = []
            let isLarge = row.byteCount >= ZipWriter.narrow
            let isFar = row.offset >= ZipWriter.narrow
            if isLarge {
                wide.append(littleEndian: UInt64(row.byteCount))
                wide.append(littleEndian: UInt64(row.byteCount))
            }
            if isFar { wide.append(littleEndian: UInt64(row.offset)) }
            var extra: [UInt8] = []
            if !wide.isEmpty {
                extra.append(littleEndian: UInt16(1))
                extra.append(littleEndian: UInt16(wide.count))
                extra += wide
            }
            var bytes: [UInt8] = []
            bytes.append(littleEndian: UInt32(0x0201_4b50))
            bytes.append(littleEndian: UInt16(isLarge || isFar ? 45 : 20))
            appendCommon(to: &bytes, isWide: isLarge || isFar)
            bytes.append(littleEndian: row.crc)
            bytes.append(littleEndian: isLarge ? UInt32.max : UInt32(row.byteCount))
            bytes.append(littleEndian: isLarge ? UInt32.max : UInt32(row.byteCount))
            bytes.append(littleEndian: UInt16(row.name.count))
            bytes.append(littleEndian: UInt16(extra.count))
            // Comment, disk, and what systems keep.
            bytes += [UInt8](repeating: 0, count: 10)
            bytes.append(littleEndian: isFar ? UInt32.max : UInt32(row.offset))
            try output.append(bytes + row.name + extra)
        }
        let end = output.position - start
        let size = end - directory
        var bytes: [UInt8] = []
        if rows.count >= 0xffff || size >= ZipWriter.narrow || directory >= ZipWriter.narrow {
            bytes.append(littleEndian: UInt32(0x0606_4b50))
            bytes.append(littleEndian: UInt64(44))
            bytes.append(littleEndian: UInt16(45))
            bytes.append(littleEndian: UInt16(45))
            bytes += [UInt8](repeating: 0, count: 8)
            for value in [rows.count, rows.count, size, directory] { bytes.append(littleEndian: UInt64(value)) }
            bytes.append(littleEndian: UInt32(0x0706_4b50))
            bytes.append(littleEndian: UInt32(0))
            bytes.append(littleEndian: UInt64(end))
            bytes.append(littleEndian: UInt32(1))
        }
        bytes.append(littleEndian: UInt32(0x0605_4b50))
        bytes.append(littleEndian: UInt32(0))
        let count = UInt16(min(rows.count, 0xffff))
        bytes.append(littleEndian: count)
        bytes.append(littleEndian: count)
        bytes.append(littleEndian: UInt32(min(size, ZipWriter.narrow)))
        bytes.append(littleEndian: UInt32(min(directory, ZipWriter.narrow)))
        bytes.append(littleEndian: UInt16(0))
        try output.append(bytes)
    }
}
