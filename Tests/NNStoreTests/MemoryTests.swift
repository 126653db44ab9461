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
