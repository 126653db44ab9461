import Testing

@testable import NNStore

@Suite("Planes and frames of literals")
struct PlaneTests {
    private func split(_ bytes: [UInt8], _ transform: PlaneTransform) -> [UInt8] {
        var planes = [UInt8](repeating: 0, count: bytes.count)
        planes.withMutableRawSpan { planes in bytes.withRawSpan { transform.split($0, into: &planes) } }
        return planes
    }

    @Test("planes hold the bytes of rotated elements, the most significant first")
    func planes() {
        // BF16 1.0 is 3F80, -2.0 is C000; rotated left by one bit 7F00 and 8001.
        let bytes: [UInt8] = [0x80, 0x3f, 0x00, 0xc0]
        #expect(split(bytes, PlaneTransform(width: .two, isRotated: true)) == [0x7f, 0x80, 0x00, 0x01])
        #expect(split(bytes, PlaneTransform(width: .two, isRotated: false)) == [0x3f, 0xc0, 0x80, 0x00])
        #expect(
            split([1, 2, 3, 4, 5, 6, 7, 8], PlaneTransform(width: .four, isRotated: false)) == [4, 8, 3, 7, 2, 6, 1, 5])
        // F64 1.0 is 3FF0..., rotated left by four bits FF00...03.
        #expect(
            split([0, 0, 0, 0, 0, 0, 0xf0, 0x3f], PlaneTransform(width: .eight, isRotated: true))
                == [0xff, 0, 0, 0, 0, 0, 0, 0x03])
    }

    @Test("joining gives back what was split, for every width and any number of elements")
    func roundTrip() {
        let seed = testSeed
        print("seed \(seed) (set NNSTORE_TEST_SEED to repeat)")
        var generator = SeededGenerator(seed: seed)
        for elementWidth in PlaneTransform.Width.allCases {
            let width = elementWidth.rawValue
            for isRotated in [false, true] {
                for count in [0, 1, 2, 7, 31, 64, 1000, 4097] {
                    let transform = PlaneTransform(width: elementWidth, isRotated: isRotated)
                    let bytes = generator.bytes(count * width)
                    let planes = split(bytes, transform)
                    // Planes may lie anywhere: here with a gap before each, every other one among those decoded.
                    var scattered: [Bool: [UInt8]] = [false: [], true: []]
                    var places: [PlaneTransform.Place] = []
                    for plane in 0..<width {
                        let isDecoded = plane % 2 == 1
                        scattered[isDecoded]! += [0, 0, 0]
                        places.append(PlaneTransform.Place(isDecoded: isDecoded, offset: scattered[isDecoded]!.count))
                        scattered[isDecoded]! += planes[plane * count..<(plane + 1) * count]
                    }
                    // Whether past the caches or not, and wherever in a line of them elements begin.
                    for (isReadLater, shift) in [(false, 0), (true, 0), (true, 1), (true, 8), (true, 24), (true, 63)] {
                        var joined = [UInt8](repeating: 0xa5, count: shift + bytes.count + 64)
                        joined.withMutableRawSpan { joined in
                            joined.withBytes(in: shift..<shift + bytes.count) { joined in
                                scattered[false]!.withRawSpan { encoded in
                                    scattered[true]!.withRawSpan { decoded in
                                        transform.join(
                                            encoded: encoded, decoded: decoded, at: places, into: &joined,
                                            isReadLater: isReadLater)
                                    }
                                }
                            }
                        }
                        let expected =
                            Array(repeating: 0xa5, count: shift) + bytes + Array(repeating: 0xa5, count: 64)
                        let isSame = joined == expected
                        #expect(isSame, "\(transform) of \(count) elements, \(isReadLater), \(shift), seed \(seed)")
                    }
                }
            }
        }
    }

    @Test("a sample tells the size of a frame of literals within two hundredths")
    func estimates() throws {
        var generator = SeededGenerator(seed: 3)
        var sampler = PlaneSampler()
        var encoder = LiteralFrameEncoder()
        for bits in 1...7 {
            // Values of the geometric kind, more of them with more bits.
            let plane: [UInt8] = (0..<300_000).map { _ in
                var value = 0
                while value < 255, Double.random(in: 0..<1, using: &generator) < 1 - 1 / Double(1 << bits) {
                    value += 1
                }
                return UInt8(value)
            }
            var frame = [UInt8](repeating: 0, count: plane.count + 100)
            let size = try frame.withMutableRawSpan { (frame: inout MutableRawSpan) throws(StoreError) in
                try plane.withRawSpan { (bytes: RawSpan) throws(StoreError) in
                    try encoder.encode(bytes, into: &frame, shorterThan: plane.count)
                }
            }
            let estimate = plane.withRawSpan { sampler.sample($0).literalSize(plane.count) }
            // Huffman codes have whole bits: with few values the frame is longer than its entropy.
            #expect(abs(estimate - (size ?? plane.count)) * 50 < plane.count, "\(bits): \(estimate), \(size ?? 0)")
        }
    }

    @Test("frames of literals are ordinary frames, and refuse to grow")
    func literalFrames() throws {
        var generator = SeededGenerator(seed: 2)
        var encoder = LiteralFrameEncoder()
        var decoder = try ZstdDecoder()
        for count in [1, 100, 1000, 128 << 10, 128 << 10 + 1, 512 << 10, 1 << 20] {
            // Few distinct bytes, as exponents are.
            let skewed = generator.bytes(count).map { 120 + UInt8($0.nonzeroBitCount) }
            var frame = [UInt8](repeating: 0, count: count + 100)
            let size = try frame.withMutableRawSpan { (frame: inout MutableRawSpan) throws(StoreError) in
                try skewed.withRawSpan { (bytes: RawSpan) throws(StoreError) in
                    try encoder.encode(bytes, into: &frame, shorterThan: count)
                }
            }
            guard let size else {
                #expect(count < 200, "\(count) bytes of nine kinds shrink")
                continue
            }
            #expect(size < count)
            var decoded = [UInt8](repeating: 0, count: count)
            try decoded.withMutableRawSpan { decoded in
                try Array(frame.prefix(size)).withRawSpan { try decoder.decode($0, into: &decoded) }
            }
            let isSame = decoded == skewed
            #expect(isSame, "\(count)")
            let random = generator.bytes(count)
            let none = try frame.withMutableRawSpan { (frame: inout MutableRawSpan) throws(StoreError) in
                try random.withRawSpan { (bytes: RawSpan) throws(StoreError) in
                    try encoder.encode(bytes, into: &frame, shorterThan: count)
                }
            }
            #expect(none == nil, "random bytes do not shrink")
        }
    }
}
