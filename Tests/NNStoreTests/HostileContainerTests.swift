import Testing

@testable import NNStore

/// One test case a rule of the specification: a container that breaks it, with all checksums right.
@Suite("Containers that break a rule")
struct HostileContainerTests {
    /// A sound container to break: two chunks, a tie, nesting, a large value, stored and compressed chunks.
    private static func sound(_ version: FormatVersion = Library.formatVersion) throws -> [UInt8] {
        var generator = SeededGenerator(seed: 9)
        let big = try Storage(generator.bytes(1_100_000))
        let zeros = try Storage(byteCount: 4000)
        return try containerBytes(
            [
                "w": .tensor(try StateTensor(storage: big, layout: TensorLayout(.f32, shape: [275_000]))),
                "view": .tensor(
                    try StateTensor(storage: big, layout: TensorLayout(.f32, shape: [5, 5], strides: [7, 3]))),
                "z": .tensor(try StateTensor(storage: zeros, layout: TensorLayout(.f64, shape: [20, 25]))),
                "list": [1, 2.5, "x", .scalar(try TypedValue(.f16, bytes: [0, 0]))],
                "big": .bytes([UInt8](repeating: 1, count: 600)), "flag": true,
                "huge": .integer(StateInteger(twosComplement: [UInt8](repeating: 1, count: 12))),
                "unsigned": .integer(StateInteger(UInt64.max)), "strings": ["a", "b"],
            ], metadata: ["m": "x"], options: SaveOptions(formatVersion: version))
    }

    static let rows: [BrokenRule] = [
        BrokenRule(rule: "another kind", sql: "UPDATE node SET kind = 17 WHERE key = 'flag'"),
        BrokenRule(rule: "a boolean of 2", sql: "UPDATE node SET value = 2 WHERE key = 'flag'"),
        BrokenRule(rule: "a boolean as text", sql: "UPDATE node SET value = 'true' WHERE key = 'flag'"),
        BrokenRule(rule: "a tag on a leaf", sql: "UPDATE node SET tag = 'x' WHERE key = 'flag'"),
        BrokenRule(rule: "an empty tag", sql: "UPDATE node SET tag = '' WHERE key = 'list'"),
        BrokenRule(rule: "a record without a tag", sql: "UPDATE node SET kind = 4 WHERE key = 'list'"),
        BrokenRule(rule: "a dtype on a boolean", sql: "UPDATE node SET dtype = 'F32' WHERE key = 'flag'"),
        BrokenRule(rule: "a storage on a boolean", sql: "UPDATE node SET storage = 1 WHERE key = 'flag'"),
        BrokenRule(rule: "a value on a tensor", sql: "UPDATE node SET value = 1 WHERE key = 'w'"),
        BrokenRule(rule: "a missing storage", sql: "UPDATE node SET storage = 99 WHERE key = 'w'"),
        BrokenRule(rule: "a storage of zero", sql: "UPDATE node SET storage = 0 WHERE key = 'w'"),
        BrokenRule(rule: "a dtype that is not in the table", sql: "UPDATE node SET dtype = 'F9' WHERE key = 'w'"),
        BrokenRule(rule: "a known dtype with other figures", sql: "UPDATE dtype SET bytes = 8 WHERE name = 'F32'"),
        BrokenRule(
            rule: "a dtype without a proper name",
            sql: "UPDATE dtype SET name = 'F 32' WHERE name = 'F32'; UPDATE node SET dtype = 'F 32' WHERE dtype = 'F32'"
        ),
        BrokenRule(rule: "a dtype that no node uses", sql: "INSERT INTO dtype VALUES('U8', 1, 1)", fullOnly: true),
        BrokenRule(rule: "a shape with spaces", sql: "UPDATE node SET shape = '[275000, 1]' WHERE key = 'w'"),
        BrokenRule(rule: "a shape with leading zeros", sql: "UPDATE node SET shape = '[0275000]' WHERE key = 'w'"),
        BrokenRule(rule: "a negative extent", sql: "UPDATE node SET shape = '[-275000]' WHERE key = 'w'"),
        BrokenRule(rule: "a shape that is no list", sql: "UPDATE node SET shape = '275000' WHERE key = 'w'"),
        BrokenRule(
            rule: "65 dimensions",
            sql:
                "UPDATE node SET shape = '[' || substr(replace(hex(zeroblob(65)), '00', '1,'), 1, 129) || ']', nbytes = 4 WHERE key = 'w'"
        ),
        BrokenRule(
            rule: "a shape that overflows", sql: "UPDATE node SET shape = '[4611686018427387904,4]' WHERE key = 'w'"),
        BrokenRule(
            rule: "a number beyond 63 bits", sql: "UPDATE node SET shape = '[9223372036854775808]' WHERE key = 'w'"),
        BrokenRule(
            rule: "elements that overflow in bytes",
            sql: "UPDATE node SET shape = '[4611686018427387904]', nbytes = 0 WHERE key = 'w'"),
        BrokenRule(
            rule: "strides that reach outside", sql: "UPDATE node SET strides = '[100000,3]' WHERE key = 'view'"),
        BrokenRule(
            rule: "strides that overflow", sql: "UPDATE node SET strides = '[9223372036854775807,3]' WHERE key = 'view'"
        ),
        BrokenRule(rule: "contiguous strides spelled out", sql: "UPDATE node SET strides = '[5,1]' WHERE key = 'view'"),
        BrokenRule(rule: "strides of another length", sql: "UPDATE node SET strides = '[5]' WHERE key = 'view'"),
        BrokenRule(rule: "an offset that reaches outside", sql: "UPDATE node SET offset = 1 WHERE key = 'w'"),
        BrokenRule(rule: "a negative offset", sql: "UPDATE node SET offset = -1 WHERE key = 'view'"),
        BrokenRule(
            rule: "a last element at the greatest offset there is",
            sql:
                "UPDATE node SET shape = '[]', strides = NULL, nbytes = 4, offset = 9223372036854775807 WHERE key = 'view'"
        ),
        BrokenRule(
            rule: "an offset that overflows", sql: "UPDATE node SET offset = 9223372036854775807 WHERE key = 'view'"),
        BrokenRule(rule: "a wrong nbytes", sql: "UPDATE node SET nbytes = 4 WHERE key = 'w'"),
        BrokenRule(rule: "unknown flags", sql: "UPDATE node SET flags = 2 WHERE key = 'w'"),
        BrokenRule(rule: "a double of 4 bytes", sql: "UPDATE node SET value = x'00000000' WHERE kind = 11"),
        BrokenRule(
            rule: "an unsigned integer that kind 8 could hold",
            sql: "UPDATE node SET value = x'0100000000000000' WHERE kind = 9"),
        BrokenRule(rule: "a larger integer that is too short", sql: "UPDATE node SET value = x'01' WHERE kind = 10"),
        BrokenRule(
            rule: "a larger integer that is not minimal",
            sql: "UPDATE node SET value = x'0101010101010101010101010100' WHERE kind = 10"),
        BrokenRule(rule: "a typed scalar of two elements", sql: "UPDATE node SET value = x'00000000' WHERE kind = 14"),
        BrokenRule(
            rule: "a text that is not UTF-8",
            sql: "UPDATE node SET value = CAST(x'FF' AS TEXT) WHERE kind = 12 AND value = 'x'"),
        BrokenRule(
            rule: "a key that is not UTF-8", sql: "UPDATE node SET key = CAST(x'EDA080' AS TEXT) WHERE key = 'flag'"),
        BrokenRule(rule: "a key that is a blob", sql: "UPDATE node SET key = x'00' WHERE key = 'flag'"),
        BrokenRule(
            rule: "a large value in the node",
            sql: "UPDATE node SET value = (SELECT value FROM large) WHERE key = 'big'; DELETE FROM large"),
        BrokenRule(rule: "a small value in the table of large ones", sql: "UPDATE large SET value = x'00'"),
        BrokenRule(rule: "a large value that is missing", sql: "DELETE FROM large"),
        BrokenRule(
            rule: "a large value that nobody uses", sql: "INSERT INTO large VALUES(2, zeroblob(1000))", fullOnly: true),
        BrokenRule(
            rule: "a large value of two nodes",
            sql: "INSERT INTO node(parent, key, position, kind, value) VALUES (1, 'big2', 9, 13, 1)"),
        BrokenRule(
            rule: "a large value out of order",
            sql: "UPDATE large SET id = 5; UPDATE node SET value = 5 WHERE key = 'big'"),
        BrokenRule(
            rule: "a storage beyond 2^60",
            sql:
                "UPDATE storage SET nbytes = 9223372036854775807 WHERE id = 1; UPDATE chunk SET seq = 8796093022207 WHERE seq = 1"
        ),
        BrokenRule(rule: "a history of no version", sql: "UPDATE history SET from_version = 'banana'", fullOnly: true),
        BrokenRule(
            rule: "a key of more than a mebibyte",
            sql: "UPDATE node SET key = replace(hex(zeroblob(600000)), '0', 'k') WHERE key = 'flag'"),
        BrokenRule(rule: "positions with a gap", sql: "UPDATE node SET position = 50 WHERE key = 'flag'"),
        BrokenRule(rule: "two equal positions", sql: "UPDATE node SET position = 0 WHERE key = 'flag'"),
        BrokenRule(
            rule: "a list whose keys are not positions", sql: "UPDATE node SET key = 9 WHERE key = 3 AND parent != 0"),
        BrokenRule(rule: "a cycle", sql: "UPDATE node SET value = 1 WHERE key = 'list'"),
        BrokenRule(
            rule: "an id out of order",
            sql: "UPDATE node SET value = 70 WHERE key = 'list'; UPDATE node SET parent = 70 WHERE parent = 2"),
        BrokenRule(rule: "two nodes with one id", sql: "UPDATE node SET kind = 1, value = 2 WHERE key = 'flag'"),
        BrokenRule(
            rule: "children of nobody", sql: "INSERT INTO node(parent, key, position, kind) VALUES (50, 'x', 0, 6)"),
        BrokenRule(rule: "no state tree", sql: "DELETE FROM node WHERE parent = 0 AND key = 0"),
        BrokenRule(rule: "no metadata tree", sql: "DELETE FROM node WHERE parent = 0 AND key = 1"),
        BrokenRule(rule: "a third tree", sql: "INSERT INTO node(parent, key, position, kind) VALUES (0, 2, 0, 6)"),
        BrokenRule(
            rule: "a tensor among the metadata",
            sql:
                "UPDATE node SET kind = 5, value = NULL, storage = 1, dtype = 'F32', shape = '[]', offset = 0, nbytes = 4, flags = 0 WHERE key = 'm'"
        ),
        BrokenRule(rule: "a negative storage size", sql: "UPDATE storage SET nbytes = -1 WHERE id = 2"),
        BrokenRule(
            rule: "a storage larger than its chunks", sql: "UPDATE storage SET nbytes = nbytes + 1048576 WHERE id = 1"),
        BrokenRule(
            rule: "a storage of 2^62 bytes", sql: "UPDATE storage SET nbytes = 4611686018427387904 WHERE id = 1"),
        BrokenRule(
            rule: "a digest of 15 bytes",
            sql: "UPDATE storage SET digest = x'000000000000000000000000000000' WHERE id = 1"),
        BrokenRule(
            rule: "a digest that is not that of the chunks",
            sql: "UPDATE storage SET digest = zeroblob(16) WHERE id = 1"),
        BrokenRule(
            rule: "storage ids with a gap",
            sql:
                "UPDATE storage SET id = 7 WHERE id = 2; UPDATE chunk SET storage = 7 WHERE storage = 2; UPDATE node SET storage = 7 WHERE storage = 2"
        ),
        BrokenRule(rule: "a missing chunk", sql: "DELETE FROM chunk WHERE storage = 1 AND seq = 1"),
        BrokenRule(
            rule: "a chunk too many",
            sql:
                "INSERT INTO chunk SELECT storage, 2, source, offset, length, transform, width, parts, digest FROM chunk WHERE seq = 1",
            fullOnly: true),
        BrokenRule(
            rule: "a chunk of no storage",
            sql:
                "INSERT INTO chunk SELECT 9, 0, source, offset, length, transform, width, parts, digest FROM chunk WHERE seq = 1",
            fullOnly: true),
        BrokenRule(rule: "a chunk in another source", sql: "UPDATE chunk SET source = 1"),
        BrokenRule(rule: "a chunk with another transform", sql: "UPDATE chunk SET transform = 1"),
        BrokenRule(rule: "a chunk with another width", sql: "UPDATE chunk SET width = 4"),
        BrokenRule(rule: "a chunk in the header", sql: "UPDATE chunk SET offset = 0 WHERE seq = 1"),
        BrokenRule(
            rule: "a chunk behind the chunk area", sql: "UPDATE chunk SET offset = 4611686018427387904 WHERE seq = 1"),
        BrokenRule(rule: "a chunk of negative length", sql: "UPDATE chunk SET length = -5 WHERE seq = 1"),
        BrokenRule(
            rule: "a chunk whose parts are longer", sql: "UPDATE chunk SET length = length - 1 WHERE storage = 2"),
        BrokenRule(
            rule: "a chunk of an unknown coding",
            sql: "UPDATE chunk SET parts = CAST(x'07' || substr(parts, 2) AS BLOB)"),
        BrokenRule(rule: "a chunk of two parts", sql: "UPDATE chunk SET parts = CAST(parts || parts AS BLOB)"),
        BrokenRule(
            rule: "a stored chunk that is not aligned", sql: "UPDATE chunk SET offset = offset + 1 WHERE seq = 1"),
        BrokenRule(rule: "chunks that overlap", sql: "UPDATE chunk SET offset = 4096 WHERE seq = 1", fullOnly: true),
        BrokenRule(rule: "no fact about sharing", sql: "DELETE FROM extra WHERE key = 'sharing'", fullOnly: true),
        BrokenRule(
            rule: "a history that leads elsewhere", sql: "UPDATE history SET to_version = '9.9'", fullOnly: true),
        BrokenRule(rule: "no history", sql: "DELETE FROM history", fullOnly: true),
        BrokenRule(rule: "an additional table", sql: "CREATE TABLE more(x)"),
        BrokenRule(rule: "an additional index", sql: "CREATE INDEX more ON node(kind)"),
        BrokenRule(rule: "a trigger", sql: "CREATE TRIGGER more AFTER INSERT ON extra BEGIN DELETE FROM node; END"),
        BrokenRule(rule: "another view", sql: "DROP VIEW tensors; CREATE VIEW tensors AS SELECT 1"),
        BrokenRule(
            rule: "a table with other columns",
            sql: "DROP TABLE history; CREATE TABLE history(seq INTEGER PRIMARY KEY) STRICT"),
        BrokenRule(rule: "another user version", sql: "PRAGMA user_version = 7"),
        BrokenRule(rule: "another application id", sql: "PRAGMA application_id = 1"),
    ]

    @Test(
        "is refused when it is touched, and reported in full verification", arguments: rows, FileLayout.writtenVersions)
    func row(_ test: BrokenRule, _ version: FormatVersion) throws {
        try test.check(HostileContainerTests.sound(version))
    }

    @Test("a zstd frame that is not as the index says is refused: other size, trailing bytes, no size, other content")
    func frames() throws {
        let zeros = try Storage(byteCount: 4000)
        let tree: StateTree = ["z": .tensor(try StateTensor(storage: zeros, layout: TensorLayout(.u8, shape: [4000])))]
        // Format 2 would not make a frame of zeros.
        let sound = Forger(try containerBytes(tree, options: SaveOptions(formatVersion: FormatVersion(1, 0))))
        let frames: [(String, [UInt8])] = [
            ("a frame of 3,999 bytes", try frame([UInt8](repeating: 0, count: 3999))),
            ("a frame of 4,001 bytes", try frame([UInt8](repeating: 0, count: 4001))),
            ("a frame and a byte", try frame([UInt8](repeating: 0, count: 4000)) + [0]),
            ("two frames", try frame([UInt8](repeating: 0, count: 2000)) + frame([UInt8](repeating: 0, count: 2000))),
            ("a skippable frame", [0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4]),
            ("no frame", [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
            ("a frame that is cut", Array(try frame([UInt8](repeating: 0, count: 4000)).dropLast())),
        ]
        /// The container with another frame for its one chunk, everything that describes the frame put right.
        func container(with frame: [UInt8]) throws -> Checkpoint {
            var forger = sound
            forger.chunks = frame + [UInt8](repeating: 0, count: 4096 - frame.count)
            forger.tail.replaceSubrange(
                40..<48, with: withUnsafeBytes(of: UInt64(4096 + frame.count).littleEndian) { Array($0) })
            var parts: [UInt8] = [1]
            parts.append(littleEndian: UInt32(frame.count))
            frame.withRawSpan { Checksum64(of: $0) }.append(to: &parts)
            let hex = parts.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
            try forger.run("UPDATE chunk SET length = \(frame.count), parts = x'\(hex)'")
            return try Checkpoint.open(MemorySource(forger.container()))
        }
        for (name, frame) in frames {
            let checkpoint = try container(with: frame)
            let error = #expect(throws: StoreError.self, "\(name)") { try checkpoint.readAll() }
            #expect(error?.code == "damaged")
            #expect(error?.description.contains("chunk 0 of \"z\"") == true, "\(error!)")
            #expect(try !checkpoint.verify().isSound)
        }
        // A sound frame of other bytes is right by all that a load checks; only the chunk's digest tells, which full
        // verification compares.
        let other = try container(with: frame([UInt8](repeating: 1, count: 4000)))
        #expect(try other.verify(.checksums).isSound)
        #expect(try other.verify().problems.map(\.kind) == [.digest])
    }

    private func frame(_ content: [UInt8]) throws -> [UInt8] {
        var encoder = try ZstdEncoder(level: 3)
        var destination = [UInt8](repeating: 0, count: content.count + 100)
        let size = try destination.withMutableRawSpan { (destination) throws(StoreError) in
            try content.withRawSpan { (content: RawSpan) throws(StoreError) in
                try encoder.encode(content, into: &destination, shorterThan: content.byteCount + 100)
            }
        }
        return Array(destination.prefix(try #require(size)))
    }

    @Test("versions and features are judged before anything else that a newer writer may have changed")
    func versions() throws {
        func changed(_ change: (inout Forger) throws -> Void) throws -> StoreError? {
            var forger = Forger(try HostileContainerTests.sound())
            try change(&forger)
            let bytes = forger.container()
            return #expect(throws: StoreError.self) { try Checkpoint.open(MemorySource(bytes, name: "x.nnck")) }
        }
        // A later major version, with something in what is zero today.
        let major = try changed {
            $0.header[12] = 9
            $0.header[500] = 1
            $0.tail[12] = 9
            $0.tail[200] = 1
        }
        #expect(
            major == .unsupportedVersion(file: "x.nnck", version: FormatVersion(9, 1), newestKnown: FormatVersion(2, 1))
        )
        #expect(major?.description.contains("format 9.1") == true)
        let feature = try changed {
            $0.tail[16] = 7
            $0.tail[24] = 32
            $0.tail[200] = 1
        }
        #expect(feature == .unsupportedFeature(file: "x.nnck", feature: 5, version: FormatVersion(2, 7)))
        #expect(try changed { $0.header[12] = 9 }?.code == "damaged", "header and tail disagree")
        #expect(try changed { $0.header[100] = 1 }?.code == "damaged")
        #expect(try changed { $0.tail[100] = 1 }?.code == "damaged")
        #expect(try changed { $0.tail[20] = 1 }?.code == "damaged")
        #expect(try changed { $0.tail[0] = 1 }?.code == "damaged")
        #expect(try changed { $0.tail[46] = 1 }?.code == "damaged", "the chunk area ends behind the tail")
        // A newer minor version and an unknown optional feature, with an annex, are read.
        var forger = Forger(try HostileContainerTests.sound())
        forger.tail[16] = 7
        forger.tail[33] = 1
        forger.annex = [UInt8](repeating: 0xab, count: 4096)
        try forger.run("UPDATE history SET to_version = '2.7'")
        let checkpoint = try Checkpoint.open(MemorySource(forger.container()))
        #expect(checkpoint.version == FormatVersion(2, 7))
        #expect(try checkpoint.verify().problems == [])
        // The same annex without the feature is not.
        forger.tail[33] = 0
        let unclaimed = try Checkpoint.open(MemorySource(forger.container()))
        #expect(try unclaimed.verify(.structure).problems.map(\.kind) == [.indexCopy])
        // Without the copy of the index, too, there must be no annex.
        forger.tail[32] = 0
        #expect(throws: StoreError.self) { try Checkpoint.open(MemorySource(forger.container())) }
    }

    @Test("looking a long name up in nodes that only look like a tree takes little time")
    func disguisedTree() throws {
        // Level n has the keys a and a.a, both leading to level n + 1 or n + 2: the ways through double at each level.
        var forger = Forger(try containerBytes([:]))
        var sql = ""
        for level in 1..<60 {
            sql += "INSERT INTO node(parent, key, position, kind, value) VALUES (\(level), 'a', 0, 1, \(level + 1)), "
            sql += "(\(level), 'a.a', 1, 1, \(level + 2));"
        }
        try forger.run(sql)
        let source = CountingSource(MemorySource(forger.container()))
        let checkpoint = try Checkpoint.open(source)
        let name = Array(repeating: "a", count: 58).joined(separator: ".")
        #expect(throws: StoreError.self) { try NameLookup(checkpoint.index).tensor(name) }
        #expect(source.readCount < 1000)
    }

    @Test("a page of another checkpoint is found, though it is whole")
    func stalePage() throws {
        func saved(_ value: Float) throws -> Forger {
            Forger(
                try containerBytes([
                    "t": .tensor(try StateTensor([Float](repeating: value, count: 100), shape: [100]))
                ]))
        }
        let old = try saved(1)
        var new = try saved(2)
        #expect(old.image.count == new.image.count)
        var found = 0
        for page in 0..<new.image.count / 4096 {
            let range = page * 4096..<(page + 1) * 4096
            let kept = Array(new.image[range])
            new.image.replaceSubrange(range, with: old.image[range])
            do {
                let checkpoint = try Checkpoint.open(MemorySource(new.container(fixing: false)))
                if try !checkpoint.verify().isSound { found += 1 }
            } catch is StoreError {
                found += 1
            }
            new.image.replaceSubrange(range, with: kept)
        }
        #expect(found == new.image.count / 4096)
    }
}
