import Foundation
import Synchronization
import Testing

@testable import NNStore

@Suite("Storages and layouts")
struct StorageTests {
    @Test("ids are never given out again, whatever becomes of the memory")
    func identity() throws {
        var ids: Set<UInt64> = []
        for _ in 0..<1000 { ids.insert(try Storage([1, 2, 3]).id) }
        #expect(ids.count == 1000)
        let one = try Storage([1])
        let other = try Storage([1])
        #expect(one != other && one == one)
    }

    @Test("writing counts the version, reading does not")
    func versions() throws {
        let storage = try Storage([1, 2, 3])
        #expect(storage.version == 0)
        #expect(try storage.withBytes { $0.byteCount } == 3)
        try storage.withMutableBytes { $0.storeBytes(of: 9, toByteOffset: 1, as: UInt8.self) }
        #expect(storage.version == 1)
        #expect(try storage.allBytes == [1, 9, 3])
    }

    @Test("a storage that is elsewhere is read once, however many threads ask first")
    func loadedOnce() throws {
        final class Slow: StorageBacking {
            let byteCount = 100
            let reads = Mutex(0)
            func read(_ range: Range<Int>, into destination: inout MutableRawSpan) throws {
                reads.withLock { $0 += 1 }
                usleep(20_000)
                for index in range {
                    destination.storeBytes(of: UInt8(index), toByteOffset: index - range.lowerBound, as: UInt8.self)
                }
            }
        }
        let slow = Slow()
        let storage = Storage(backing: slow)
        #expect(!storage.isResident)
        let failures = try countFailures(threads: 6, rounds: 3) { try storage.allBytes == (0..<100).map { UInt8($0) } }
        #expect(failures == 0)
        #expect(storage.isResident)
        #expect(slow.reads.withLock { $0 } == 1)
    }

    @Test("a storage that can't be read stays as it was, and can be tried again")
    func failedLoad() throws {
        final class Flaky: StorageBacking {
            struct Failure: Error {}
            let byteCount = 4
            let isBroken = Mutex(true)
            func read(_ range: Range<Int>, into destination: inout MutableRawSpan) throws {
                if isBroken.withLock({ $0 }) { throw Failure() }
            }
        }
        let flaky = Flaky()
        let storage = Storage(backing: flaky)
        #expect(throws: Flaky.Failure.self) { try storage.load() }
        #expect(throws: Flaky.Failure.self) { try storage.withMutableBytes { _ in } }
        #expect(storage.version == 0)
        flaky.isBroken.withLock { $0 = false }
        #expect(try storage.allBytes == [0, 0, 0, 0])
    }

    @Test("elements are read as Swift's types, from any layout")
    func elements() throws {
        let tensor = try StateTensor([1, 2, 3, 4, 5, 6] as [Float], shape: [2, 3])
        #expect(try tensor.elements(as: Float.self) == [1, 2, 3, 4, 5, 6])
        let transposed = try StateTensor(
            storage: tensor.storage, layout: TensorLayout(.f32, shape: [3, 2], strides: [1, 3]))
        #expect(try transposed.elements(as: Float.self) == [1, 4, 2, 5, 3, 6])
        #expect(try StateTensor([Int64(-5)], shape: []).elements(as: Int64.self) == [-5])
        #expect(throws: StoreError.self) { try tensor.elements(as: Double.self) }
        #expect(throws: StoreError.self) { try tensor.elements(as: UInt16.self) }
    }

    @Test("layouts that make no sense are refused, never trapped on")
    func layouts() throws {
        let huge = Int.max
        let wrong: [(DType, [Int], [Int]?, Int)] = [
            (.f32, [-1], nil, 0), (.f32, [2], [-1], 0), (.f32, [2], nil, -1), (.f32, [2, 2], [1], 0),
            (.f32, [huge, huge], nil, 0),
            (.f32, [huge], nil, 0), (.f32, [2], [huge], huge), (.u8, [2, huge], [huge, 1], 0),
            (.f32, [0, huge, huge], nil, 0),
            (.f32, [1], nil, huge), (.f4, [3], nil, 0), (.f4, [4], nil, 1), (.f4, [2, 2], [3, 1], 0),
            (.f4, [2, 2], [2, 2], 0),
            (.f6E2M3, [2, 2], [4, 1], 0), (.f32, [Int](repeating: 1, count: 65), nil, 0), (.u8, [huge], nil, 1),
            (.u8, [1], nil, huge),
        ]
        for (dtype, shape, strides, offset) in wrong {
            #expect(throws: StoreError.self, "\(dtype) \(shape.prefix(3)) \(strides ?? []) \(offset)") {
                try TensorLayout(dtype, shape: shape, strides: strides, offset: offset)
            }
        }
        let layout = try TensorLayout(.f32, shape: [1, 3, 1], strides: [99, 1, 77])
        #expect(layout.strides == [3, 1, 1], "strides that say nothing are the contiguous ones")
        #expect(layout.isContiguous)
        #expect(try TensorLayout(.f32, shape: [0, 7], strides: [5, 5], offset: 9).offset == 0)
        #expect(try TensorLayout(.u8, shape: [1 << 60], nil).byteCount == 1 << 60)
        #expect(throws: StoreError.self) { try TensorLayout(.u8, shape: [1 << 60 + 1]) }
        #expect(throws: StoreError.self) { try Storage(byteCount: -1) }
        #expect(throws: StoreError.self) { try Storage(byteCount: huge) }
    }

    @Test("dtypes have the figures of the specification, and unknown ones are opaque")
    func dtypes() throws {
        #expect(DType.all.count == 23)
        #expect(
            DType.all.map(\.bitWidth) == [
                64, 32, 16, 16, 8, 8, 8, 8, 8, 6, 6, 4, 8, 16, 32, 64, 8, 16, 32, 64, 8, 64, 128,
            ])
        #expect(DType(named: "BF16") == .bf16)
        #expect(DType(named: "Q4_K") == nil)
        let opaque = try DType(name: "Q4_K", elementsPerBlock: 256, bytesPerBlock: 144)
        #expect(opaque.bitWidth == nil && !opaque.isKnown)
        #expect(try DType(name: "F32", elementsPerBlock: 1, bytesPerBlock: 4) == .f32)
        for (name, elements, bytes) in [
            ("F32", 1, 8), ("", 1, 1), ("a b", 1, 1), ("é", 1, 1), ("X", 0, 1), ("X", 1, 0), ("X", 1 << 20, 1),
        ] {
            #expect(throws: StoreError.self) { try DType(name: name, elementsPerBlock: elements, bytesPerBlock: bytes) }
        }
    }
}

extension TensorLayout {
    fileprivate init(_ dtype: DType, shape: [Int], _ strides: [Int]?) throws(StoreError) {
        try self.init(dtype, shape: shape, strides: strides)
    }
}
