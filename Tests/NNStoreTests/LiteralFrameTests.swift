import Foundation
import Testing

@testable import NNStore

/// Our own encoder and decoder of frames of literals beside libzstd's.
@Suite("Frames of literals")
struct LiteralFrameTests {
    /// Bytes whose values fall off geometrically from `first` on; of each, `rate` of what is left have it.
    private func skewed(_ count: Int, _ rate: Double, first: Int, _ generator: inout SeededGenerator) -> [UInt8] {
        (0..<count).map { _ in
            let value = log(Double.random(in: 0.000001..<1, using: &generator)) / log(1 - rate)
            return UInt8(truncatingIfNeeded: first + min(255, Int(value)))
        }
    }

    private func frame(_ bytes: [UInt8], blockSize: Int, countsAll: Bool = false) throws -> [UInt8]? {
        var encoder = LiteralFrameEncoder(countsAll: countsAll)
        var room = [UInt8](repeating: 0, count: bytes.count + 4096)
        let size = try room.withMutableRawSpan { (room: inout MutableRawSpan) throws(StoreError) in
            try bytes.withRawSpan { (bytes: RawSpan) throws(StoreError) in
                try encoder.encode(bytes, into: &room, shorterThan: .max, blockSize: blockSize)
            }
        }
        return size.map { Array(room.prefix($0)) }
    }

    /// What our decoder makes of a frame; `nil` if it leaves it to libzstd.
    private func decoded(
        _ frame: [UInt8], _ count: Int, _ decoder: inout LiteralFrameDecoder
    ) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0x55, count: count)
        let isDecoded = bytes.withMutableRawSpan { bytes in
            frame.withRawSpan { decoder.decode($0, into: &bytes) }
        }
        return isDecoded ? bytes : nil
    }

    /// What libzstd makes of it; `nil` if it is damaged.
    private func decodedByLibrary(_ frame: [UInt8], _ count: Int) throws -> [UInt8]? {
        var decoder = try ZstdDecoder()
        var bytes = [UInt8](repeating: 0xaa, count: count)
        do throws(ZstdDecoder.BadFrame) {
            try bytes.withMutableRawSpan { (bytes: inout MutableRawSpan) throws(ZstdDecoder.BadFrame) in
                try frame.withRawSpan { (frame: RawSpan) throws(ZstdDecoder.BadFrame) in
                    try decoder.decode(frame, into: &bytes)
                }
            }
            return bytes
        } catch {
            return nil
        }
    }

    @Test("whatever the sizes and values are, a frame gives the bytes it was made from")
    func roundTrip() throws {
        let seed = testSeed
        print("seed \(seed) (set NNSTORE_TEST_SEED to repeat)")
        var generator = SeededGenerator(seed: seed)
        var decoder = LiteralFrameDecoder()
        var own = 0
        for rate in [0.9, 0.5, 0.3, 0.1, 0.05, 0.02] {
            for count in [0, 1, 2, 63, 300, 1023, 1024, 5000, 16_384, 16_385, 40_003, 131_072, 131_073, 270_000] {
                for blockSize in [32 << 10, 128 << 10] {
                    let first = Int.random(in: 0...255, using: &generator)
                    let bytes = skewed(count, rate, first: first, &generator)
                    let frame = try #require(try frame(bytes, blockSize: blockSize))
                    let found = decoded(frame, count, &decoder)
                    if found != nil { own += 1 }
                    let isSame = (found ?? bytes) == bytes
                    #expect(isSame, "\(count) bytes, rate \(rate), first \(first), seed \(seed)")
                    let isReadable = try decodedByLibrary(frame, count) == bytes
                    #expect(isReadable, "\(count) bytes, rate \(rate), first \(first), seed \(seed)")
                }
            }
        }
        // The others are those with few bytes, or hardly skewed ones.
        print("\(own) of 168 frames decoded without libzstd")
        #expect(own >= 100)
    }

    @Test("values that no sample shows, gaps, single values and changes of kind come back")
    func oddDistributions() throws {
        let seed = testSeed
        print("seed \(seed) (set NNSTORE_TEST_SEED to repeat)")
        var generator = SeededGenerator(seed: seed)
        var decoder = LiteralFrameDecoder()
        let size = 256 << 10
        let common = skewed(size, 0.4, first: 110, &generator)
        var kinds: [String: [UInt8]] = [:]
        // One in some ten thousand, so that a sample misses them, near the others, far away, and zero.
        kinds["rare values"] = common.map { byte in
            switch Int.random(in: 0..<40_000, using: &generator) {
            case 0: 0
            case 1: 1
            case 2: 255
            case 3: UInt8.random(in: 90...140, using: &generator)
            default: byte
            }
        }
        // What a quarter of each 256 bytes shows is nothing of the rest.
        kinds["in step with samples"] = (0..<size).map { index in
            index % 256 < 64 ? 7 : UInt8(truncatingIfNeeded: 8 + common[index] / 4)
        }
        kinds["halves of other kinds"] = Array(common.prefix(size / 2)) + skewed(size / 2, 0.1, first: 30, &generator)
        kinds["a block of one value"] = Array(common.prefix(128 << 10)) + [UInt8](repeating: 9, count: 128 << 10)
        kinds["incompressible between others"] =
            Array(common.prefix(128 << 10)) + generator.bytes(128 << 10) + Array(common.suffix(100_000))
        kinds["two values"] = common.map { $0 > 111 ? 3 : 250 }
        kinds["nearly one value"] = common.indices.map { $0 % 9999 == 0 ? 1 : 2 }
        kinds["all values, falling off"] = (0..<size).map { _ in
            UInt8(Int.random(in: 0...255, using: &generator) * Int.random(in: 0...255, using: &generator) / 255)
        }
        for (kind, bytes) in kinds.sorted(by: { $0.key < $1.key }) {
            for countsAll in [false, true] {
                let frame = try #require(try frame(bytes, blockSize: 128 << 10, countsAll: countsAll))
                let isRead = decoded(frame, bytes.count, &decoder) == bytes
                #expect(isRead, "\(kind), seed \(seed)")
                let isReadable = try decodedByLibrary(frame, bytes.count) == bytes
                #expect(isReadable, "\(kind), seed \(seed)")
            }
            // A sample costs little.
            let sampled = try #require(try frame(bytes, blockSize: 128 << 10)).count
            let counted = try #require(try frame(bytes, blockSize: 128 << 10, countsAll: true)).count
            #expect(sampled * 100 < counted * 101, "\(kind): \(sampled), all bytes counted \(counted), seed \(seed)")
        }
    }

    @Test("a frame that says it has a dictionary, a checksum or a reserved bit, or is no single segment, is refused")
    func otherForms() throws {
        var generator = SeededGenerator(seed: 5)
        let bytes = skewed(5000, 0.2, first: 3, &generator)
        let frame = try #require(try frame(bytes, blockSize: 128 << 10))
        #expect(try decodedByLibrary(frame, bytes.count) == bytes)
        for bit in [0, 1, 2, 3, 5] {
            var other = frame
            other[4] ^= 1 << bit
            #expect(try decodedByLibrary(other, bytes.count) == nil, "bit \(bit)")
        }
        // A whole frame with a right checksum, which libzstd itself takes (python-zstandard made it).
        let checked: [UInt8] = [
            0x28, 0xb5, 0x2f, 0xfd, 0x24, 5, 0x29, 0, 0, 0x61, 0x62, 0x63, 0x64, 0x65, 0xeb, 0xc7, 0x8d, 0x0c,
        ]
        #expect(try decodedByLibrary(checked, 5) == nil)
    }

    @Test("frames are about as short as libzstd's, or shorter")
    func size() throws {
        var generator = SeededGenerator(seed: 5)
        for rate in [0.9, 0.6, 0.3, 0.1, 0.04] {
            for count in [2000, 30_000, 500_000] {
                let bytes = skewed(count, rate, first: 100, &generator)
                let own = try #require(try frame(bytes, blockSize: 128 << 10)).count
                // zstd's fastest level finds no matches here that are worth anything.
                var library = try ZstdEncoder(level: -7)
                var room = [UInt8](repeating: 0, count: count + 100)
                let other = try room.withMutableRawSpan { (room: inout MutableRawSpan) throws(StoreError) in
                    try bytes.withRawSpan { (bytes: RawSpan) throws(StoreError) in
                        try library.encode(bytes, into: &room, shorterThan: count)
                    }
                }
                #expect(
                    own * 100 < (other ?? count) * 101 + 1000, "\(count) bytes, rate \(rate): \(own), \(other ?? 0)")
            }
        }
    }

    @Test("blocks that use the code of the block before are decoded")
    func repeatedCodes() throws {
        var generator = SeededGenerator(seed: 9)
        let bytes = skewed(80 * 1024, 0.2, first: 100, &generator)
        let frame = try #require(try frame(bytes, blockSize: 2048))
        var decoder = LiteralFrameDecoder()
        // Behind the frame's header the block's; the lower two bits of what follows are the kind of its literals.
        var kinds: [UInt8] = []
        var position = 9
        while position + 3 < frame.count {
            kinds.append(frame[position + 3] & 3)
            position += 3 + (Int(frame[position]) | Int(frame[position + 1]) << 8) >> 3
        }
        #expect(kinds.first == 2 && kinds.contains(3), "every block has a code of its own")
        let isSame = decoded(frame, bytes.count, &decoder) == bytes
        #expect(isSame)
        // The code of an earlier frame is none of this one.
        var orphan = frame
        orphan[9 + 3] |= 3
        #expect(decoded(orphan, bytes.count, &decoder) == nil)
    }

    @Test("a block larger than RFC 8878 allows is left to libzstd")
    func largeBlock() throws {
        var decoder = LiteralFrameDecoder()
        for size in [128 << 10, 128 << 10 + 1] {
            var frame: [UInt8] = [0x28, 0xb5, 0x2f, 0xfd, 0xa0]
            frame.append(littleEndian: UInt32(size))
            // The last block, raw.
            frame += [
                UInt8(truncatingIfNeeded: size << 3 | 1), UInt8(truncatingIfNeeded: size >> 5), UInt8(size >> 13),
            ]
            frame += [UInt8](repeating: 9, count: size)
            let isDecoded = decoded(frame, size, &decoder) == [UInt8](repeating: 9, count: size)
            #expect(isDecoded == (size == 128 << 10))
        }
    }

    @Test("a damaged frame is refused, or gives what libzstd gives")
    func damaged() throws {
        let seed = testSeed
        print("seed \(seed) (set NNSTORE_TEST_SEED to repeat)")
        var generator = SeededGenerator(seed: seed)
        var decoder = LiteralFrameDecoder()
        var accepted = 0
        for rate in [0.6, 0.3, 0.08] {
            for count in [700, 1500, 20_000] {
                let bytes = skewed(count, rate, first: 90, &generator)
                let frame = try #require(try frame(bytes, blockSize: 8 << 10))
                for _ in 0..<1500 {
                    var damaged = frame
                    // Mostly near the beginning, where headers, codes and sizes are.
                    let end = Bool.random(using: &generator) ? frame.count : min(frame.count, 120)
                    for _ in 0..<Int.random(in: 1...3, using: &generator) {
                        damaged[Int.random(in: 0..<end, using: &generator)] = UInt8.random(
                            in: 0...255, using: &generator)
                    }
                    if Int.random(in: 0..<8, using: &generator) == 0 {
                        damaged.removeLast(Int.random(in: 1..<damaged.count, using: &generator))
                    }
                    guard let found = decoded(damaged, count, &decoder) else { continue }
                    accepted += 1
                    let isSame = try decodedByLibrary(damaged, count) == found
                    #expect(isSame, "seed \(seed): \(damaged)")
                }
            }
        }
        // A flipped bit in a stream often gives other bytes and no sign of damage; checksums are there for that.
        print("\(accepted) of 13500 damaged frames were decoded")
        #expect(accepted > 0)
    }
}
