/// The copy of the index in the annex (spec section 2.5): what mends a damaged index, or an end of the file that is lost.
///
/// Reading a container never looks at it; verification and recovery do.
struct IndexCopy: Sendable {
    /// The first version whose containers have one.
    static let firstVersion = FormatVersion(2, 1)
    /// The pages of the index that one frame has.
    static let pagesInGroup = 16

    private static let magic = Array("\u{89}NNScopy\r\n\u{1a}\n".unicodeScalars.map { UInt8($0.value) })
    private static let fixedSize = 128
    private static let entrySize = 12
    private static let digestSize = 16
    private static let groupSize = pagesInGroup * FileLayout.block

    /// A group of pages as it stands in the file.
    fileprivate struct Group: Sendable {
        let length: Int
        let checksum: Checksum64
    }

    /// Where the copy begins.
    let offset: Int
    /// What the tail has before its zeros.
    let tailFields: [UInt8]
    private let groups: [Group]
    /// Where each group begins in the file, and where the last one ends.
    private let places: [Int]

    private init(offset: Int, tailFields: [UInt8], groups: [Group]) {
        self.offset = offset
        self.tailFields = tailFields
        self.groups = groups
        var places = [offset + IndexCopy.recordSize(groupCount: groups.count)]
        places.reserveCapacity(groups.count + 1)
        for group in groups { places.append(places.last! + group.length) }
        self.places = places
    }

    /// The first byte behind the copy.
    var end: Int { places.last! }
    /// The size of the index in bytes.
    var indexSize: Int { Tail.indexSize(inFields: tailFields)! }
    /// How many groups there are.
    var groupCount: Int { groups.count }

    private static func groupCount(indexSize: Int) -> Int { (indexSize - 1) / groupSize + 1 }
    private static func recordSize(groupCount: Int) -> Int { fixedSize + groupCount * entrySize + digestSize }

    /// The pages of a group, counted from 0 and in bytes of the index.
    func pages(ofGroup group: Int) -> Range<Int> {
        group * IndexCopy.groupSize..<min(indexSize, (group + 1) * IndexCopy.groupSize)
    }

    // MARK: Writing

    /// The groups of an index, encoded, before it is known where they will stand.
    struct Frames {
        fileprivate let groups: [Group]
        fileprivate let bytes: [UInt8]

        /// The size of the copy in bytes.
        var byteCount: Int { recordSize(groupCount: groups.count) + bytes.count }
    }

    /// Encodes the pages of an index.
    static func frames(of image: [UInt8], threads: Int) throws(StoreError) -> Frames {
        var groups: [Group] = []
        var bytes: [UInt8] = []
        do {
            // A thread is worth its start for a mebibyte or so.
            try Workers.pipeline(
                groupCount(indexSize: image.count), threads: image.count < 1 << 20 ? 1 : threads, window: 2 * threads
            ) {
                try GroupEncoder()
            } produce: { group, encoder in
                let range = group * groupSize..<min(image.count, (group + 1) * groupSize)
                return try image.withRawSpan { (image: RawSpan) throws(StoreError) in
                    try encoder.encode(image.extracting(range))
                }
            } consume: { _, encoded in
                groups.append(Group(length: encoded.count, checksum: encoded.withRawSpan { Checksum64(of: $0) }))
                bytes += encoded
            }
        } catch let error as StoreError {
            throw error
        } catch {
            throw .library(name: "NNStore", operation: "copy the index", message: "\(error)")
        }
        return Frames(groups: groups, bytes: bytes)
    }

    private final class GroupEncoder {
        private var encoder: ZstdEncoder
        private var buffer = [UInt8](repeating: 0, count: groupSize + BufferPool.slack)

        // Level 1: the copy is to cost little time, and higher ones make it hardly smaller.
        init() throws(StoreError) { encoder = try ZstdEncoder(level: 1) }

        /// The group as a frame, or as it is if that would not be shorter.
        func encode(_ pages: RawSpan) throws(StoreError) -> [UInt8] {
            let length = try buffer.withMutableRawSpan { (buffer: inout MutableRawSpan) throws(StoreError) in
                try encoder.encode(pages, into: &buffer, shorterThan: pages.byteCount)
            }
            return if let length { Array(buffer[..<length]) } else { pages.array }
        }
    }

    /// The bytes of a copy at `offset`, for a container whose tail will have these fields.
    static func bytes(_ frames: Frames, at offset: Int, tailFields: [UInt8]) -> [UInt8] {
        var bytes = magic
        bytes.append(littleEndian: UInt32(0))
        bytes.append(littleEndian: UInt64(offset))
        bytes.append(littleEndian: UInt64(frames.byteCount))
        bytes += tailFields
        for group in frames.groups {
            bytes.append(littleEndian: UInt32(group.length))
            group.checksum.append(to: &bytes)
        }
        bytes += bytes.withRawSpan { Digest(of: $0) }.bytes
        return bytes + frames.bytes
    }

    // MARK: Reading

    /// Reads what stands before the groups of the copy at `offset`.
    ///
    /// - Throws: ``StoreError/damaged(file:problem:)`` if there is no copy, or a damaged one.
    init(_ source: any ByteSource, _ version: SourceVersion, at offset: Int) throws(StoreError) {
        func damaged(_ reason: String) -> StoreError {
            .damaged(
                file: source.name,
                problem: Problem(.indexCopy, "the copy of the index \(reason)", offset: offset))
        }
        let room = version.byteCount - offset
        guard offset >= FileLayout.block, room >= IndexCopy.recordSize(groupCount: 1) else {
            throw damaged("is not there")
        }
        let fixed = try source.bytes(offset..<offset + IndexCopy.fixedSize, of: version)
        guard fixed.starts(with: IndexCopy.magic), fixed[12..<16].allSatisfy({ $0 == 0 }) else {
            throw damaged("does not begin as it should")
        }
        let tailFields = Array(fixed[32...])
        let (place, size) = fixed.withRawSpan {
            ($0.littleEndian(at: 16, as: UInt64.self), $0.littleEndian(at: 24, as: UInt64.self))
        }
        guard place == UInt64(offset), let size = Int(exactly: size),
            let indexSize = Tail.indexSize(inFields: tailFields)
        else { throw damaged("has sizes that do not fit") }
        let groupCount = IndexCopy.groupCount(indexSize: indexSize)
        // Compared by division: an index of any size may be named here.
        guard groupCount <= (room - IndexCopy.fixedSize - IndexCopy.digestSize) / IndexCopy.entrySize else {
            throw damaged("is cut, or names more groups than there are")
        }
        let recordSize = IndexCopy.recordSize(groupCount: groupCount)
        let record = try source.bytes(offset..<offset + recordSize, of: version)
        let groups = try record.withRawSpan { (record: RawSpan) throws(StoreError) -> [Group] in
            let digested = recordSize - IndexCopy.digestSize
            guard Digest(of: record.extracting(0..<digested)) == Digest(in: record, at: digested) else {
                throw damaged("has another digest than it says")
            }
            return (0..<groupCount).map { group in
                let entry = IndexCopy.fixedSize + group * IndexCopy.entrySize
                return Group(
                    length: Int(record.littleEndian(at: entry, as: UInt32.self)),
                    checksum: Checksum64(in: record, at: entry + 4))
            }
        }
        self.init(offset: offset, tailFields: tailFields, groups: groups)
        guard end - offset == size,
            groups.indices.allSatisfy({ (1...pages(ofGroup: $0).count).contains(groups[$0].length) })
        else { throw damaged("has groups that do not fit") }
    }

    /// Reads the pages of one group after another.
    final class Reader {
        private let copy: IndexCopy
        private let source: any ByteSource
        private let version: SourceVersion
        private var decoder: ZstdDecoder

        init(_ copy: IndexCopy, _ source: any ByteSource, _ version: SourceVersion) throws(StoreError) {
            self.copy = copy
            self.source = source
            self.version = version
            decoder = try ZstdDecoder()
        }

        /// The encoded bytes of a group, with the checksum that they should have.
        func encoded(group: Int) throws(StoreError) -> [UInt8] {
            let place = copy.places[group]..<copy.places[group + 1]
            guard place.upperBound <= version.byteCount else { throw damaged(group, "is cut off") }
            let bytes = try source.bytes(place, of: version)
            let found = bytes.withRawSpan { Checksum64(of: $0) }
            guard found == copy.groups[group].checksum else {
                throw damaged(group, "has the checksum \(found), expected \(copy.groups[group].checksum)")
            }
            return bytes
        }

        /// The pages of a group.
        func pages(group: Int) throws(StoreError) -> [UInt8] {
            let encoded = try encoded(group: group)
            var pages = [UInt8](repeating: 0, count: copy.pages(ofGroup: group).count)
            if encoded.count == pages.count { return encoded }
            do throws(ZstdDecoder.BadFrame) {
                try pages.withMutableRawSpan { (pages: inout MutableRawSpan) throws(ZstdDecoder.BadFrame) in
                    try encoded.withRawSpan { (encoded: RawSpan) throws(ZstdDecoder.BadFrame) in
                        try decoder.decode(encoded, into: &pages)
                    }
                }
            } catch {
                throw damaged(group, "can't be decoded: \(error.reason)")
            }
            return pages
        }

        private func damaged(_ group: Int, _ reason: String) -> StoreError {
            .damaged(
                file: source.name,
                problem: Problem(
                    .indexCopy, "group \(group) of the copy of the index \(reason)", offset: copy.places[group]))
        }
    }

    /// The copy that begins with a block at `offset`, if one does and is sound.
    static func beginning(
        with block: ArraySlice<UInt8>, at offset: Int, of source: any ByteSource, _ version: SourceVersion
    ) throws(StoreError) -> IndexCopy? {
        guard block.starts(with: magic) else { return nil }
        do throws(StoreError) {
            return try IndexCopy(source, version, at: offset)
        } catch {
            guard case .damaged = error else { throw error }
            return nil
        }
    }
}
