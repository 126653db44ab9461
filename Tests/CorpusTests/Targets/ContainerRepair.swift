@testable import NNStore

/// A container taken apart, of whatever bytes there are, and put together again with all checksums right.
struct ContainerRepair {
    var header: [UInt8]
    var chunks: [UInt8]
    /// The tail's fields.
    var fields: [UInt8]
    var image: [UInt8]

    /// `nil` for bytes that have no end mark, or one that makes no sense.
    init?(_ bytes: [UInt8]) {
        guard bytes.count >= 4 * FileLayout.block + FileLayout.endMarkSize,
            let offset = try? Tail.indexOffset(
                endMark: bytes.suffix(FileLayout.endMarkSize), fileSize: bytes.count, file: "fuzzed")
        else { return nil }
        header = Array(bytes[..<FileLayout.block])
        fields = Array(bytes[offset - FileLayout.block..<offset - FileLayout.block + 96])
        image = Array(bytes[offset..<bytes.count - FileLayout.endMarkSize])
        if image.count % FileLayout.block != 0 { image.removeLast(image.count % FileLayout.block) }
        guard !image.isEmpty else { return nil }
        let end = fields.withRawSpan { Int(exactly: $0.littleEndian(at: 40, as: UInt64.self)) } ?? 0
        let annex = FileLayout.blockEnd(min(max(end, FileLayout.block), offset - FileLayout.block))
        chunks = Array(bytes[FileLayout.block..<(hasCopy(fields) ? annex : offset - FileLayout.block)])
    }

    /// The bytes with their checksums put right; as they are if they are no container at all.
    static func repaired(_ bytes: [UInt8]) -> [UInt8] { ContainerRepair(bytes)?.bytes ?? bytes }

    /// The container: magics, places, sizes, page checksums, the hash of the index, its copy, header and tail are right.
    var bytes: [UInt8] {
        var (header, fields, image) = (header, fields, image)
        header.replaceSubrange(0..<12, with: FileLayout.headerMagic)
        let checksum = header.withRawSpan { Checksum64(of: $0.extracting(0..<FileLayout.pageContent)) }
        header.removeLast(8)
        checksum.append(to: &header)
        let salt = fields.withRawSpan { Digest(in: $0, at: 80) }.high
        for page in 0..<image.count / FileLayout.block {
            let start = page * FileLayout.block
            let end = start + FileLayout.pageContent
            var checksum: [UInt8] = []
            image.withRawSpan {
                Checksum64(of: $0.extracting(start..<end), seed: PageReader.seed(page: page + 1, salt: salt))
            }.append(to: &checksum)
            image.replaceSubrange(end..<end + 8, with: checksum)
        }
        let copy = hasCopy(fields) ? try? IndexCopy.frames(of: image, threads: 1) : nil
        let annex = FileLayout.block + chunks.count
        let tailOffset = FileLayout.blockEnd(annex + (copy?.byteCount ?? 0))
        fields.replaceSubrange(0..<12, with: FileLayout.tailMagic)
        fields.set(UInt64(tailOffset + FileLayout.block), at: 48)
        fields.set(UInt64(image.count), at: 56)
        fields.replaceSubrange(64..<80, with: image.withRawSpan { Digest(of: $0) }.bytes)
        var annexBytes = copy.map { IndexCopy.bytes($0, at: annex, tailFields: fields) } ?? []
        annexBytes += [UInt8](repeating: 0, count: tailOffset - annex - annexBytes.count)
        return header + chunks + annexBytes + Tail.block(withFields: fields) + image
            + Tail.endMark(indexOffset: tailOffset + FileLayout.block)
    }
}

private func hasCopy(_ fields: [UInt8]) -> Bool { UInt64(fields[32]) & Tail.indexCopy != 0 }

extension [UInt8] {
    fileprivate mutating func set(_ value: UInt64, at offset: Int) {
        for byte in 0..<8 { self[offset + byte] = UInt8(truncatingIfNeeded: value >> (8 * byte)) }
    }
}
