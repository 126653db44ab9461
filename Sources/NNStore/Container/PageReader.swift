import Synchronization

/// Reads the pages of a container's index and checks each one before anybody sees a byte of it.
final class PageReader: Sendable {
    private let source: any ByteSource
    private let version: SourceVersion
    private let offset: Int
    /// The size of the index in bytes.
    let byteCount: Int
    /// The end of the file as it was read on opening: pages inside it need no further read.
    private let end: [UInt8]
    /// What page checksums are seeded with beside the page's number.
    private let salt: UInt64
    private let failure = Mutex<StoreError?>(nil)

    init(_ source: any ByteSource, version: SourceVersion, tail: Tail, end: [UInt8]) {
        self.source = source
        self.version = version
        offset = tail.indexOffset
        byteCount = tail.indexSize
        salt = tail.contentID.high
        self.end = end
    }

    /// A reader of the same pages for another connection, whose failures are its own.
    init(_ other: PageReader) {
        source = other.source
        version = other.version
        offset = other.offset
        byteCount = other.byteCount
        salt = other.salt
        end = other.end
    }

    /// The number of pages.
    var pageCount: Int { byteCount / FileLayout.block }

    /// The seed of a page's checksum: a whole page of another checkpoint does not pass for one of this.
    static func seed(page: Int, salt: UInt64) -> UInt64 { UInt64(page) &+ salt }

    /// Whether a page, the `number`th from 1, has its checksum.
    static func isSound(_ page: RawSpan, number: Int, salt: UInt64) -> Bool {
        Checksum64(of: page.extracting(0..<FileLayout.pageContent), seed: seed(page: number, salt: salt))
            == Checksum64(in: page, at: FileLayout.pageContent)
    }

    /// Page `number` (from 1), checked.
    func page(_ number: Int) throws(StoreError) -> [UInt8] {
        let start = offset + (number - 1) * FileLayout.block
        let inEnd = start - (version.byteCount - end.count)
        let page =
            inEnd >= 0
            ? Array(end[inEnd..<inEnd + FileLayout.block])
            : try source.bytes(start..<start + FileLayout.block, of: version)
        try page.withRawSpan { (page: RawSpan) throws(StoreError) in
            let found = Checksum64(
                of: page.extracting(0..<FileLayout.pageContent), seed: PageReader.seed(page: number, salt: salt))
            let expected = Checksum64(in: page, at: FileLayout.pageContent)
            guard found == expected else {
                throw .damaged(
                    file: source.name,
                    problem: Problem(
                        .index, "page \(number) of the index has the checksum \(found), expected \(expected)",
                        offset: start))
            }
        }
        return page
    }

    /// Copies `range` of the index to `destination`, for SQLite. An error is kept for ``takeFailure()``, because
    /// SQLite has only a number for it.
    ///
    /// - Returns: whether all went well.
    func read(_ range: Range<Int>, into destination: inout MutableRawSpan) -> Bool {
        do throws(StoreError) {
            var position = range.lowerBound
            while position < range.upperBound {
                let number = position / FileLayout.block + 1
                let inPage = position % FileLayout.block
                let count = min(FileLayout.block - inPage, range.upperBound - position)
                let page = try page(number)
                let target = position - range.lowerBound
                destination.withBytes(in: target..<target + count) { target in
                    page.withRawSpan { target.copy($0.extracting(inPage..<inPage + count)) }
                }
                position += count
            }
            return true
        } catch {
            failure.withLock { $0 = error }
            return false
        }
    }

    /// What went wrong in the last failed read, once.
    func takeFailure() -> StoreError? {
        failure.withLock { failure in
            defer { failure = nil }
            return failure
        }
    }

    /// Checks the first page's database header (spec section 3), before SQLite sees it.
    func checkDatabaseHeader(version: FormatVersion) throws(StoreError) {
        let page = try page(1)
        func bigEndian(_ offset: Int) -> UInt32 { page[offset..<offset + 4].reduce(0) { $0 << 8 | UInt32($1) } }
        let rules: [(name: String, isMet: Bool)] = [
            ("magic", page.starts(with: Array("SQLite format 3\0".utf8))),
            ("page size, file format or reserved bytes", page[16..<24] == [0x10, 0, 1, 1, 8, 0x40, 0x20, 0x20]),
            ("page count", Int(bigEndian(28)) == pageCount),
            ("free pages", bigEndian(32) == 0 && bigEndian(36) == 0),
            ("schema format", bigEndian(44) == 4),
            ("vacuum mode", bigEndian(52) == 0 && bigEndian(64) == 0),
            ("text encoding", bigEndian(56) == 1),
            ("user version", Int(bigEndian(60)) == version.major),
            ("application id", bigEndian(68) == IndexSchema.applicationID),
            ("reserved space", page[72..<92].allSatisfy { $0 == 0 }),
        ]
        for rule in rules where !rule.isMet {
            throw .damaged(
                file: source.name,
                problem: Problem(
                    .index, "the index's database header has another \(rule.name) than the format has", offset: offset))
        }
    }
}
