/// The fixed parts of a container and their places (spec section 2).
enum FileLayout {
    /// Header, tail and index pages have this size, and the index begins at a multiple of it.
    static let block = 4096
    /// The logical bytes of a chunk.
    static let chunkSize = 1 << 20
    /// A stored chunk begins at a multiple of this.
    static let storedAlignment = 64
    /// The bytes of a page that SQLite uses; its checksum follows them.
    static let pageContent = 4088
    /// The size of the mark that ends the file.
    static let endMarkSize = 25

    /// The newest version, which this library writes unless it is asked for an older one.
    static let version = FormatVersion(2, 1)
    /// The major versions that this library reads and writes.
    static let knownMajorVersions = 1...2
    /// The versions that this library writes.
    static let writtenVersions = [FormatVersion(1, 0), FormatVersion(2, 0), FormatVersion(2, 1)]

    /// ``writtenVersions`` in words.
    static var writtenVersionsText: String {
        writtenVersions.dropLast().map(\.description).joined(separator: ", ") + " and \(writtenVersions.last!)"
    }

    static let headerMagic = Array("\u{89}NNStore\r\n\u{1a}\n".unicodeScalars.map { UInt8($0.value) })
    static let tailMagic = Array("\u{89}NNStail\r\n\u{1a}\n".unicodeScalars.map { UInt8($0.value) })
    static let endMarkText = Array("Start-Of-SQLite3-".utf8)

    /// The first block's start at or behind `position`.
    static func blockEnd(_ position: Int) -> Int { (position + block - 1) / block * block }

    /// Where the first byte of a stored chunk of a storage of `storageSize` bytes goes if `position` is free.
    static func storedOffset(from position: Int, storageSize: Int) -> Int {
        let alignment = storedAlignment(storageSize: storageSize)
        return (position + alignment - 1) / alignment * alignment
    }

    /// A stored chunk's offset is a multiple of this.
    static func storedAlignment(storageSize: Int) -> Int {
        storageSize >= chunkSize ? block : storedAlignment
    }

    /// The number of chunks of a storage.
    static func chunkCount(storageSize: Int) -> Int {
        storageSize == 0 ? 0 : (storageSize - 1) / chunkSize + 1
    }

    /// The logical bytes of a chunk.
    static func chunkRange(_ sequence: Int, storageSize: Int) -> Range<Int> {
        sequence * chunkSize..<min(storageSize, (sequence + 1) * chunkSize)
    }

    /// The first result of `find`, which gets the blocks of a file behind its header and their offsets, from the last one
    /// backwards.
    static func lastBlock<Found>(
        of source: any ByteSource, _ version: SourceVersion,
        _ find: (Int, ArraySlice<UInt8>) throws(StoreError) -> Found?
    ) throws(StoreError) -> Found? {
        var end = version.byteCount
        while end > block {
            let start = max(0, (end - 1) / chunkSize * chunkSize)
            let bytes = try source.bytes(start..<end, of: version)
            for place in stride(from: 0, to: bytes.count, by: block).reversed() {
                if let found = try find(start + place, bytes[place..<min(place + block, bytes.count)]) { return found }
            }
            end = start
        }
        return nil
    }
}

/// The first block of a container.
struct Header {
    let majorVersion: Int
    /// Where a byte that is zero in version 1 is not.
    private let firstNonZero: Int?

    /// The block's bytes.
    var bytes: [UInt8] {
        var bytes = FileLayout.headerMagic
        bytes.append(littleEndian: UInt32(majorVersion))
        bytes += [UInt8](repeating: 0, count: FileLayout.pageContent - bytes.count)
        bytes.withRawSpan { Checksum64(of: $0) }.append(to: &bytes)
        return bytes
    }

    /// Reads a header.
    ///
    /// - Throws: ``StoreError/notAContainer(file:found:)`` without the magic, ``StoreError/damaged(file:problem:)`` for
    ///   another checksum. The version is not judged, nor what may differ between versions.
    init(_ bytes: [UInt8], file: String) throws(StoreError) {
        guard bytes.starts(with: FileLayout.headerMagic) else {
            throw .notAContainer(file: file, found: Header.describe(bytes))
        }
        guard bytes.count == FileLayout.block else {
            throw .incomplete(file: file, reason: "it ends inside the header, after \(bytes.count) bytes")
        }
        self = try bytes.withRawSpan { (span: RawSpan) throws(StoreError) in
            let found = Checksum64(of: span.extracting(0..<FileLayout.pageContent))
            let expected = Checksum64(in: span, at: FileLayout.pageContent)
            guard found == expected else {
                throw .damaged(
                    file: file,
                    problem: Problem(
                        .header, "the header's checksum is \(found), it says \(expected)", offset: 0))
            }
            return Header(
                majorVersion: Int(span.littleEndian(at: 12, as: UInt32.self)),
                firstNonZero: span.extracting(16..<FileLayout.pageContent).firstNonZero.map { $0 + 16 })
        }
    }

    /// The header of a version's files.
    init(majorVersion: Int) { self.init(majorVersion: majorVersion, firstNonZero: nil) }

    private init(majorVersion: Int, firstNonZero: Int?) {
        self.majorVersion = majorVersion
        self.firstNonZero = firstNonZero
    }

    /// Checks what only this version's headers have to be, once the version was judged.
    func checkZeros(file: String) throws(StoreError) {
        guard let firstNonZero else { return }
        throw .damaged(
            file: file, problem: Problem(.header, "the header has bytes that should be zero", offset: firstNonZero))
    }

    /// What a file that is no container looks like, for the message.
    private static func describe(_ bytes: [UInt8]) -> String {
        if bytes.isEmpty { return "the file is empty" }
        let known: [(signature: [UInt8], name: String)] = [
            ([0x50, 0x4b, 0x03, 0x04], "a zip archive (PyTorch or NumPy, perhaps)"),
            ([0x80], "a Python pickle (an old PyTorch file, perhaps)"),
            (Array("GGUF".utf8), "a GGUF file"), (Array("SQLite format 3".utf8), "a SQLite database"),
            ([0x93] + Array("NUMPY".utf8), "a NumPy array"), ([0x28, 0xb5, 0x2f, 0xfd], "a zstd file"),
            ([0x1f, 0x8b], "a gzip file"),
        ]
        if let match = known.first(where: { bytes.starts(with: $0.signature) }) { return "it looks like \(match.name)" }
        if bytes.count > 9, bytes[2..<8].allSatisfy({ $0 == 0 }) || bytes[3..<8].allSatisfy({ $0 == 0 }),
            bytes[8] == UInt8(ascii: "{")
        {
            return "it looks like a safetensors file"
        }
        if bytes.prefix(512).allSatisfy({ $0 >= 32 && $0 < 127 || $0 == 9 || $0 == 10 || $0 == 13 }) {
            return "it looks like a text file"
        }
        return "its first bytes are "
            + bytes.prefix(8).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined(separator: " ")
    }
}

/// The block before the index: where everything is, and what pins it.
struct Tail: Sendable, Hashable {
    var version: FormatVersion
    var requiredFeatures: UInt64 = 0
    var optionalFeatures: UInt64 = 0
    var chunkAreaEnd: Int
    var indexOffset: Int
    var indexSize: Int
    var indexDigest: Digest
    var contentID: Digest
    /// The digest of all bytes before it: the file id. Computed when the block is made.
    private(set) var fileID = Digest(high: 0, low: 0)

    private static let digestOffset = 4080
    /// The bytes before the zeros.
    private static let fieldsSize = 96

    /// Features that this library knows.
    static let knownRequiredFeatures: UInt64 = 0
    static let knownOptionalFeatures = referencedByOthers | indexCopy
    /// The optional feature that says that other files refer to this one.
    static let referencedByOthers: UInt64 = 1
    /// The optional feature that says that the annex begins with a copy of the index.
    static let indexCopy: UInt64 = 2

    /// Whether the annex begins with a copy of the index.
    var hasIndexCopy: Bool { optionalFeatures & Tail.indexCopy != 0 }
    /// Whether a feature that this library does not know may have something in the annex.
    var hasUnknownAnnex: Bool { optionalFeatures & ~Tail.knownOptionalFeatures != 0 }

    init(
        version: FormatVersion, optionalFeatures: UInt64, chunkAreaEnd: Int, indexOffset: Int, indexSize: Int,
        indexDigest: Digest, contentID: Digest
    ) {
        self.version = version
        self.optionalFeatures = optionalFeatures
        self.chunkAreaEnd = chunkAreaEnd
        self.indexOffset = indexOffset
        self.indexSize = indexSize
        self.indexDigest = indexDigest
        self.contentID = contentID
        fileID = Tail.zeroed(fields).withRawSpan { Digest(of: $0) }
    }

    /// What the block has before its zeros.
    var fields: [UInt8] {
        var bytes = FileLayout.tailMagic
        bytes.append(littleEndian: UInt32(version.major))
        bytes.append(littleEndian: UInt32(version.minor))
        bytes.append(littleEndian: UInt32(0))
        bytes.append(littleEndian: requiredFeatures)
        bytes.append(littleEndian: optionalFeatures)
        bytes.append(littleEndian: UInt64(chunkAreaEnd))
        bytes.append(littleEndian: UInt64(indexOffset))
        bytes.append(littleEndian: UInt64(indexSize))
        bytes += indexDigest.bytes
        bytes += contentID.bytes
        return bytes
    }

    /// The block's bytes.
    var bytes: [UInt8] { Tail.zeroed(fields) + fileID.bytes }

    /// All of the block that its digest is about.
    private static func zeroed(_ fields: [UInt8]) -> [UInt8] {
        fields + [UInt8](repeating: 0, count: digestOffset - fields.count)
    }

    /// The block whose fields, kept elsewhere, are these.
    static func block(withFields fields: [UInt8]) -> [UInt8] {
        let zeroed = zeroed(fields)
        return zeroed + zeroed.withRawSpan { Digest(of: $0) }.bytes
    }

    /// The block's fields if its magic and its digest are right, whatever they say.
    static func fields(ofBlock block: [UInt8]) -> [UInt8]? {
        guard block.count == FileLayout.block, block.starts(with: FileLayout.tailMagic),
            block.withRawSpan({ Digest(of: $0.extracting(0..<digestOffset)) == Digest(in: $0, at: digestOffset) })
        else { return nil }
        return Array(block[..<fieldsSize])
    }

    /// The fields of a block at `offset` that is a sound tail and says that it stands there.
    static func fields(ofBlock block: ArraySlice<UInt8>, at offset: Int) -> [UInt8]? {
        guard block.starts(with: FileLayout.tailMagic), let fields = fields(ofBlock: Array(block)),
            size(in: fields, at: 48) == offset + FileLayout.block
        else { return nil }
        return fields
    }

    /// The size of the index that fields name; `nil` if it is not one that a file can have.
    static func indexSize(inFields fields: [UInt8]) -> Int? { size(in: fields, at: 56) }

    private static func size(in fields: [UInt8], at offset: Int) -> Int? {
        let size = fields.withRawSpan { Int(exactly: $0.littleEndian(at: offset, as: UInt64.self)) }
        return size.flatMap { $0 > 0 && $0 % FileLayout.block == 0 && $0 <= TensorLayout.maximumSize ? $0 : nil }
    }

    /// The tail whose fields, kept elsewhere, are these, in a file that has its header and ends where they say.
    ///
    /// - Throws: ``StoreError``, as for a block that was read from its place.
    init(fields: [UInt8], file: String) throws(StoreError) {
        guard let indexOffset = Tail.size(in: fields, at: 48), indexOffset >= 2 * FileLayout.block,
            let indexSize = Tail.indexSize(inFields: fields)
        else {
            throw .damaged(file: file, problem: Problem(.tail, "the tail's fields fit no file"))
        }
        let major = fields.withRawSpan { Int($0.littleEndian(at: 12, as: UInt32.self)) }
        try self.init(
            Tail.block(withFields: fields), at: indexOffset - FileLayout.block,
            fileSize: indexOffset + indexSize + FileLayout.endMarkSize, header: Header(majorVersion: major), file: file)
    }

    /// Reads the block that stands at `offset` of a file of `fileSize` bytes, and judges version and features.
    ///
    /// - Throws: ``StoreError``: damage before versions, versions before features.
    init(_ bytes: [UInt8], at offset: Int, fileSize: Int, header: Header, file: String) throws(StoreError) {
        self = try bytes.withRawSpan { (span: RawSpan) throws(StoreError) in
            try Tail(span, at: offset, fileSize: fileSize, header: header, file: file)
        }
    }

    private init(_ span: RawSpan, at offset: Int, fileSize: Int, header: Header, file: String) throws(StoreError) {
        func damaged(_ message: String, at position: Int = 0) -> StoreError {
            .damaged(file: file, problem: Problem(.tail, message, offset: offset + position))
        }
        guard span.extracting(0..<FileLayout.tailMagic.count).array == FileLayout.tailMagic else {
            throw damaged("the block before the index is not a tail record")
        }
        fileID = Digest(in: span, at: Tail.digestOffset)
        let found = Digest(of: span.extracting(0..<Tail.digestOffset))
        guard found == fileID else { throw damaged("the tail's digest is \(found), it says \(fileID)") }

        let major = span.littleEndian(at: 12, as: UInt32.self)
        guard Int(major) == header.majorVersion else {
            throw damaged("the tail has format \(major), the header \(header.majorVersion)", at: 12)
        }
        version = FormatVersion(Int(major), Int(span.littleEndian(at: 16, as: UInt32.self)))
        guard FileLayout.knownMajorVersions.contains(version.major) else {
            throw .unsupportedVersion(file: file, version: version, newestKnown: FileLayout.version)
        }
        requiredFeatures = span.littleEndian(at: 24)
        optionalFeatures = span.littleEndian(at: 32)
        let unknown = requiredFeatures & ~Tail.knownRequiredFeatures
        guard unknown == 0 else {
            throw .unsupportedFeature(file: file, feature: unknown.trailingZeroBitCount, version: version)
        }
        try header.checkZeros(file: file)
        guard span.littleEndian(at: 20, as: UInt32.self) == 0,
            span.extracting(Tail.fieldsSize..<Tail.digestOffset).firstNonZero == nil
        else { throw damaged("the tail has bytes that should be zero", at: 20) }

        guard let chunkAreaEnd = Int(exactly: span.littleEndian(at: 40, as: UInt64.self)),
            let indexOffset = Int(exactly: span.littleEndian(at: 48, as: UInt64.self)),
            let indexSize = Int(exactly: span.littleEndian(at: 56, as: UInt64.self)),
            indexOffset == offset + FileLayout.block, indexSize > 0, indexSize % FileLayout.block == 0,
            indexSize == fileSize - FileLayout.endMarkSize - indexOffset,
            chunkAreaEnd >= FileLayout.block, chunkAreaEnd <= offset,
            optionalFeatures & ~Tail.referencedByOthers != 0 || offset - chunkAreaEnd < FileLayout.block
        else { throw damaged("the tail's offsets do not fit the file", at: 40) }
        self.chunkAreaEnd = chunkAreaEnd
        self.indexOffset = indexOffset
        self.indexSize = indexSize
        indexDigest = Digest(in: span, at: 64)
        contentID = Digest(in: span, at: 80)
    }

    /// Whether a file is a container, of any version and in any state but for its tail, that others were declared to
    /// refer to. The places that this looks at are fixed for ever (spec section 2.4).
    ///
    /// - Throws: what reading throws.
    static func isReferencedByOthers(_ source: any ByteSource) throws(StoreError) -> Bool {
        let (end, version) = try source.readEnd(FileLayout.endMarkSize)
        guard end.count == FileLayout.endMarkSize,
            let offset = try? indexOffset(endMark: end[...], fileSize: version.byteCount, file: source.name),
            let fields = fields(ofBlock: try source.bytes(offset - FileLayout.block..<offset, of: version))
        else { return false }
        return fields.withRawSpan { $0.littleEndian(at: 32, as: UInt64.self) & referencedByOthers != 0 }
    }

    /// The mark that ends the file.
    static func endMark(indexOffset: Int) -> [UInt8] {
        var bytes = FileLayout.endMarkText
        bytes.append(littleEndian: UInt64(indexOffset).bigEndian)
        return bytes
    }

    /// The index's offset from the mark that ends a file of `fileSize` bytes.
    ///
    /// - Throws: ``StoreError/incomplete(file:reason:)`` if there is no mark, or it can't be right.
    static func indexOffset(endMark bytes: ArraySlice<UInt8>, fileSize: Int, file: String) throws(StoreError) -> Int {
        guard bytes.starts(with: FileLayout.endMarkText) else {
            throw .incomplete(file: file, reason: "it does not end with the mark of a container's index")
        }
        let value = bytes.dropFirst(FileLayout.endMarkText.count).reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        guard let offset = Int(exactly: value), offset % FileLayout.block == 0, offset >= 2 * FileLayout.block,
            offset <= fileSize - FileLayout.block - FileLayout.endMarkSize
        else {
            throw .incomplete(
                file: file,
                reason: "the mark at its end places the index at \(value), which does not fit \(fileSize) bytes")
        }
        return offset
    }
}
