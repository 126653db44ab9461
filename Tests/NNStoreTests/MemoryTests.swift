import Testing

@testable import NNStore

/// Memories that share regions.
@Suite("Memory")
struct MemoryTests {
    @Test("many memories are zero, aligned and apart, whatever their sizes are")
    func manySizes() throws {
        let seed = testSeed
        print("seed \(seed) (set NNSTORE_TEST_SEED to repeat)")
        var generator = SeededGenerator(seed: seed)
        let sizes = (0..<300).map { _ in
            switch Int.random(in: 0..<10, using: &generator) {
            case 0: 0
            case 1: Int.random(in: 1...40_000_000, using: &generator)
            case 2...4: Int.random(in: 60_000...3_000_000, using: &generator)
            default: Int.random(in: 1...4096, using: &generator)
            }
        }
        var memories: [Memory?] = try Memory.allocate(sizes)
        #expect(memories.map { $0!.byteCount } == sizes)
        // Every other one is freed; the rest must keep what was written to it.
        for (number, memory) in memories.enumerated() where !sizes.isEmpty {
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
    }

    @Test("one of many memories, kept alone, keeps hardly more than its own pages", .enabled(if: residentBytes != nil))
    func keptAlone() throws {
        // 30 MiB in all.
        var memories = try Memory.allocate([Int](repeating: 300 << 10, count: 100))
        for memory in memories { memory.withMutableBytes(in: 0..<memory.byteCount) { $0.fill(1) } }
        let full = try #require(residentBytes)
        let kept = memories[50]
        memories = []
        let rest = try #require(residentBytes)
        #expect(full - rest > 20 << 20, "\(full - rest) bytes went back")
        #expect(kept.withBytes { $0.constantByte } == 1)
    }
}
