import NNStore

/// Every rule about the structure of a zip archive. Nothing else decides whether one is valid.
struct ZipDirectory {
    private let source: any ByteSource
    private let version: SourceVersion
    /// A stretch of the file that was read: headers stand close together.
    private var window: [UInt8] = []
    private var windowStart = 0

    private static let endSize = 22
    private static let headerSize = 30
    private static let windowSize = 4096

    init(_ source: any ByteSource, _ version: SourceVersion) {
        self.source = source
        self.version = version
    }

    private var fileSize: Int { version.byteCount }

    private func error(_ problem: ArchiveProblem) -> InteropError { .invalidArchive(file: source.name, problem) }

    /// The entries in the order of the directory, each compared with its own header.
    mutating func entries() throws -> [ZipArchive.Entry] {
        let end = try findEnd()
        let bytes = try source.bytes(end.directory, of: version)
        var rows: [Row] = []
        var position = 0
        for _ in 0..<end.count {
            rows.append(try row(bytes, &position, at: end.directory.lowerBound + position))
        }
        guard position == bytes.count else {
            throw error(
                .structure(
                    offset: end.directory.lowerBound + position,
                    problem: "the directory has \(bytes.count - position) bytes more than its \(end.count) entries take"
                ))
        }
        var extents = [Range<Int>](repeating: 0..<0, count: rows.count)
        var last: (name: String, end: Int) = ("", 0)
        for number in rows.indices.sorted(by: { rows[$0].offset < rows[$1].offset }) {
            let row = rows[number]
            guard row.offset >= last.end else {
                throw error(.overlap(entry: row.name, other: last.name, offset: row.offset))
            }
            extents[number] = try extent(of: row, before: end.directory.lowerBound)
            last = (row.name, extents[number].upperBound)
        }
        return zip(rows, extents).compactMap { row, extent in
            if row.name.hasSuffix("/"), row.decodedSize == 0 { return nil }
            return ZipArchive.Entry(
                name: row.name, method: row.method == 0 ? .stored : .deflated, crc: row.crc, byteCount: row.decodedSize,
                extent: extent)
        }
    }

    // MARK: The end

    private struct End {
        let directory: Range<Int>
        let count: Int
    }

    private func findEnd() throws -> End {
        let tailStart = max(0, fileSize - ZipDirectory.endSize - 0xffff)
        let tail = try source.bytes(tailStart..<fileSize, of: version)
        // The comment behind the record ends where the file does.
        var found: Int?
        for position in stride(from: tail.count - ZipDirectory.endSize, through: 0, by: -1)
        where tail[position] == 0x50 && tail.word(position) == 0x0605_4b50
            && position + ZipDirectory.endSize + Int(tail.half(position + 20)) == tail.count
        {
            if let found {
                throw error(.severalEnds(offset: tailStart + found, other: tailStart + position))
            }
            found = position
        }
        guard let place = found else { throw error(.noEnd) }
        var count = UInt64(tail.half(place + 10))
        var size = UInt64(tail.word(place + 12))
        var offset = UInt64(tail.word(place + 16))
        var directoryEnd = tailStart + place
        let isMarked = count == 0xffff || size == 0xffff_ffff || offset == 0xffff_ffff
        guard tail.half(place + 4) == 0 || tail.half(place + 4) == 0xffff,
            tail.half(place + 6) == 0 || tail.half(place + 6) == 0xffff, tail.half(place + 8) == tail.half(place + 10)
        else { throw error(.severalParts) }
        if let wide = try wideEnd(before: tailStart + place) {
            guard count == wide.count || count == 0xffff, size == wide.size || size == 0xffff_ffff,
                offset == wide.offset || offset == 0xffff_ffff
            else {
                throw error(
                    .structure(offset: wide.place, problem: "the two end records say different things of the directory")
                )
            }
            (count, size, offset) = (wide.count, wide.size, wide.offset)
            directoryEnd = wide.place
        } else if isMarked {
            throw error(
                .structure(
                    offset: tailStart + place, problem: "the end record says there is a larger one, which is not there")
            )
        }
        guard offset <= UInt64(directoryEnd), size == UInt64(directoryEnd) - offset else {
            throw error(
                .structure(
                    offset: tailStart + place,
                    problem:
                        "the directory is said to have \(size) bytes from byte \(offset) on, but has to end at byte \(directoryEnd)"
                ))
        }
        // A row of the directory takes 46 bytes at least.
        guard count <= size / 46 else {
            throw error(
                .structure(
                    offset: tailStart + place, problem: "\(count) entries do not fit a directory of \(size) bytes"))
        }
        return End(directory: Int(offset)..<directoryEnd, count: Int(count))
    }

    /// The end record of large archives, if there is one.
    private func wideEnd(before end: Int) throws -> (place: Int, count: UInt64, size: UInt64, offset: UInt64)? {
        guard end >= 20 else { return nil }
        let locator = try source.bytes(end - 20..<end, of: version)
        guard locator.word(0) == 0x0706_4b50 else { return nil }
        let place = locator.long(8)
        guard locator.word(4) == 0, locator.word(16) <= 1 else { throw error(.severalParts) }
        guard end >= 76, place <= UInt64(end - 76) else {
            throw error(.structure(offset: end - 20, problem: "the larger end record is said to be at byte \(place)"))
        }
        let record = try source.bytes(Int(place)..<Int(place) + 56, of: version)
        let (length, overflow) = record.long(4).addingReportingOverflow(12)
        guard record.word(0) == 0x0606_4b50, !overflow, length == UInt64(end - 20) - place else {
            throw error(.structure(offset: Int(place), problem: "the larger end record is none, or has another length"))
        }
        guard record.word(16) == 0, record.word(20) == 0, record.long(24) == record.long(32) else {
            throw error(.severalParts)
        }
        return (Int(place), record.long(32), record.long(40), record.long(48))
    }

    // MARK: Directory

    /// An entry as the directory has it.
    private struct Row {
        let name: String
        let nameBytes: ArraySlice<UInt8>
        let flags: UInt16
        let method: UInt16
        let crc: UInt32
        let encodedSize: Int
        let decodedSize: Int
        let offset: Int
    }

    private func row(_ bytes: [UInt8], _ position: inout Int, at place: Int) throws -> Row {
        guard bytes.count - position >= 46, bytes.word(position) == 0x0201_4b50 else {
            throw error(.structure(offset: place, problem: "the directory has something else where an entry should be"))
        }
        let start = position
        let nameSize = Int(bytes.half(start + 28))
        let extraSize = Int(bytes.half(start + 30))
        let size = 46 + nameSize + extraSize + Int(bytes.half(start + 32))
        guard bytes.count - start >= size else {
            throw error(.structure(offset: place, problem: "an entry of the directory reaches behind its end"))
        }
        position += size
        let nameBytes = bytes[start + 46..<start + 46 + nameSize]
        guard let name = String(validating: nameBytes, as: UTF8.self) else { throw error(.name(offset: place + 46)) }
        let flags = bytes.half(start + 8)
        // Bits 1 and 2 say how well the deflater tried, 3 that a descriptor follows, 11 that the name is UTF-8.
        guard flags & ~0x080e == 0 else { throw error(.flag(entry: name, offset: place, flags: flags)) }
        let method = bytes.half(start + 10)
        guard method == 0 || method == 8 else { throw error(.method(entry: name, offset: place, method: method)) }
        guard bytes.half(start + 34) == 0 || bytes.half(start + 34) == 0xffff else { throw error(.severalParts) }
        var wide = try WideFields(
            bytes[start + 46 + nameSize..<start + 46 + nameSize + extraSize], at: place, error)
        let decoded = try wide.field(bytes.word(start + 24), entry: name)
        let encoded = try wide.field(bytes.word(start + 20), entry: name)
        let offset = try wide.field(bytes.word(start + 42), entry: name)
        if method == 0, encoded != decoded {
            throw error(.storedSize(entry: name, offset: place, encoded: encoded, decoded: decoded))
        }
        return Row(
            name: name, nameBytes: nameBytes, flags: flags, method: method, crc: bytes.word(start + 16),
            encodedSize: encoded, decodedSize: decoded, offset: offset)
    }

    // MARK: Entries

    /// Where the bytes of an entry are, by its own header.
    private mutating func extent(of row: Row, before end: Int) throws -> Range<Int> {
        func contradiction(_ field: String) -> InteropError {
            error(.contradiction(entry: row.name, offset: row.offset, field: field))
        }
        guard row.offset <= end - ZipDirectory.headerSize else {
            throw error(.overlap(entry: row.name, other: "", offset: row.offset))
        }
        let header = try bytes(at: row.offset, count: ZipDirectory.headerSize)
        guard header.word(0) == 0x0403_4b50 else {
            throw error(
                .structure(offset: row.offset, problem: "no header of \(quoted(row.name)) is where the directory says"))
        }
        guard header.half(6) == row.flags else { throw contradiction("flags") }
        guard header.half(8) == row.method else { throw contradiction("method") }
        let (nameSize, extraSize) = (Int(header.half(26)), Int(header.half(28)))
        let start = row.offset + ZipDirectory.headerSize + nameSize + extraSize
        guard start <= end, row.encodedSize <= end - start else {
            throw error(.overlap(entry: row.name, other: "", offset: row.offset))
        }
        let rest = try bytes(at: row.offset + ZipDirectory.headerSize, count: nameSize + extraSize)
        guard rest.prefix(nameSize).elementsEqual(row.nameBytes) else { throw contradiction("name") }
        // What was written before it was known is zero, and stands behind the bytes.
        let isLater = row.flags & 8 != 0
        guard header.word(14) == row.crc || isLater && header.word(14) == 0 else { throw contradiction("checksum") }
        var wide = try WideFields(rest[nameSize...], at: row.offset, error)
        for (place, size) in [(22, row.decodedSize), (18, row.encodedSize)] {
            let field = header.word(place)
            // 0xFFFFFFFF without more is what some write who will say it later.
            if field == 0xffff_ffff, wide.isEmpty, isLater { continue }
            let found = try wide.field(field, entry: row.name)
            guard found == size || isLater && found == 0 else { throw contradiction("size") }
        }
        let extent = start..<start + row.encodedSize
        if isLater { try checkDescriptor(of: row, at: extent.upperBound, before: end) }
        return extent
    }

    /// What is said behind an entry of its checksum and sizes, in 32 or 64 bits; some leave it away where nothing is to be said.
    private mutating func checkDescriptor(of row: Row, at place: Int, before end: Int) throws {
        let found = try bytes(at: place, count: min(24, end - place))
        guard found.count >= 16, found.word(0) == 0x0807_4b50 else { return }
        let isNarrow =
            found.word(8) == UInt32(truncatingIfNeeded: row.encodedSize)
            && found.word(12) == UInt32(truncatingIfNeeded: row.decodedSize)
        let isWide =
            found.count >= 24 && found.long(8) == UInt64(row.encodedSize)
            && found.long(16) == UInt64(row.decodedSize)
        guard found.word(4) == row.crc, isNarrow || isWide else {
            throw error(.contradiction(entry: row.name, offset: place, field: "checksum or size"))
        }
    }

    /// Bytes of the file, by way of the window.
    private mutating func bytes(at offset: Int, count: Int) throws -> [UInt8] {
        let range = offset..<offset + count
        if range.lowerBound < windowStart || range.upperBound > windowStart + window.count {
            let size = max(count, min(ZipDirectory.windowSize, fileSize - offset))
            guard count <= fileSize - offset else {
                throw error(.structure(offset: offset, problem: "the archive reaches behind the end of the file"))
            }
            window = try source.bytes(offset..<offset + size, of: version)
            windowStart = offset
        }
        return Array(window[range.lowerBound - windowStart..<range.upperBound - windowStart])
    }
}

/// The fields of an entry that are too large for 32 bits, in the order in which they stand in its extra field 1.
private struct WideFields {
    private var values: ArraySlice<UInt64>
    private let error: (ArchiveProblem) -> InteropError
    private let place: Int

    init(_ extra: ArraySlice<UInt8>, at place: Int, _ error: @escaping (ArchiveProblem) -> InteropError) throws {
        self.error = error
        self.place = place
        var values: [UInt64] = []
        var rest = extra
        while !rest.isEmpty {
            // A few writers leave less than a field at the end.
            guard rest.count >= 4 else { break }
            let bytes = Array(rest.prefix(4))
            let size = Int(bytes.half(2))
            guard rest.count - 4 >= size else {
                throw error(.structure(offset: place, problem: "an extra field reaches behind its end"))
            }
            let content = Array(rest.dropFirst(4).prefix(size))
            if bytes.half(0) == 1 {
                guard values.isEmpty else {
                    throw error(.structure(offset: place, problem: "an entry has two fields of large sizes"))
                }
                values = stride(from: 0, to: content.count / 8 * 8, by: 8).map { content.long($0) }
            }
            rest = rest.dropFirst(4 + size)
        }
        self.values = values[...]
    }

    var isEmpty: Bool { values.isEmpty }

    /// The value of a field: its own, or the next large one if it says so.
    mutating func field(_ narrow: UInt32, entry: String) throws -> Int {
        guard narrow == 0xffff_ffff else { return Int(narrow) }
        guard let wide = values.popFirst(), let value = Int(exactly: wide), value < 1 << 62 else {
            throw error(
                .structure(
                    offset: place, problem: "the large size or place of \(quoted(entry)) is not there, or is too large")
            )
        }
        return value
    }
}

extension [UInt8] {
    fileprivate func half(_ offset: Int) -> UInt16 { UInt16(self[offset]) | UInt16(self[offset + 1]) << 8 }
    fileprivate func word(_ offset: Int) -> UInt32 { UInt32(half(offset)) | UInt32(half(offset + 2)) << 16 }
    fileprivate func long(_ offset: Int) -> UInt64 { UInt64(word(offset)) | UInt64(word(offset + 4)) << 32 }
}
