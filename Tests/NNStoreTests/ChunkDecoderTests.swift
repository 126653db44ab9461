import Testing
import TestSupport

@testable import NNStore

@Suite("Decoding chunks")
struct ChunkDecoderTests {
    /// A chunk of planes, each coded in its own way, and the elements that it decodes to.
    private struct Planes {
        private(set) var encoded: [UInt8] = []
        private(set) var planes: [UInt8] = []
        private(set) var parts: [ChunkPart] = []
        /// What the planes' blocks hold, for messages.
        private(set) var codings: [String] = []

        mutating func addStored(_ bytes: [UInt8]) {
            add(bytes, bytes, .stored, "stored")
        }

        mutating func addConstant(_ byte: UInt8, _ count: Int) {
            planes += [UInt8](repeating: byte, count: count)
            parts.append(ChunkPart(constant: byte))
            codings.append("constant")
        }

        /// As a frame of literals with blocks of such sizes, the last of them again and again; the bytes are skewed, so that
        /// it is shorter.
        mutating func addLiterals(_ count: Int, blockSizes: [Int], _ generator: inout SeededGenerator) throws {
            let bytes = generator.bytes(count).map { UInt8(100 + $0.trailingZeroBitCount) }
            let header = ZstdFormat.frameHeader(contentSize: count)
            var frame = header
            var start = 0
            var number = 0
            while start < count {
                let size = min(count - start, blockSizes[min(number, blockSizes.count - 1)])
                number += 1
                let isLast = start + size == count
                frame += try block(Array(bytes[start..<start + size]), isLast: isLast)
                start += size
            }
            if frame.count >= count { return addStored(bytes) }
            add(bytes, frame, .zstd, "blocks of \(blockSizes)")
        }

        /// A block with a code of its own, taken from a frame that has no other; or one of plain bytes.
        private func block(_ bytes: [UInt8], isLast: Bool) throws -> [UInt8] {
            var frame = [UInt8](repeating: 0, count: bytes.count + 64)
            var encoder = LiteralFrameEncoder(countsAll: true)
            let size = try frame.withMutableRawSpan { (frame: inout MutableRawSpan) throws(StoreError) in
                try bytes.withRawSpan { (bytes: RawSpan) throws(StoreError) in
                    try encoder.encode(bytes, into: &frame, shorterThan: bytes.byteCount)
                }
            }
            guard let size else { return ZstdFormat.blockHeader(.raw, size: bytes.count, isLast: isLast) + bytes }
            var block = Array(frame[ZstdFormat.frameHeader(contentSize: bytes.count).count..<size])
            // The lowest bit says that no block follows.
            if !isLast { block[0] &= 0xfe }
            return block
        }

        private mutating func add(
            _ bytes: [UInt8], _ encoded: [UInt8], _ coding: ChunkPart.Coding, _ description: String
        ) {
            planes += bytes
            self.encoded += encoded
            parts.append(
                ChunkPart(
                    coding: coding, encodedSize: encoded.count, checksum: encoded.withRawSpan { Checksum64(of: $0) }))
            codings.append(description)
        }

        func row(_ transform: PlaneTransform) -> ChunkRow {
            ChunkRow(
                sequence: 0, logicalSize: planes.count, extent: 0..<encoded.count,
                encoding: ChunkEncoding(planes: transform, parts: parts), digest: planes.withRawSpan { Digest(of: $0) })
        }

        /// The elements, put together a byte at a time.
        func elements(_ transform: PlaneTransform) -> [UInt8] {
            let width = transform.width
            let count = planes.count / width
            var bytes = planes
            for index in 0..<count {
                var element: UInt64 = 0
                for plane in 0..<width { element = element << 8 | UInt64(planes[plane * count + index]) }
                // Back to the right.
                let bits = UInt64(8 * width)
                let rotation = UInt64(transform.rotation)
                if rotation > 0 { element = element >> rotation | element << (bits - rotation) }
                for byte in 0..<width { bytes[index * width + byte] = UInt8(truncatingIfNeeded: element >> (8 * byte)) }
            }
            return bytes
        }
    }

    @Test("gives the elements, whatever the blocks of their planes are, and wherever the elements go")
    func blocks() throws {
        let seed = testSeed
        print("seed \(seed) (set NNSTORE_TEST_SEED to repeat)")
        var generator = SeededGenerator(seed: seed)
        for round in 0..<60 {
            let width = PlaneTransform.Width.allCases.randomElement(using: &generator)!
            let transform = PlaneTransform(width: width, isRotated: !generator.chance(4))
            let most = FileLayout.chunkSize / transform.width
            let count = generator.chance(3) ? most : Int.random(in: 1...most, using: &generator)
            var planes = Planes()
            for plane in 0..<transform.width {
                // The first one is what models have.
                if plane > 0, generator.chance(2) {
                    planes.addStored(generator.bytes(count))
                } else if generator.chance(8) {
                    planes.addConstant(generator.bytes(1)[0], count)
                } else {
                    let largest = LiteralFrameEncoder.largestBlock
                    let regular = [Int](repeating: largest, count: Int.random(in: 0...3, using: &generator))
                    let others = [largest, 32 << 10, 100_000, 70_001, 5000]
                    let blockSizes = regular + (0..<2).map { _ in others.randomElement(using: &generator)! }
                    try planes.addLiterals(count, blockSizes: blockSizes, &generator)
                }
            }
            let row = planes.row(transform)
            let expected = planes.elements(transform)
            // In memory that does not end with the chunk, so that there is something ahead of it.
            let data = planes.encoded + generator.bytes(100_000)
            let decoder = try ChunkDecoder(MemorySource(data), SourceVersion(byteCount: data.count))
            for isReadLater in [false, true] {
                let shift = Int.random(in: 0..<64, using: &generator)
                var decoded = [UInt8](repeating: 0xa5, count: shift + expected.count + 64)
                try decoded.withMutableRawSpan { (decoded: inout MutableRawSpan) throws(ChunkDecoder.Failure) in
                    try decoded.withBytes(in: shift..<shift + expected.count) {
                        (decoded: inout MutableRawSpan) throws(ChunkDecoder.Failure) in
                        try decoder.decode(row, into: &decoded, isReadLater: isReadLater)
                    }
                }
                let isSame = decoded[shift..<shift + expected.count] == expected[...]
                let around = decoded[..<shift] + decoded[(shift + expected.count)...]
                #expect(
                    isSame && around.allSatisfy { $0 == 0xa5 },
                    "round \(round), \(transform), \(count) elements, \(planes.codings), \(isReadLater), seed \(seed)")
            }
        }
    }
}
