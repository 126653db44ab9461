import Testing

@testable import NNStore

/// What format 2 makes of chunks.
@Suite("Planes in containers")
struct PlaneCodecTests {
    /// Bytes of one storage as a tensor of a dtype.
    private func tensor(_ bytes: [UInt8], _ dtype: DType) throws -> StateTree {
        let count = bytes.count / dtype.bytesPerBlock * dtype.elementsPerBlock
        return .tensor(try StateTensor(storage: Storage(bytes), layout: TensorLayout(dtype, shape: [count])))
    }

    /// Values like those of weights: a sum of uniform numbers, small.
    private func weights(_ count: Int, _ generator: inout SeededGenerator) -> [Float] {
        (0..<count).map { _ in
            (0..<4).reduce(Float(0)) { sum, _ in sum + Float.random(in: -0.02...0.02, using: &generator) }
        }
    }

    private func bytes<Element: BitwiseCopyable>(_ elements: [Element]) -> [UInt8] {
        elements.withUnsafeBytes { Array($0) }
    }

    private func bf16(_ values: [Float]) -> [UInt8] { bytes(values.map { UInt16($0.bitPattern >> 16) }) }

    private func chunks(_ container: [UInt8]) throws -> [ChunkRow] {
        let index = try Checkpoint.open(MemorySource(container)).index
        return try index.chunks(ofAll: index.storages()).flatMap { try $0.get() }
    }

    @Test("every dtype comes back from every compression, whatever its values and sizes are")
    func roundTrip() throws {
        let seed = testSeed
        print("seed \(seed) (set NNSTORE_TEST_SEED to repeat)")
        var generator = SeededGenerator(seed: seed)
        let odd = try DType(name: "Q4_K", elementsPerBlock: 256, bytesPerBlock: 144)
        for compression in Compression.allCases {
            var entries: [(String, StateTree)] = []
            for dtype in DType.all + [odd] {
                for (kind, elements) in [("random", 5000), ("skewed", 5000), ("zeros", 400_000), ("tiny", 3)] {
                    let size = elements * dtype.bytesPerBlock
                    let content: [UInt8] =
                        switch kind {
                        case "zeros":
                            [UInt8](
                                repeating: 0, count: min(size, 2_100_000) / dtype.bytesPerBlock * dtype.bytesPerBlock)
                        case "skewed":
                            (0..<size).map { _ in UInt8(truncatingIfNeeded: generator.next().nonzeroBitCount) }
                        default: generator.bytes(size)
                        }
                    entries.append(("\(dtype.name)-\(kind)", try tensor(content, dtype)))
                }
            }
            entries.append(("weights", try tensor(bytes(weights(300_000, &generator)), .f32)))
            let container = try containerBytes(.dictionary(entries), options: SaveOptions(compression: compression))
            let checkpoint = try Checkpoint.open(MemorySource(container))
            let loaded = try checkpoint.readAll()
            for (name, tree) in entries {
                let isSame = try loaded[name]?.tensor?.elementBytes == tree.tensor?.elementBytes
                #expect(isSame, "\(name), \(compression), seed \(seed)")
            }
            #expect(try checkpoint.verify().problems == [], "\(compression), seed \(seed)")
        }
    }

    @Test("planes take the coding that suits them: exponents a frame, mantissas stored, zeros a constant")
    func codings() throws {
        var generator = SeededGenerator(seed: 4)
        let values = weights(200_000, &generator)
        func parts(_ tree: StateTree) throws -> [ChunkPart.Coding] {
            try #require(try chunks(containerBytes(["t": tree])).first).encoding.parts.map(\.coding)
        }
        #expect(try parts(tensor(bf16(values), .bf16)) == [.zstd, .stored])
        let rounded = values.map { Float(bitPattern: $0.bitPattern & 0xffff_0000) }
        // Seven bits of mantissa; and the sign is the lowest bit of a rotated element.
        #expect(try parts(tensor(bytes(rounded), .f32)) == [.zstd, .zstd, .constant(0), .zstd])
        #expect(
            try parts(tensor(bytes(values.map { Int64($0 * 1000) + 1000 }), .i64)).prefix(6)
                == Array(repeating: .constant(0), count: 6)[...])
        #expect(try parts(tensor(generator.bytes(100_000), .f32)) == [.stored], "what does not shrink is one part")
        #expect(try parts(tensor([UInt8](repeating: 7, count: 5000), .u8)) == [.constant(7)])
        let ones = try chunks(containerBytes(["t": tensor(bytes([Float](repeating: 1, count: 600_000)), .f32)]))
        #expect(ones.allSatisfy { $0.extent == 0..<0 }, "elements that are all equal take no bytes")
    }

    @Test("rows and blocks that come again are found, however far apart they are, and so are runs of zeros")
    func repeats() throws {
        var generator = SeededGenerator(seed: 9)
        func share(_ content: [UInt8], _ dtype: DType) throws -> Double {
            let rows = try chunks(containerBytes(["t": tensor(content, dtype)]))
            return Double(rows.reduce(0) { $0 + $1.extent.count }) / Double(content.count)
        }
        let block = generator.bytes(64 << 10)
        #expect(try share((0..<16).flatMap { _ in block }, .u8) < 0.1)
        let half = bf16(weights(256 << 10, &generator))
        #expect(try share(half + half, .bf16) < 0.4, "a tensor twice in a chunk")
        let rows = (0..<50).map { _ in bytes(weights(300, &generator)) }
        #expect(try share((0..<800).flatMap { _ in rows.randomElement(using: &generator)! }, .f32) < 0.3)
        let zeros = [UInt8](repeating: 0, count: 100_000)
        #expect(try share(half + zeros + zeros + half.prefix(300_000), .bf16) < 0.6)
        // Nine in ten zero: matches over whole elements.
        let pruned = weights(200_000, &generator).map { generator.chance(10) ? $0 : 0 }
        #expect(try share(bytes(pruned), .f32) < 0.17)
    }

    @Test("a storage of two dtypes, and one that is no multiple of the element, keep their bytes")
    func mixedStorages() throws {
        var generator = SeededGenerator(seed: 5)
        let content = bytes(weights(100_000, &generator)) + [1, 2, 3]
        let storage = try Storage(content)
        let tree: StateTree = [
            "raw": .tensor(try StateTensor(storage: storage, layout: TensorLayout(.u8, shape: [content.count]))),
            "floats": .tensor(try StateTensor(storage: storage, layout: TensorLayout(.f32, shape: [100_000]))),
        ]
        for compression in Compression.allCases {
            let container = try containerBytes(tree, options: SaveOptions(compression: compression))
            if compression != .none {
                let row = try #require(try chunks(container).first)
                #expect(row.encoding.planes == PlaneTransform(width: .four, isRotated: true))
                #expect(row.encoding.parts.count == 5 && row.encoding.parts[4].encodedSize == 3)
            }
            let checkpoint = try Checkpoint.open(MemorySource(container))
            let isSame = try checkpoint.read("raw").elementBytes == content
            #expect(isSame)
            #expect(try checkpoint.verify().problems == [])
        }
    }

    @Test("a fed writer that is not told the dtype finds the elements itself")
    func unknownElements() throws {
        var generator = SeededGenerator(seed: 6)
        let content = bf16(weights(800_000, &generator))
        let sink = MemorySink()
        let writer = try ContainerWriter(sink: sink)
        let storage = try writer.declareStorage(byteCount: content.count)
        try writer.append(content)
        try writer.finish([
            "w": .tensor(try StateTensor(storage: storage, layout: TensorLayout(.bf16, shape: [800_000])))
        ])
        #expect(try chunks(sink.contents).allSatisfy { $0.encoding.planes != nil })
        #expect(sink.contents.count < content.count * 3 / 4)
    }

    @Test("equal chunks are stored once, and stay storages of their own")
    func equalChunks() throws {
        var generator = SeededGenerator(seed: 7)
        let content = bf16(weights(1_500_000, &generator))
        let noise = generator.bytes(1000)
        let tree: StateTree = [
            "a": try tensor(content, .bf16), "noise": try tensor(noise, .u8), "b": try tensor(content, .bf16),
            // The last chunk of a large storage has to be aligned, its equal in a small one was not.
            "c": try tensor([UInt8](repeating: 0, count: 1 << 20) + noise, .u8),
        ]
        let container = try containerBytes(tree)
        let rows = try chunks(container)
        #expect(rows.count == 9)
        #expect(rows[0...2].map(\.extent) == rows[4...6].map(\.extent))
        let checkpoint = try Checkpoint.open(MemorySource(container))
        #expect(try checkpoint.verify().problems == [])
        let loaded = try checkpoint.readAll()
        #expect(loaded["a"]?.tensor?.storage !== loaded["b"]?.tensor?.storage)
        let isSame = try loaded["b"]?.tensor?.elementBytes == content
        #expect(isSame)
        // Uncompressed, storages share all of their chunks or none, so that each can be mapped.
        let plain = try containerBytes(tree, options: SaveOptions(compression: .none))
        let plainRows = try chunks(plain)
        #expect(plainRows[0...2].map(\.extent) == plainRows[4...6].map(\.extent))
        #expect(plain.count < 4_300_000)
        #expect(try Checkpoint.open(MemorySource(plain)).verify().problems == [])
    }

    @Test("hundreds of chunks, mixed and some of them equal, give the same file with one thread and with several")
    func deterministic() throws {
        var generator = SeededGenerator(seed: 8)
        let values = weights(600_000, &generator)
        let half = Array(values.prefix(200_000))
        var entries: [(String, StateTree)] = [
            ("f32", try tensor(bytes(values), .f32)), ("again", try tensor(bytes(values), .f32)),
            ("bf16", try tensor(bf16(values), .bf16)), ("i64", try tensor(bytes(half.map { Int64($0 * 1e6) }), .i64)),
            ("f64", try tensor(bytes(half.map { Double($0) * 1.1 }), .f64)),
            ("zeros", try tensor([UInt8](repeating: 0, count: 40 << 20), .f32)),
            ("noise", try tensor(generator.bytes(3 << 19), .u8)),
        ]
        for number in 0..<170 {
            let part = Array(values[number % 60 * 9000..<(number % 60 + 1) * 9000])
            let tree = number % 2 == 0 ? try tensor(bf16(part), .bf16) : try tensor(bytes(part), .f32)
            entries.append(("part\(number)", tree))
        }
        let tree = StateTree.dictionary(entries)
        let one = try containerBytes(tree, options: SaveOptions(threads: 1))
        #expect(try chunks(one).count > 200)
        for threads in [2, 3, 8] {
            let isSame = try containerBytes(tree, options: SaveOptions(threads: threads)) == one
            #expect(isSame, "\(threads) threads")
        }
        #expect(try Checkpoint.open(MemorySource(one)).verify().problems == [])
    }
}
