import CSQLite
import TestSupport

@testable import NNStore

/// Changes containers where it hurts: in rows, pages, chunks and tail, and puts every checksum right behind it, so that a
/// reader gets to what was changed.
package struct ContainerMutator {
    private var random: SeededGenerator
    /// libFuzzer's own mutation of some bytes, in place, of the same number or fewer.
    private let mutate: ([UInt8]) -> [UInt8]

    package init(seed: UInt64, mutate: @escaping ([UInt8]) -> [UInt8]) {
        random = SeededGenerator(seed: seed)
        self.mutate = mutate
    }

    /// The bytes, changed.
    package mutating func mutated(_ bytes: [UInt8]) -> [UInt8] {
        guard var container = ContainerRepair(bytes), random.below(8) > 0 else { return mutate(bytes) }
        switch random.below(10) {
        case 0: container.fields = padded(mutate(container.fields), to: 96)
        case 1: container.header = padded(mutate(container.header), to: FileLayout.block)
        case 2...3: mutatePage(of: &container)
        case 4...5: mutateChunk(of: &container)
        default: mutateRow(of: &container)
        }
        return container.bytes
    }

    private func padded(_ bytes: [UInt8], to count: Int) -> [UInt8] {
        Array(bytes.prefix(count)) + [UInt8](repeating: 0, count: max(0, count - bytes.count))
    }

    private mutating func mutatePage(of container: inout ContainerRepair) {
        let start = random.below(container.image.count / FileLayout.block) * FileLayout.block
        let page = start..<start + FileLayout.pageContent
        container.image.replaceSubrange(page, with: padded(mutate(Array(container.image[page])), to: page.count))
    }

    /// Changes bytes of a chunk's part and the checksum that the index has of it.
    private mutating func mutateChunk(of container: inout ContainerRepair) {
        guard let checkpoint = try? Checkpoint.open(MemorySource(container.bytes)),
            let storages = try? checkpoint.index.storages(), !storages.isEmpty,
            let rows = try? ChunkReader(checkpoint).chunks(of: [storages[random.below(storages.count)]])[0].get(),
            !rows.isEmpty
        else { return }
        let row = rows[random.below(rows.count)]
        let number = random.below(row.encoding.parts.count)
        let part = row.encoding.parts[number]
        let start =
            row.extent.lowerBound + row.encoding.parts[..<number].reduce(0) { $0 + $1.encodedSize } - FileLayout.block
        let range = start..<start + part.encodedSize
        guard part.encodedSize > 0, range.upperBound <= container.chunks.count else { return }
        container.chunks.replaceSubrange(range, with: padded(mutate(Array(container.chunks[range])), to: range.count))
        var (old, new): ([UInt8], [UInt8]) = ([], [])
        part.checksum.append(to: &old)
        container.chunks.withRawSpan { Checksum64(of: $0.extracting(range)) }.append(to: &new)
        guard let place = container.image.firstIndex(of: old) else { return }
        container.image.replaceSubrange(place..<place + 8, with: new)
    }

    private static let columns: [(table: String, columns: [String])] = [
        (
            "node",
            [
                "parent", "key", "position", "kind", "tag", "value", "storage", "dtype", "shape", "strides", "offset",
                "nbytes", "flags",
            ]
        ),
        ("dtype", ["name", "elements", "bytes"]), ("storage", ["id", "nbytes", "digest"]),
        (
            "chunk",
            ["storage", "seq", "source", "offset", "length", "transform", "width", "parts", "digest"]
        ), ("extra", ["key", "value"]), ("history", ["seq", "action", "from_version", "to_version", "by"]),
        ("large", ["id", "value"]), ("sqlite_schema", ["type", "name", "tbl_name", "rootpage", "sql"]),
    ]

    /// Changes a value of a row, or takes a row away, or doubles one.
    private mutating func mutateRow(of container: inout ContainerRepair) {
        // Rows of nodes and chunks have the most rules.
        let number = random.below(12)
        let (table, columns) = ContainerMutator.columns[number < 8 ? number : number % 2 == 0 ? 0 : 3]
        let column = columns[random.below(columns.count)]
        let isRowid = ["storage", "history", "large", "sqlite_schema"].contains(table)
        let key = isRowid ? "rowid" : columns.first!
        let row = "SELECT \(key) FROM \(table) LIMIT 1 OFFSET abs(random() % max(1, (SELECT count(*) FROM \(table))))"
        let sql =
            switch random.below(16) {
            case 0: "DELETE FROM \(table) WHERE \(key) = (\(row))"
            case 1:
                "INSERT OR IGNORE INTO \(table) SELECT \(columns.map { $0 == column ? value() : $0 }.joined(separator: ", ")) FROM \(table) WHERE \(key) = (\(row)) LIMIT 1"
            default:
                "UPDATE OR IGNORE \(table) SET \(column) = \(value()) WHERE \(key) = (\(row))"
                    + (table == "node" ? " AND random() % 3 = 0" : "")
            }
        if let image = ContainerMutator.run(sql, on: container.image) { container.image = image }
    }

    private mutating func value() -> String {
        let texts = [
            "NULL", "0", "1", "-1", "2", "3", "4", "5", "11", "13", "16", "17", "255", "256", "4096", "8192", "1048576",
            "1048577", "1152921504606846976", "1152921504606846977", "9223372036854775807", "-9223372036854775808",
            "1.5",
            "''", "'[]'", "'[0]'", "'[1,2,3]'", "'[1048576,1048576]'", "'[9223372036854775807]'", "'[-1]'", "'[01]'",
            "'F32'",
            "'BF16'", "'F4'", "'Q4_K'", "'none'", "'fast'", "'known'", "'a.b'", "'weight'", "x''", "zeroblob(13)",
            "zeroblob(26)",
            "zeroblob(16)", "zeroblob(600)", "randomblob(8)", "CAST(x'ff00fe' AS TEXT)", "char(0)", "'2.9'",
            "(SELECT value FROM node ORDER BY random() LIMIT 1)", "(SELECT shape FROM node ORDER BY random() LIMIT 1)",
            "(SELECT parts FROM chunk ORDER BY random() LIMIT 1)",
            "(SELECT offset FROM chunk ORDER BY random() LIMIT 1)",
            "(SELECT length + 1 FROM chunk ORDER BY random() LIMIT 1)",
            "(SELECT offset + 1 FROM chunk ORDER BY random() LIMIT 1)",
        ]
        return texts[random.below(texts.count)]
    }

    /// The image after a statement; `nil` if SQLite refuses.
    private static func run(_ sql: String, on image: [UInt8]) -> [UInt8]? {
        var database: OpaquePointer?
        guard sqlite3_open(":memory:", &database) == SQLITE_OK else { return nil }
        defer { sqlite3_close(database) }
        let size = Int64(image.count)
        guard let copy = sqlite3_malloc64(UInt64(size)) else { return nil }
        image.withUnsafeBytes { copy.copyMemory(from: $0.baseAddress!, byteCount: image.count) }
        let flags = UInt32(SQLITE_DESERIALIZE_FREEONCLOSE | SQLITE_DESERIALIZE_RESIZEABLE)
        let setup =
            "PRAGMA temp_store = MEMORY; PRAGMA journal_mode = MEMORY; PRAGMA writable_schema = ON; "
            + "PRAGMA ignore_check_constraints = ON; "
        guard
            sqlite3_deserialize(database, "main", copy.assumingMemoryBound(to: UInt8.self), size, size, flags)
                == SQLITE_OK,
            sqlite3_exec(database, setup + sql, nil, nil, nil) == SQLITE_OK
        else { return nil }
        sqlite3_exec(database, "VACUUM", nil, nil, nil)
        var newSize: Int64 = 0
        guard let bytes = sqlite3_serialize(database, "main", &newSize, 0) else { return nil }
        defer { sqlite3_free(bytes) }
        return newSize > 0 && newSize % 4096 == 0 ? Array(UnsafeBufferPointer(start: bytes, count: Int(newSize))) : nil
    }
}

extension SeededGenerator {
    fileprivate mutating func below(_ count: Int) -> Int { Int.random(in: 0..<count, using: &self) }
}

extension [UInt8] {
    /// Where `pattern` stands first.
    fileprivate func firstIndex(of pattern: [UInt8]) -> Int? {
        guard count >= pattern.count, let first = pattern.first else { return nil }
        return (0...count - pattern.count).first {
            self[$0] == first && self[$0..<$0 + pattern.count].elementsEqual(pattern)
        }
    }
}
