import NNStore
import Synchronization
import Testing

@testable import NNInterop

@Suite("Elements that differ are counted and measured")
struct ElementComparisonTests {
    private let folder: TemporaryFolder
    init() throws { folder = try TemporaryFolder() }

    /// The differences of one tensor between two containers; `nil` if it is equal.
    private func differences(
        _ first: StateTensor, _ second: StateTensor, options: ComparisonOptions = ComparisonOptions()
    ) throws -> ElementDifferences? {
        // The one that is alike keeps the content ids apart, so that the tensors are looked at.
        let replacing = SaveOptions(compression: .none, existing: .replace)
        try Checkpoint.save(["t": .tensor(first)], metadata: ["n": 1], to: folder.path("a"), options: replacing)
        try Checkpoint.save(["t": .tensor(second)], metadata: ["n": 2], to: folder.path("b"), options: replacing)
        return try compared(options)
    }

    private func compared(_ options: ComparisonOptions = ComparisonOptions()) throws -> ElementDifferences? {
        let comparison = try CheckpointComparison(
            CheckpointFiles.open(folder.path("a")), CheckpointFiles.open(folder.path("b")), options: options)
        guard let entry = comparison.entries.first else { return nil }
        guard case .values(let values) = entry.aspects.first else { throw Unexpected() }
        return values
    }

    private struct Unexpected: Error {}

    @Test("counts and the largest differences of floats are those of the elements")
    func floats() throws {
        var values = (0..<600_000).map { Float($0) }
        let first = try StateTensor(values, shape: [600, 1000])
        // At the borders of chunks of 262,144 elements, and in the last one.
        for place in [0, 262_143, 262_144, 599_999] { values[place] += 2 }
        let found = try #require(try differences(first, StateTensor(values, shape: [600, 1000])))
        #expect(found.count == 600_000 && found.differingCount == 4)
        #expect(found.largestDifference == 2 && found.exactLargestDifference == nil)
        #expect(found.largestRelativeDifference == 1, "0 became 2")
        #expect(found.becameNaNCount == 0 && found.wasNaNCount == 0)
        #expect(!found.countsBlocks)
    }

    @Test("equal chunks are not read: damage in them is not met, and of a container little is asked for")
    func equalChunks() throws {
        var values = (0..<600_000).map { Float($0) }
        let first = try StateTensor(values, shape: [600_000])
        values[300_000] += 1
        let second = try StateTensor(values, shape: [600_000])
        #expect(try differences(first, second)?.differingCount == 1)
        // The first chunk begins at 4096 and is as it is.
        for name in ["a", "b"] {
            var bytes = try folder.bytes(name)
            bytes[5000] ^= 1
            _ = try folder.file(name, bytes)
        }
        #expect(try compared()?.differingCount == 1)
        var bytes = try folder.bytes("a")
        bytes[4096 + (1 << 20) + 1000] ^= 1
        _ = try folder.file("a", bytes)
        #expect(throws: StoreError.self) { try compared() }

        // Against safetensors: of the container only the chunk that differs is decoded.
        try Checkpoint.save(["t": .tensor(first)], to: folder.path("c"))
        try CheckpointFiles.open(folder.path("c")).saveAsSafetensors(
            to: folder.path("a"), options: ExportOptions(existing: .replace))
        #expect(try compared()?.differingCount == 1)
        let source = CountingSource(try folder.bytes("c"))
        let comparison = try CheckpointComparison(CheckpointFiles.open(source), CheckpointFiles.open(folder.path("a")))
        #expect(comparison.isEqual && source.count < 1 << 19)
    }

    @Test("NaN and infinities are counted and add no difference")
    func nonFinite() throws {
        let other = Float(nan: 1, signaling: false)
        let found = try #require(
            try differences(
                StateTensor([1, .nan, other, .infinity, 2, .infinity, 3, 0] as [Float], shape: [8]),
                StateTensor([.nan, .nan, .nan, -.infinity, .infinity, 5, 3, -0.0] as [Float], shape: [8])))
        #expect(found.differingCount == 6)
        #expect(found.becameNaNCount == 1 && found.wasNaNCount == 0)
        #expect(found.becameInfiniteCount == 1 && found.wasInfiniteCount == 1 && found.infiniteSignCount == 1)
        #expect(found.largestDifference == 0 && found.largestRelativeDifference == 0, "0 and -0")
        let huge = try #require(
            try differences(
                StateTensor([1.7e308] as [Double], shape: [1]), StateTensor([-1.7e308] as [Double], shape: [1])))
        #expect(huge.largestRelativeDifference == 2)
    }

    @Test("64-bit integers are exact")
    func integers() throws {
        let large = 1 << 60
        let found = try #require(
            try differences(StateTensor([large, 5], shape: [2]), StateTensor([large + 1, 5], shape: [2])))
        #expect(found.differingCount == 1 && found.exactLargestDifference == 1)
        let signs = try #require(
            try differences(StateTensor([Int.min], shape: [1]), StateTensor([Int.max], shape: [1])))
        #expect(signs.exactLargestDifference == UInt64.max)
        let unsigned = try #require(
            try differences(StateTensor([UInt64.max], shape: [1]), StateTensor([UInt64.max - 3], shape: [1])))
        #expect(unsigned.exactLargestDifference == 3)
        let small = try #require(
            try differences(StateTensor([Int8(-128)], shape: [1]), StateTensor([Int8(127)], shape: [1])))
        #expect(small.exactLargestDifference == 255 && small.largestRelativeDifference == 255.0 / 128)
    }

    @Test("every dtype's differences are those of its elements one by one", arguments: DType.all)
    func everyDType(dtype: DType) throws {
        let byteCount = 96 * dtype.bytesPerBlock
        let shape = [96 * dtype.elementsPerBlock]
        var random = SeededGenerator(seed: 7)
        let first = (0..<byteCount).map { _ in UInt8.random(in: 0...255, using: &random) }
        let second = first.map { Bool.random(using: &random) ? $0 : UInt8.random(in: 0...255, using: &random) }
        let found = try differences(
            StateTensor(bytes: first, dtype: dtype, shape: shape),
            StateTensor(bytes: second, dtype: dtype, shape: shape))
        if dtype == .c64 || dtype == .c128 {
            let size = dtype.bytesPerBlock
            let count = (0..<96).count { first[$0 * size..<($0 + 1) * size] != second[$0 * size..<($0 + 1) * size] }
            #expect(found?.differingCount == count && found?.largestDifference == nil)
            return
        }
        let values = try #require(ElementValues(dtype))
        var numbers: ([Double], [Double]) = ([], [])
        values.forEach(in: first) { numbers.0.append($0) }
        values.forEach(in: second) { numbers.1.append($0) }
        let pairs = zip(numbers.0, numbers.1)
        let largest = pairs.filter { $0.isFinite && $1.isFinite }.map { ($0 - $1).magnitude }.max()
        let known = try #require(found)
        // 64-bit integers are rounded here, and exact there.
        let tolerance = (largest ?? 0) * 1e-12
        #expect(((known.largestDifference ?? 0) - (largest ?? 0)).magnitude <= tolerance)
        #expect(known.becameNaNCount == pairs.count { !$0.isNaN && $1.isNaN })
        #expect(known.wasInfiniteCount == pairs.count { $0.isInfinite && !$1.isInfinite })
        #expect(known.infiniteSignCount == pairs.count { $0.isInfinite && $1.isInfinite && $0 != $1 })
        let differing = pairs.count { $0.bitPattern != $1.bitPattern }
        // Several NaN of a small float are one here.
        #expect(known.differingCount >= differing && known.count == shape[0])
    }

    @Test("of opaque blocks those that differ are counted, also where they lie across two chunks")
    func opaque() throws {
        let dtype = try DType(name: "Q4_K", elementsPerBlock: 256, bytesPerBlock: 144)
        let count = 15_000
        var bytes = (0..<count * 144).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        let first = try StateTensor(bytes: bytes, dtype: dtype, shape: [count * 256])
        // The block across the border of the first chunk, changed in its second half only; another one; the last byte.
        let torn = (1 << 20) / 144
        #expect((1 << 20) % 144 != 0)
        bytes[(torn + 1) * 144 - 1] ^= 1
        bytes[0] ^= 1
        bytes[1] ^= 1
        bytes[bytes.count - 1] ^= 1
        let found = try #require(try differences(first, StateTensor(bytes: bytes, dtype: dtype, shape: [count * 256])))
        #expect(found.countsBlocks && found.count == count && found.differingCount == 3)
        #expect(found.largestDifference == nil)
    }

    // MARK: Layouts

    @Test("views with other strides and offsets are equal if their elements are, and read in bounded pieces")
    func strides() throws {
        let (rows, columns) = (700, 900)
        var values = (0..<rows * columns).map { Float($0) }
        var transposed = [Float](repeating: 0, count: values.count + 5)
        for row in 0..<rows {
            for column in 0..<columns { transposed[5 + column * rows + row] = values[row * columns + column] }
        }
        let layout = try TensorLayout(.f32, shape: [rows, columns], strides: [1, rows], offset: 5)
        let view = try StateTensor(storage: Storage(copying: transposed), layout: layout)
        #expect(try differences(StateTensor(values, shape: [rows, columns]), view) == nil)
        values[12_345] += 0.5
        let found = try #require(try differences(StateTensor(values, shape: [rows, columns]), view))
        #expect(found.differingCount == 1 && found.largestDifference == 0.5)
        // Equal layouts without holes, in another order than row-major.
        transposed[5] = -1
        let other = try StateTensor(storage: Storage(copying: transposed), layout: layout)
        #expect(try differences(view, other)?.differingCount == 1)
    }

    @Test("a transposed matrix of many blocks is compared through a few of them", arguments: [2, 3, 64])
    func fewBlocks(blockCount: Int) throws {
        let (rows, columns) = (1500, 2000)
        let values = (0..<rows * columns).map { UInt16(truncatingIfNeeded: $0 &* 40_503) }
        var transposed = [UInt16](repeating: 0, count: values.count)
        for row in 0..<rows {
            for column in 0..<columns { transposed[column * rows + row] = values[row * columns + column] }
        }
        // The second one's first, last and another element.
        for place in [0, 1_234_567, values.count - 1] { transposed[place] ^= 1 }
        let matrices = [
            try StateTensor(values, shape: [rows, columns]),
            try StateTensor(
                storage: Storage(copying: transposed),
                layout: TensorLayout(.u16, shape: [rows, columns], strides: [1, rows])),
        ]
        let file = try SafetensorsFile.open(folder.file("x", safetensors("{}")))
        let digests = try StorageDigests(file, [:])
        let sides = matrices.map { TensorComparison.Side(storage: $0.storage, layout: $0.layout, digests: digests) }
        for (left, right) in [(sides[0], sides[1]), (sides[1], sides[0])] {
            var comparison = try StridedComparison(
                left, right, effort: ComparisonEffort(file: "x", limit: .max, progress: nil), cancellation: nil,
                blockCount: blockCount)
            let found = try comparison.run()
            #expect(found.differingCount == 3 && found.exactLargestDifference == 1)
        }
    }

    @Test("any two layouts give what comparing their elements one after another gives")
    func anyLayouts() throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededGenerator(seed: seed)
        for _ in 0..<100 {
            let shape = (0..<Int.random(in: 1...4, using: &random)).map { _ in Int.random(in: 1...6, using: &random) }
            func tensor() throws -> StateTensor {
                // A random order of the dimensions, with gaps, overlaps and repetitions.
                var strides = [Int](repeating: 0, count: shape.count)
                var next = Int.random(in: 1...2, using: &random)
                for dimension in shape.indices.shuffled(using: &random) {
                    strides[dimension] = Int.random(in: 0..<8, using: &random) == 0 ? 0 : next
                    next = max(1, next * shape[dimension] + Int.random(in: -1...1, using: &random))
                }
                let layout = try TensorLayout(
                    .u8, shape: shape, strides: strides, offset: Int.random(in: 0...3, using: &random))
                let bytes = (0..<layout.byteRange.upperBound).map { _ in UInt8.random(in: 0...1, using: &random) }
                return try StateTensor(storage: Storage(bytes), layout: layout)
            }
            let (first, second) = (try tensor(), try tensor())
            let expected = zip(try elements(first), try elements(second)).count { $0 != $1 }
            let found = try differences(first, second)
            #expect((found?.differingCount ?? 0) == expected, "seed \(seed): \(first.layout) \(second.layout)")
            #expect(found == nil || found?.count == first.layout.elementCount)
        }
    }

    @Test("expanded tensors are compared once for all that they stand for; what can't be is limited")
    func expanded() throws {
        func expanded(_ value: Float, strides: [Int]) throws -> StateTensor {
            try StateTensor(
                storage: Storage(copying: [value, value, value]),
                layout: TensorLayout(.f32, shape: [1 << 40, 2], strides: strides))
        }
        let found = try #require(try differences(expanded(1, strides: [0, 1]), expanded(1.5, strides: [0, 1])))
        #expect(found.differingCount == 1 << 41 && found.count == 1 << 41 && found.largestDifference == 0.5)
        let limit = ComparisonOptions(maximumByteCount: 1 << 20)
        let apart = (try expanded(1, strides: [0, 1]), try expanded(1, strides: [0, 2]))
        #expect(try differences(apart.0, apart.1, options: limit) == nil, "two elements")
        func overlapping(_ value: Float) throws -> StateTensor {
            try StateTensor(
                storage: Storage(copying: [Float](repeating: value, count: 3000)),
                layout: TensorLayout(.f32, shape: [1000, 1000, 1000], strides: [1, 1, 1]))
        }
        #expect {
            _ = try differences(overlapping(1), overlapping(2), options: limit)
        } throws: { error in
            guard case StoreError.limitExceeded(_, _, let number, let found) = error else { return false }
            return number == 1 << 20 && found.contains("\"t\"")
        }
    }

    @Test("a comparison can be asked to stop, and tells how far it is")
    func progress() throws {
        let values = (try StateTensor([1, 2] as [Float], shape: [2]), try StateTensor([1, 3] as [Float], shape: [2]))
        let cancellation = Cancellation()
        cancellation.cancel()
        #expect(throws: StoreError.cancelled) {
            try differences(values.0, values.1, options: ComparisonOptions(cancellation: cancellation))
        }
        let calls = Calls()
        _ = try differences(values.0, values.1, options: ComparisonOptions(progress: { calls.add($0, $1) }))
        #expect(calls.last?.done == 8 && calls.last?.total == 8)
    }
}

/// Remembers what a progress function was told last.
private final class Calls: Sendable {
    private let state = Mutex<(done: Int, total: Int?)?>(nil)

    func add(_ done: Int, _ total: Int?) { state.withLock { $0 = (done, total) } }

    var last: (done: Int, total: Int?)? { state.withLock { $0 } }
}
