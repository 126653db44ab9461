import Testing

#if canImport(Glibc)
    import Glibc
#endif

@testable import NNStore

/// Memories that share regions.
@Suite("Memory")
struct MemoryTests {
    @Test("many memories are zero, aligned and apart, whatever their sizes are")
    func manySizes() throws {
        let seed = testSeed
        print("seed \(seed) (set NNSTORE_TEST_SEED to repeat)")
        var generator = SeededGenerator(seed: seed)
        let sizes = (0..<100).map { _ in
            switch Int.random(in: 0..<12, using: &generator) {
            case 0: 0
            case 10: (32 << 20) + Int.random(in: -1...1, using: &generator)
            case 11: Int.random(in: 16_000...70_000, using: &generator)
            case 1: Int.random(in: 1...40_000_000, using: &generator)
            case 2...4: Int.random(in: 60_000...3_000_000, using: &generator)
            default: Int.random(in: 1...4096, using: &generator)
            }
        }
        var memories: [Memory?] = try Memory.allocate(sizes)
        #expect(memories.map { $0!.byteCount } == sizes)
        // Every other one is freed; the rest must keep what was written to it.
        for (number, memory) in memories.enumerated() {
            let (isZero, isAligned) = memory!.withBytes { ($0.firstNonZero == nil, $0.isAligned(to: 64)) }
            #expect(isZero && isAligned, "\(sizes[number]) bytes, seed \(seed)")
            memory!.withMutableBytes(in: 0..<sizes[number]) { $0.fill(UInt8(truncatingIfNeeded: number | 1)) }
        }
        for number in stride(from: 0, to: sizes.count, by: 2) { memories[number] = nil }
        for (number, memory) in memories.enumerated() {
            guard let memory, sizes[number] > 0 else { continue }
            let byte = memory.withBytes { $0.constantByte }
            #expect(byte == UInt8(truncatingIfNeeded: number | 1), "\(sizes[number]) bytes, seed \(seed)")
        }
        #expect(try Memory.allocate([]).isEmpty)
        // Sizes at the border between shared and own regions, with empty ones before them.
        for sizes in [[0, 32 << 20, 31 << 20], [0, 32 << 20, 100_000], [5, (32 << 20) + 8, 0, 32 << 20, 7], [0]] {
            #expect(try Memory.allocate(sizes).map(\.byteCount) == sizes)
        }
    }

    #if canImport(Glibc)
        @Test(
            "one of many memories, kept alone, keeps hardly more than its own pages", arguments: [300 << 10, 20 << 10])
        func keptAlone(size: Int) throws {
            // All in one region.
            var memories = try Memory.allocate([Int](repeating: size, count: (30 << 20) / size))
            for memory in memories { memory.withMutableBytes(in: 0..<memory.byteCount) { $0.fill(1) } }
            let addresses = memories.map { $0.withBytes { $0.withUnsafeBytes { UInt(bitPattern: $0.baseAddress) } } }
            let kept = memories[memories.count / 2]
            let before = try residentPages(addresses)
            memories = []
            let after = try residentPages(addresses)
            #expect(before * 4096 >= 29 << 20)
            #expect(after * 4 <= before, "\(before) pages before, \(after) after")
            #expect(kept.withBytes { $0.constantByte } == 1)
        }

        /// How many pages between the lowest and the highest address, all of them mapped, are in memory.
        private func residentPages(_ addresses: [UInt]) throws -> Int {
            let first = addresses.min()! & ~4095
            let count = Int(addresses.max()! - first) / 4096
            var pages = [UInt8](repeating: 0, count: count)
            let status = mincore(UnsafeMutableRawPointer(bitPattern: first), count * 4096, &pages)
            try #require(status == 0, "mincore: error \(errno)")
            return pages.count { $0 & 1 == 1 }
        }
    #endif
}

@Suite("A memory cache")
struct MemoryCacheTests {
    @Test("hands a freed block out again, and keeps no more than it may")
    func reuse() throws {
        let cache = MemoryCache(limit: 300_000)
        do {
            let memory = try cache.allocate(100_000)
            memory.withMutableBytes(in: 0..<100_000) { $0.storeBytes(of: 77, toByteOffset: 99_999, as: UInt8.self) }
            #expect(cache.byteCount == 0)
        }
        #expect(cache.byteCount == 100_000)
        do {
            let again = try cache.allocate(100_000)
            #expect(cache.byteCount == 0)
            #expect(again.withBytes { unsafe $0.unsafeLoad(fromByteOffset: 99_999, as: UInt8.self) } == 77)
            let other = try cache.allocate(100_001)
            #expect(other.byteCount == 100_001)
        }
        #expect(cache.byteCount == 200_001)
        // The oldest ones make room, and what is larger than the limit is not kept.
        _ = try cache.allocate(250_000)
        #expect(cache.byteCount == 250_000)
        _ = try cache.allocate(400_000)
        #expect(cache.byteCount == 250_000)
        _ = try cache.allocate(1000)
        #expect(cache.byteCount == 250_000)
        cache.empty()
        #expect(cache.byteCount == 0)
    }

    @Test("can be used by several threads")
    func threads() throws {
        let cache = MemoryCache(limit: 1 << 20)
        try Workers.forEach(2000, threads: 4, context: {}) { index, _ in
            let memory = try cache.allocate(65_536 + index % 7 * 1000)
            memory.withMutableBytes(in: 0..<8) { $0.storeBytes(of: index, as: Int.self) }
            #expect(memory.withBytes { unsafe $0.unsafeLoad(as: Int.self) } == index)
        }
        #expect(cache.byteCount <= 1 << 20)
    }
}
