import Foundation
import Testing

@testable import NNStore

/// Our own decoder of frames of literals beside libzstd's.
@Suite("Frames of literals")
struct LiteralFrameTests {
    /// Bytes whose values fall off geometrically from `first` on; of each, `rate` of what is left have it.
    private func skewed(_ count: Int, _ rate: Double, first: Int, _ generator: inout SeededGenerator) -> [UInt8] {
        (0..<count).map { _ in
            let value = log(Double.random(in: 0.000001..<1, using: &generator)) / log(1 - rate)
            return UInt8(truncatingIfNeeded: first + min(255, Int(value)))
        }
    }

    private func frame(_ bytes: [UInt8], blockSize: Int) throws -> [UInt8]? {
        var encoder = LiteralFrameEncoder()
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

    @Test("blocks that use the code of the block before are decoded")
    func repeatedCodes() throws {
        var generator = SeededGenerator(seed: 9)
        let part = skewed(2048, 0.2, first: 100, &generator)
        let bytes = Array(repeatElement(part, count: 40).joined())
        let frame = try #require(try frame(bytes, blockSize: 2048))
        var decoder = LiteralFrameDecoder()
        // Behind the frame's header the block's; the lower two bits of what follows are the kind of its literals.
        var kinds: [UInt8] = []
        var position = 9
        while position + 3 < frame.count {
            kinds.append(frame[position + 3] & 3)
            position += 3 + (Int(frame[position]) | Int(frame[position + 1]) << 8) >> 3
        }
        #expect(kinds.first == 2 && kinds.contains(3), "libzstd gave every block a code of its own")
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
