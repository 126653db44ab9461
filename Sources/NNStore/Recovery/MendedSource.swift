/// A damaged container as it was, as far as its own redundancy can tell: header and tail say the same twice, and since
/// format 2.1 the index has a copy.
///
/// What can't be mended is given as it stands, and what can't be read (a disk's bad sector, what was cut off) as zeros, so
/// that the checksums tell which tensors it hits.
struct MendedSource: ByteSource {
    let base: any ByteSource
    private let baseVersion: SourceVersion
    private let version: SourceVersion
    /// Blocks that stand for those of the file, by their numbers.
    private let blocks: [Int: [UInt8]]
    /// The numbers of the first and the last of them but for the header.
    private let mendedEnd: ClosedRange<Int>?
    /// The end mark, which is no whole block.
    private let endMark: (offset: Int, bytes: [UInt8])?
    /// What was damaged, and is as it was.
    let mended: [Problem]
    /// What is wrong with the copy of the index, so that it could not help.
    let problems: [Problem]

    var name: String { base.name }

    /// Looks for what the file needs and does not have.
    ///
    /// - Throws: ``StoreError/system(operation:path:errno:)`` where the file can't be read at all.
    init(_ base: any ByteSource) throws(StoreError) {
        let (_, baseVersion) = try base.readEnd(0)
        var mending = try Mending(SectorTolerantSource(base), baseVersion)
        try mending.run()
        self.base = SectorTolerantSource(base)
        self.baseVersion = baseVersion
        version = SourceVersion(byteCount: mending.byteCount, token: baseVersion.token)
        blocks = mending.blocks
        let numbers = mending.blocks.keys.filter { $0 > 0 }
        mendedEnd = numbers.min().map { $0...numbers.max()! }
        endMark = mending.endMark
        mended = mending.mended
        problems = mending.problems
    }

    func readEnd(_ count: Int) throws(StoreError) -> (bytes: [UInt8], version: SourceVersion) {
        (try bytes(max(0, version.byteCount - max(0, count))..<version.byteCount, of: version), version)
    }

    func read(
        _ ranges: [Range<Int>], of version: SourceVersion, into destination: inout MutableRawSpan
    ) throws(StoreError) {
        try readEach(ranges, into: &destination) { (range, target) throws(StoreError) in
            try read(range, into: &target)
        }
    }

    private func read(_ range: Range<Int>, into destination: inout MutableRawSpan) throws(StoreError) {
        guard range.lowerBound >= 0, range.upperBound <= version.byteCount else {
            throw .incomplete(file: name, reason: "it ends at byte \(version.byteCount)")
        }
        let present = range.clamped(to: 0..<baseVersion.byteCount)
        if present.count < range.count { destination.zero() }
        if !present.isEmpty {
            // What is missing is at the end, so what is present comes first.
            try destination.withBytes(in: 0..<present.count) { (piece) throws(StoreError) in
                try base.read([present], of: baseVersion, into: &piece)
            }
        }
        func overlay(_ bytes: [UInt8], at offset: Int) {
            let part = range.clamped(to: offset..<offset + bytes.count)
            guard !part.isEmpty else { return }
            let target = part.lowerBound - range.lowerBound
            destination.withBytes(in: target..<target + part.count) { target in
                bytes.withRawSpan { target.copy($0.extracting(part.lowerBound - offset..<part.upperBound - offset)) }
            }
        }
        if let header = blocks[0] { overlay(header, at: 0) }
        if let mendedEnd, !range.isEmpty {
            let numbers = range.lowerBound / FileLayout.block...(range.upperBound - 1) / FileLayout.block
            if numbers.overlaps(mendedEnd) {
                for number in numbers.clamped(to: mendedEnd) {
                    if let block = blocks[number] { overlay(block, at: number * FileLayout.block) }
                }
            }
        }
        if let endMark { overlay(endMark.bytes, at: endMark.offset) }
    }
}

/// What is found out about a damaged file.
private struct Mending {
    private let source: any ByteSource
    private let version: SourceVersion
    private(set) var byteCount: Int
    private(set) var blocks: [Int: [UInt8]] = [:]
    private(set) var endMark: (offset: Int, bytes: [UInt8])?
    private(set) var mended: [Problem] = []
    private(set) var problems: [Problem] = []

    init(_ source: any ByteSource, _ version: SourceVersion) throws(StoreError) {
        self.source = source
        self.version = version
        byteCount = version.byteCount
    }

    mutating func run() throws(StoreError) {
        var copy: IndexCopy?
        var fields = try fieldsOfTail()
        let isAtEnd = fields != nil
        if !isAtEnd {
            (fields, copy) = try lastOfTailAndCopy()
        }
        // Without either there is nothing to mend it with; opening says what is wrong.
        guard let fields, let tail = try? Tail(fields: fields, file: source.name) else { return }
        try mendHeader(tail)
        if copy == nil, tail.hasIndexCopy {
            do throws(StoreError) {
                copy = try IndexCopy(source, version, at: FileLayout.blockEnd(tail.chunkAreaEnd))
            } catch {
                guard case .damaged(_, let problem) = error else { throw error }
                problems.append(problem)
            }
        }
        guard let copy, copy.tailFields == tail.fields else {
            // Without a copy only the end mark, or what was put in its place, can be told; the index has to be there.
            if !isAtEnd, tail.indexOffset + tail.indexSize <= version.byteCount { try mendEnd(tail) }
            return
        }
        // Where nothing else is in the annex, the tail follows the copy; otherwise it stands inside the file, if anywhere. A
        // file that claims to have been larger by more than its index is no file that was cut.
        let tailOffset = tail.indexOffset - FileLayout.block
        guard tailOffset == FileLayout.blockEnd(copy.end) || tail.hasUnknownAnnex && tailOffset <= version.byteCount
        else {
            return problems.append(
                Problem(.indexCopy, "the copy of the index places the index where it can't be", offset: copy.offset))
        }
        guard tail.indexSize <= largestIndex else {
            return problems.append(
                Problem(
                    .indexCopy,
                    "the copy of the index names one of \(tail.indexSize) bytes, far more than a file of "
                        + "\(version.byteCount) can have", offset: copy.offset))
        }
        try mendEnd(tail)
        try mendIndex(tail, copy)
    }

    /// What the last tail in the file says, or the last copy of the index behind which no tail is.
    private func lastOfTailAndCopy() throws(StoreError) -> (fields: [UInt8]?, copy: IndexCopy?) {
        try FileLayout.lastBlock(of: source, version) { (offset, block) throws(StoreError) in
            if let fields = Tail.fields(ofBlock: block, at: offset) { return (fields, nil) }
            return try IndexCopy.beginning(with: block, at: offset, of: source, version).map { ($0.tailFields, $0) }
        } ?? (nil, nil)
    }

    /// What the tail says, if the end mark leads to a sound one.
    private func fieldsOfTail() throws(StoreError) -> [UInt8]? {
        let (end, _) = try source.readEnd(FileLayout.endMarkSize)
        guard end.count == FileLayout.endMarkSize,
            let offset = try? Tail.indexOffset(endMark: end[...], fileSize: version.byteCount, file: source.name)
        else { return nil }
        return Tail.fields(ofBlock: try source.bytes(offset - FileLayout.block..<offset, of: version))
    }

    private mutating func mendHeader(_ tail: Tail) throws(StoreError) {
        let header = Header(majorVersion: tail.version.major).bytes
        guard try source.bytes(0..<min(FileLayout.block, version.byteCount), of: version) != header else { return }
        blocks[0] = header
        mended.append(Problem(.header, "the header is damaged; the tail says what it was", offset: 0))
    }

    /// Gives the file the size, the tail and the end mark that `tail` has.
    private mutating func mendEnd(_ tail: Tail) throws(StoreError) {
        byteCount = tail.indexOffset + tail.indexSize + FileLayout.endMarkSize
        if version.byteCount < byteCount {
            mended.append(
                Problem(
                    .index, "the file was cut at byte \(version.byteCount), of \(byteCount)", offset: version.byteCount)
            )
        } else if version.byteCount > byteCount {
            mended.append(
                Problem(
                    .tail, "\(version.byteCount - byteCount) bytes stand behind the end of the container",
                    offset: byteCount))
        }
        let tailOffset = tail.indexOffset - FileLayout.block
        let block = tail.bytes
        if try present(tailOffset..<tail.indexOffset) != block {
            blocks[tailOffset / FileLayout.block] = block
            mended.append(
                Problem(.tail, "the tail is damaged; the copy of the index has its fields", offset: tailOffset))
        }
        let mark = Tail.endMark(indexOffset: tail.indexOffset)
        if try present(byteCount - mark.count..<byteCount) != mark {
            endMark = (byteCount - mark.count, mark)
            mended.append(
                Problem(.tail, "the end mark is damaged; it follows from the tail", offset: byteCount - mark.count))
        }
    }

    private mutating func mendIndex(_ tail: Tail, _ copy: IndexCopy) throws(StoreError) {
        let reader = try IndexCopy.Reader(copy, source, version)
        for group in 0..<copy.groupCount {
            let range = copy.pages(ofGroup: group)
            let place = tail.indexOffset + range.lowerBound
            let found = try present(place..<place + range.count)
            let first = range.lowerBound / FileLayout.block + 1
            let bad = (0..<range.count / FileLayout.block).filter { page in
                let start = page * FileLayout.block
                return start + FileLayout.block > found.count
                    || !found.withRawSpan {
                        PageReader.isSound(
                            $0.extracting(start..<start + FileLayout.block), number: first + page,
                            salt: tail.contentID.high)
                    }
            }
            if bad.isEmpty { continue }
            do throws(StoreError) {
                let pages = try reader.pages(group: group)
                for page in bad {
                    let start = page * FileLayout.block
                    blocks[place / FileLayout.block + page] = Array(pages[start..<start + FileLayout.block])
                    mended.append(
                        Problem(
                            .index, "page \(first + page) of the index is damaged; the copy of the index has it",
                            offset: place + start))
                }
            } catch {
                guard case .damaged(_, let problem) = error else { throw error }
                problems.append(problem)
            }
        }
    }

    /// A copy that decodes to much more than the whole file has is none of an index.
    private var largestIndex: Int { 64 << 20 + 16 * version.byteCount }

    /// The bytes of a range that the file still has.
    private func present(_ range: Range<Int>) throws(StoreError) -> [UInt8] {
        try source.bytes(range.clamped(to: 0..<version.byteCount), of: version)
    }
}
