import CSQLite

@testable import NNStore

/// Makes containers that break one rule and are right in all others: changes them, then puts every checksum right.
struct Forger {
    var header: [UInt8]
    var chunks: [UInt8]
    var tail: [UInt8]
    var image: [UInt8]
    /// What stands in the annex behind the copy of the index; the copy is made anew if the tail says that there is one.
    var annex: [UInt8] = []

    /// Takes a sound container apart.
    init(_ container: [UInt8]) {
        let offset = container.suffix(8).reduce(0) { $0 << 8 | Int($1) }
        header = Array(container[..<4096])
        tail = Array(container[offset - 4096..<offset])
        let hasCopy = UInt64(tail[32]) & Tail.indexCopy != 0
        let chunkAreaEnd = tail.withRawSpan { Int($0.littleEndian(at: 40, as: UInt64.self)) }
        chunks = Array(container[4096..<(hasCopy ? FileLayout.blockEnd(chunkAreaEnd) : offset - 4096)])
        image = Array(container[offset..<container.count - 25])
    }

    private var contentIDStart: UInt64 { tail[80..<88].reduce(0) { $0 << 8 | UInt64($1) } }

    /// Runs SQL on the index, without the checks of a sound writer.
    mutating func run(_ sql: String) throws {
        var database: OpaquePointer?
        guard sqlite3_open(":memory:", &database) == SQLITE_OK else { throw Failure(message: "open") }
        defer { sqlite3_close(database) }
        let size = Int64(image.count)
        let copy = sqlite3_malloc64(UInt64(size))!
        image.withUnsafeBytes { copy.copyMemory(from: $0.baseAddress!, byteCount: image.count) }
        let flags = UInt32(SQLITE_DESERIALIZE_FREEONCLOSE | SQLITE_DESERIALIZE_RESIZEABLE)
        guard
            sqlite3_deserialize(database, "main", copy.assumingMemoryBound(to: UInt8.self), size, size, flags)
                == SQLITE_OK,
            sqlite3_exec(
                database,
                "PRAGMA temp_store = MEMORY; PRAGMA journal_mode = MEMORY; PRAGMA writable_schema = ON;" + sql, nil,
                nil, nil)
                == SQLITE_OK,
            // Free pages are another rule than the one to be broken.
            sqlite3_exec(database, "VACUUM", nil, nil, nil) == SQLITE_OK
        else { throw Failure(message: String(cString: sqlite3_errmsg(database))) }
        var newSize: Int64 = 0
        let bytes = sqlite3_serialize(database, "main", &newSize, 0)!
        image = Array(UnsafeBufferPointer(start: bytes, count: Int(newSize)))
        sqlite3_free(bytes)
    }

    struct Failure: Error { let message: String }

    /// The container, its checksums right but those that are asked to stay.
    func container(fixing: Bool = true) -> [UInt8] {
        var (header, tail, image) = (header, tail, image)
        var whole: [UInt8] = []
        let hasCopy = UInt64(tail[32]) & Tail.indexCopy != 0
        if fixing {
            for page in 0..<image.count / 4096 {
                let seed = PageReader.seed(page: page + 1, salt: contentIDStart)
                let range = page * 4096..<page * 4096 + 4088
                let checksum = image.withRawSpan { Checksum64(of: $0.extracting(range), seed: seed) }
                image.replaceSubrange(range.upperBound..<range.upperBound + 8, with: bigEndian(checksum.value))
            }
            let frames = hasCopy ? try! IndexCopy.frames(of: image, threads: 1) : nil
            let annexSize = FileLayout.blockEnd((frames?.byteCount ?? 0) + annex.count)
            let offset = 4096 + chunks.count + annexSize + 4096
            tail.replaceSubrange(48..<56, with: littleEndian(UInt64(offset)))
            tail.replaceSubrange(56..<64, with: littleEndian(UInt64(image.count)))
            tail.replaceSubrange(64..<80, with: image.withRawSpan { Digest(of: $0) }.bytes)
            tail.replaceSubrange(4080..<4096, with: tail.withRawSpan { Digest(of: $0.extracting(0..<4080)) }.bytes)
            if let frames {
                whole = IndexCopy.bytes(frames, at: 4096 + chunks.count, tailFields: Array(tail[..<96]))
            }
            whole += annex
            whole += [UInt8](repeating: 0, count: annexSize - whole.count)
            let sum = header.withRawSpan { Checksum64(of: $0.extracting(0..<4088)) }
            header.replaceSubrange(4088..<4096, with: bigEndian(sum.value))
        }
        return header + chunks + whole + tail + image + Array("Start-Of-SQLite3-".utf8)
            + bigEndian(UInt64(4096 + chunks.count + whole.count + 4096))
    }

    private func bigEndian(_ value: UInt64) -> [UInt8] { littleEndian(value).reversed() }

    private func littleEndian(_ value: UInt64) -> [UInt8] {
        (0..<8).map { UInt8(truncatingIfNeeded: value >> ($0 * 8)) }
    }
}
