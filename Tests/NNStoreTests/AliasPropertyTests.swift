import NNStore
import Testing

/// Alias identity over random sets of views: 10,000 of them, many to a file.
@Suite("Alias identity")
struct AliasPropertyTests {
    /// A storage and views over it, as a test invents them.
    private struct ViewSet {
        var bytes: [UInt8]
        var layouts: [TensorLayout]

        /// The bytes that a view shows, element after element: computed the slow way.
        func elements(_ layout: TensorLayout) -> [UInt8] {
            elementRanges(layout).flatMap { bytes[$0] }
        }

        func elementRanges(_ layout: TensorLayout) -> [Range<Int>] {
            if layout.isEmpty { return [] }
            let (block, size) = (layout.dtype.elementsPerBlock, layout.dtype.bytesPerBlock)
            var positions = [layout.offset]
            for (extent, stride) in zip(layout.shape, layout.strides) {
                positions = positions.flatMap { start in (0..<extent).map { start + $0 * stride } }
            }
            return positions.filter { $0 % block == 0 }.map { $0 / block * size..<$0 / block * size + size }
        }

        var visible: Set<Int> {
            var visible: Set<Int> = []
            for layout in layouts { for range in elementRanges(layout) { visible.formUnion(range) } }
            return visible
        }
    }

    private static let dtypes: [DType] = [.f64, .f32, .bf16, .u8, .i16, .c64, .f4, .f6E2M3, .bool, .c128]

    private func randomLayout(
        _ dtype: DType, in byteCount: Int, _ generator: inout SeededGenerator
    ) -> TensorLayout? {
        let block = dtype.elementsPerBlock
        let elements = byteCount / dtype.bytesPerBlock * block
        let rank = Int.random(in: 0...4, using: &generator)
        var shape = (0..<rank).map { _ in
            generator.chance(20) ? 0 : generator.chance(4) ? 1 : Int.random(in: 1...5, using: &generator)
        }
        if block > 1, rank > 0 { shape[rank - 1] = block * Int.random(in: 0...3, using: &generator) }
        var strides = shape.map { _ in
            generator.chance(5) ? 0 : Int.random(in: 0...max(1, elements / 6), using: &generator)
        }
        switch Int.random(in: 0..<4, using: &generator) {
        case 0: strides = (try? TensorLayout.contiguousStrides(of: shape)) ?? strides
        case 1:
            // A permutation of contiguous dimensions.
            let order = Array(shape.indices).shuffled(using: &generator)
            let contiguous = (try? TensorLayout.contiguousStrides(of: order.map { shape[$0] })) ?? strides
            for (place, dimension) in order.enumerated() { strides[dimension] = contiguous[place] }
        default: break
        }
        if block > 1 {
            strides = strides.map { $0 / block * block }
            if rank > 0 { strides[rank - 1] = 1 }
        }
        let offset = Int.random(in: 0...max(0, elements / 2), using: &generator) / block * block
        guard let layout = try? TensorLayout(dtype, shape: shape, strides: strides, offset: offset),
            layout.byteRange.upperBound <= byteCount
        else { return nil }
        return layout
    }

    private func randomSet(_ generator: inout SeededGenerator) -> ViewSet {
        let byteCount = Int.random(in: 1...400, using: &generator)
        var set = ViewSet(bytes: generator.bytes(byteCount), layouts: [])
        let first = AliasPropertyTests.dtypes.randomElement(using: &generator)!
        let count = Int.random(in: 1...5, using: &generator)
        while set.layouts.count < count {
            let dtype = generator.chance(3) ? AliasPropertyTests.dtypes.randomElement(using: &generator)! : first
            if generator.chance(4), let tied = set.layouts.randomElement(using: &generator) {
                set.layouts.append(tied)
            } else if let layout = randomLayout(dtype, in: byteCount, &generator) {
                set.layouts.append(layout)
            }
        }
        return set
    }

    @Test("10,000 random sets of views come back as views of one storage, with nothing else in the file")
    func randomViews() throws {
        let seed = testSeed
        print("seed \(seed) (set NNSTORE_TEST_SEED to repeat)")
        var generator = SeededGenerator(seed: seed)
        for round in 0..<200 {
            let sets = (0..<50).map { _ in randomSet(&generator) }
            var entries: [(String, StateTree)] = []
            for (number, set) in sets.enumerated() {
                let storage = try Storage(set.bytes)
                for (view, layout) in set.layouts.enumerated() {
                    entries.append(("\(number).\(view)", .tensor(try StateTensor(storage: storage, layout: layout))))
                }
            }
            entries.shuffle(using: &generator)
            let kinds = allKinds.filter { $0.compression != .smallest }
            let (compression, version) = kinds[round % kinds.count]
            let options = SaveOptions(compression: compression, formatVersion: version, threads: 1 + round % 3)
            let bytes = try containerBytes(.dictionary(entries), options: options)
            let checkpoint = try Checkpoint.open(MemorySource(bytes))
            let loaded = round % 2 == 0 ? try checkpoint.readAll() : try checkpoint.state()
            try #require(loaded.children.map(\.key) == entries.map { .text($0.0) })
            for (number, set) in sets.enumerated() {
                try check(set, number, loaded, checkpoint, seed: seed)
            }
            // What was loaded is a whole of its own: saving it gives the same file.
            let isSame = try containerBytes(loaded, options: options) == bytes
            try #require(isSame, "seed \(seed), round \(round)")
            try #require(try checkpoint.verify().problems == [], "seed \(seed), round \(round)")
        }
    }

    private func check(
        _ set: ViewSet, _ number: Int, _ loaded: StateTree, _ checkpoint: Checkpoint, seed: UInt64
    ) throws {
        let comment: Comment = "seed \(seed), set \(number): \(set.layouts)"
        let tensors = try set.layouts.indices.map { view in try #require(loaded["\(number).\(view)"]?.tensor) }
        let storage = tensors[0].storage
        for (layout, tensor) in zip(set.layouts, tensors) {
            try #require(tensor.storage === storage, comment)
            try #require(tensor.layout.shape == layout.shape, comment)
            try #require(tensor.layout.strides == layout.strides, comment)
            try #require(try tensor.elementBytes == set.elements(layout), comment)
        }
        // Only what can be seen is there, from the first byte on that rounding allows; the rest is zero.
        let visible = set.visible
        let unit = Set(set.layouts.filter { !$0.isEmpty }.map(\.dtype.bytesPerBlock)).reduce(1) { result, size in
            (1...).first { $0 % result == 0 && $0 % size == 0 }!
        }
        let start = (visible.min() ?? 0) / unit * unit
        let expected = visible.isEmpty ? [] : (start...visible.max()!).map { visible.contains($0) ? set.bytes[$0] : 0 }
        try #require(try storage.allBytes == expected, comment)
        // Writing through one is seen through the others, and by nobody else.
        if let first = tensors.first(where: { !$0.layout.isEmpty }) {
            let position = first.layout.byteRange.lowerBound
            let before = try storage.allBytes[position]
            try storage.withMutableBytes { $0.storeBytes(of: ~before, toByteOffset: position, as: UInt8.self) }
            for (layout, tensor) in zip(set.layouts, tensors) where !layout.isEmpty {
                let sees = set.elementRanges(layout).contains { $0.contains(position + start) }
                try #require((try tensor.elementBytes != set.elements(layout)) == sees, comment)
            }
            try storage.withMutableBytes { $0.storeBytes(of: before, toByteOffset: position, as: UInt8.self) }
        }
        // A tensor read alone has the same elements.
        let view = set.layouts.indices.randomElement()!
        let alone = try checkpoint.read(checkpoint.tensor(at: StatePath([.text("\(number).\(view)")])))
        try #require(try alone.elementBytes == set.elements(set.layouts[view]), comment)
    }
}
