import Testing

@testable import NNStore

/// One test case a rule that format 2 adds for chunks: a container that breaks it, with all checksums right.
@Suite("Containers that break a rule of format 2")
struct HostilePlanesTests {
    /// A chunk of planes with a remainder (storage 1: a frame, constants and a stored part), one of zeros (storage 2), and
    /// three bytes (storage 3).
    private static func sound() throws -> [UInt8] {
        var generator = SeededGenerator(seed: 11)
        let values = (0..<20_000).map { _ in UInt32(0x3e00_0000) | UInt32.random(in: 0..<4, using: &generator) << 23 }
        let floats = try Storage(
            values.flatMap { value in (0..<4).map { UInt8(truncatingIfNeeded: value >> ($0 * 8)) } }
                + [1, 2, 3])
        return try containerBytes([
            "w": .tensor(try StateTensor(storage: floats, layout: TensorLayout(.f32, shape: [20_000]))),
            "raw": .tensor(try StateTensor(storage: floats, layout: TensorLayout(.u8, shape: [80_003]))),
            "zeros": .tensor(
                try StateTensor(storage: Storage(byteCount: 5000), layout: TensorLayout(.u8, shape: [5000]))),
            "few": .tensor(try StateTensor(storage: Storage([1, 2, 3]), layout: TensorLayout(.u8, shape: [3]))),
        ])
    }

    /// Replaces the 13 bytes of a part of storage 1's chunk.
    private static func part(_ number: Int, _ bytes: String) -> String {
        "UPDATE chunk SET parts = CAST(substr(parts, 1, \(13 * number)) || x'\(bytes)' || substr(parts, \(13 * number + 14)) AS BLOB) WHERE storage = 1"
    }
    private static let emptyHash = "2d06800538d394c2"

    static let cases: [BrokenRule] = [
        BrokenRule(rule: "a transform that there is not", sql: "UPDATE chunk SET transform = 3 WHERE storage = 1"),
        BrokenRule(rule: "a negative transform", sql: "UPDATE chunk SET transform = -1 WHERE storage = 1"),
        BrokenRule(rule: "a width that there is not", sql: "UPDATE chunk SET width = 3 WHERE storage = 1"),
        BrokenRule(rule: "a width of 16", sql: "UPDATE chunk SET width = 16 WHERE storage = 1"),
        BrokenRule(rule: "planes of width 1", sql: "UPDATE chunk SET width = 1 WHERE storage = 1"),
        BrokenRule(rule: "a plain chunk with a width", sql: "UPDATE chunk SET width = 2 WHERE storage = 3"),
        BrokenRule(
            rule: "an element wider than the chunk", sql: "UPDATE chunk SET transform = 1, width = 4 WHERE storage = 3"),
        BrokenRule(rule: "another width than the parts say", sql: "UPDATE chunk SET width = 2 WHERE storage = 1"),
        BrokenRule(
            rule: "a missing part",
            sql: "UPDATE chunk SET parts = CAST(substr(parts, 1, 52) AS BLOB), length = length - 3 WHERE storage = 1"),
        BrokenRule(
            rule: "a part too many",
            sql: "UPDATE chunk SET parts = CAST(parts || x'0200000000\(emptyHash)' AS BLOB) WHERE storage = 1"),
        BrokenRule(rule: "no parts", sql: "UPDATE chunk SET parts = x'' WHERE storage = 2"),
        BrokenRule(
            rule: "half a part", sql: "UPDATE chunk SET parts = CAST(substr(parts, 1, 6) AS BLOB) WHERE storage = 2"),
        BrokenRule(rule: "an unknown coding", sql: part(1, "0300000000\(emptyHash)")),
        BrokenRule(rule: "a constant of more than a byte", sql: part(1, "0200010000\(emptyHash)")),
        BrokenRule(
            rule: "a constant with another hash", sql: part(1, "0200000000\(String(repeating: "0", count: 16))")),
        BrokenRule(
            rule: "a constant remainder",
            sql: part(4, "0200000000\(emptyHash)") + "; UPDATE chunk SET length = length - 3 WHERE storage = 1"),
        BrokenRule(rule: "a stored plane of another size", sql: part(1, "0001000000\(emptyHash)")),
        BrokenRule(rule: "a frame of no bytes", sql: part(1, "0100000000\(emptyHash)")),
        BrokenRule(rule: "a frame longer than its plane", sql: part(1, "01ffffffff\(emptyHash)")),
        BrokenRule(
            rule: "an extent that is not its parts", sql: "UPDATE chunk SET length = length + 1 WHERE storage = 1"),
        BrokenRule(rule: "a constant chunk with a place", sql: "UPDATE chunk SET offset = 4096 WHERE storage = 2"),
        BrokenRule(rule: "a constant chunk with a length", sql: "UPDATE chunk SET length = 1 WHERE storage = 2"),
        BrokenRule(rule: "a chunk with bytes but no place", sql: "UPDATE chunk SET offset = 0 WHERE storage = 1"),
        BrokenRule(
            rule: "a constant chunk of another byte",
            sql: "UPDATE chunk SET parts = x'0207000000\(emptyHash)' WHERE storage = 2", fullOnly: true),
        BrokenRule(
            rule: "planes without the rotation", sql: "UPDATE chunk SET transform = 1 WHERE storage = 1", fullOnly: true
        ),
    ]

    @Test("the container that the cases break is sound, and has what they break")
    func unbroken() throws {
        let checkpoint = try Checkpoint.open(MemorySource(HostilePlanesTests.sound()))
        #expect(try checkpoint.verify().problems == [])
        let rows = try checkpoint.index.chunks(ofAll: checkpoint.index.storages()).map { try $0.get()[0] }
        #expect(rows[0].encoding.planes == PlaneTransform(width: .four, isRotated: true))
        #expect(rows[0].encoding.parts.map(\.coding) == [.zstd, .constant(0), .constant(0), .constant(0), .stored])
        #expect(rows[1].encoding.constant == 0)
        #expect(rows[2].encoding.isStored)
    }

    @Test("is refused when it is touched, and reported in full verification", arguments: cases)
    func row(_ test: BrokenRule) throws {
        try test.check(HostilePlanesTests.sound())
    }

    @Test("a file of format 1 can't have what format 2 adds")
    func olderVersion() throws {
        for storage in [1, 2] {
            var forger = Forger(try HostilePlanesTests.sound())
            forger.header[12] = 1
            forger.tail[12] = 1
            try forger.run(
                "PRAGMA user_version = 1; UPDATE history SET to_version = '1.0'; "
                    + "DELETE FROM node WHERE storage = \(3 - storage); DELETE FROM node WHERE storage = 3")
            let checkpoint = try Checkpoint.open(MemorySource(forger.container()))
            let row = try checkpoint.index.storage(storage)
            let error = #expect(throws: StoreError.self) { try checkpoint.index.chunks(of: row, 0..<1) }
            #expect(error?.description.contains("which format 1 does not have") == true, "\(error!)")
            #expect(try !checkpoint.verify().isSound)
        }
    }

    @Test("a few pages of constant chunks that stand for terabytes are not allocated")
    func constantBomb() throws {
        let layout = try TensorLayout(.u8, shape: [5000])
        let tree: StateTree = ["z": .tensor(try StateTensor(storage: Storage(byteCount: 5000), layout: layout))]
        var forger = Forger(try containerBytes(tree))
        let rows = 20_000
        try forger.run(
            "UPDATE storage SET nbytes = \(rows << 20); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n "
                + "WHERE i < \(rows - 1)) INSERT INTO chunk SELECT 1, i, 0, 0, 0, 0, 1, parts, digest FROM chunk, n")
        let limits = ReadLimits(maximumBytesInMemory: 1 << 30)
        let checkpoint = try Checkpoint.open(MemorySource(forger.container()), limits: limits)
        let error = #expect(throws: StoreError.self) { try checkpoint.readAll() }
        #expect(error?.code == "limit-exceeded", "\(error!)")
    }
}
