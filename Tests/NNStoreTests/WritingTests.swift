import Foundation
import NNStore
import SystemPackage
import Testing

@Suite("Writing")
struct WritingTests {
    /// A tree with several chunks, ties, views with holes, compressible and random data.
    static func mixedTree(seed: UInt64 = 1) throws -> StateTree {
        var generator = SeededGenerator(seed: seed)
        let random = try Storage(generator.bytes(2_500_000))
        let zeros = try Storage(byteCount: 3 << 20)
        let holes = try Storage(generator.bytes(1_200_000))
        return [
            "random": .tensor(try StateTensor(storage: random, layout: TensorLayout(.f32, shape: [625, 1000]))),
            "transposed": .tensor(
                try StateTensor(storage: random, layout: TensorLayout(.f32, shape: [1000, 625], strides: [1, 1000]))),
            "zeros": .tensor(try StateTensor(storage: zeros, layout: TensorLayout(.f64, shape: [3 << 17]))),
            "column": .tensor(
                try StateTensor(storage: holes, layout: TensorLayout(.i16, shape: [600], strides: [1000], offset: 3))),
            "empty": .tensor(try StateTensor([Float](), shape: [0, 4])),
            "step": 12,
        ]
    }

    @Test("the same tree gives the same bytes, whatever the number of threads")
    func deterministic() throws {
        for compression in Compression.allCases {
            let one = try containerBytes(
                WritingTests.mixedTree(), options: SaveOptions(compression: compression, threads: 1))
            for threads in [2, 5] {
                let isSame =
                    try containerBytes(
                        WritingTests.mixedTree(), options: SaveOptions(compression: compression, threads: threads))
                    == one
                #expect(isSame, "\(compression), \(threads) threads")
            }
        }
    }

    @Test("a container fed piece by piece equals one saved from a tree")
    func fedWriter() throws {
        var generator = SeededGenerator(seed: 5)
        let bytes = generator.bytes(3_000_000)
        let layout = try TensorLayout(.u8, shape: [bytes.count])
        let small = try TensorLayout(.f32, shape: [2])
        let empty = try TensorLayout(.f32, shape: [0])
        let smallBytes: [UInt8] = [1, 2, 3, 4, 5, 6, 7, 8]
        let tree: StateTree = [
            "big": .tensor(try StateTensor(storage: Storage(bytes), layout: layout)),
            "empty": .tensor(try StateTensor(storage: Storage(byteCount: 0), layout: empty)),
            "small": .tensor(try StateTensor(storage: Storage(smallBytes), layout: small)), "n": 3,
        ]
        for compression in Compression.allCases {
            let options = SaveOptions(compression: compression)
            let sink = MemorySink()
            let writer = try ContainerWriter(sink: sink, options: options)
            let big = try writer.declareStorage(byteCount: bytes.count, of: .u8)
            var position = 0
            while position < bytes.count {
                let count = min(bytes.count - position, Int.random(in: 1...700_000, using: &generator))
                try writer.append(Array(bytes[position..<position + count]))
                position += count
            }
            let none = try writer.declareStorage(byteCount: 0)
            let last = try writer.declareStorage(byteCount: 8, of: .f32)
            try writer.append(smallBytes)
            try writer.finish(
                [
                    "big": .tensor(try StateTensor(storage: big, layout: layout)),
                    "empty": .tensor(try StateTensor(storage: none, layout: empty)),
                    "small": .tensor(try StateTensor(storage: last, layout: small)), "n": 3,
                ], metadata: [:])
            let isSame = try sink.contents == containerBytes(tree, options: options)
            #expect(isSame, "\(compression)")
            #expect(throws: StoreError.self) { try big.load() }
        }
    }

    @Test("a fed writer refuses bytes that do not fit what was declared, and leaves nothing")
    func fedWriterMistakes() throws {
        let folder = try TemporaryFolder()
        let path = folder.path("x.nnck")
        do {
            let writer = try ContainerWriter(path: path)
            let storage = try writer.declareStorage(byteCount: 4)
            try writer.append([1, 2])
            #expect(throws: StoreError.self) { try writer.declareStorage(byteCount: 1) }
            #expect(throws: StoreError.self) { try writer.finish([:]) }
            try writer.append([3, 4])
            #expect(throws: StoreError.self) { try writer.append([5]) }
            let foreign = try StateTensor([UInt8(1)], shape: [1])
            #expect(throws: StoreError.self) { try writer.finish(["t": .tensor(foreign)]) }
            #expect(storage.byteCount == 4)
        }
        #expect(folder.names == [])
    }

    @Test("a writer that was finished, or that failed, writes nothing more")
    func afterTheEnd() throws {
        let folder = try TemporaryFolder()
        let path = folder.path("x.nnck")
        let writer = try ContainerWriter(path: path, options: SaveOptions(compression: .none))
        try writer.finish(["a": 1])
        #expect(throws: StoreError.self) { try writer.declareStorage(byteCount: 8 << 20) }
        #expect(throws: StoreError.self) { try writer.finish([:]) }
        #expect(try Checkpoint.open(path).verify().isSound)

        /// A test double for a disk that is full for a moment.
        final class Flaky: ByteSink {
            let name = "flaky"
            var calls = 0
            var isFinished = false
            var isAbandoned = false
            let failing: Int
            init(failing: Int) { self.failing = failing }
            func append(_ bytes: RawSpan) throws(StoreError) {
                calls += 1
                if calls == failing { throw .system(operation: "write", path: name, errno: 28) }
            }
            func finish(_ existing: ExistingDestination) throws(StoreError) { isFinished = true }
            func abandon() { isAbandoned = true }
        }
        for failing in 1...4 {
            let sink = Flaky(failing: failing)
            // With one thread each chunk is written as soon as it is full.
            let writer = try ContainerWriter(sink: sink, options: SaveOptions(compression: .none, threads: 1))
            let storage = try writer.declareStorage(byteCount: 16 << 20)
            var failures = 0
            for _ in 0..<16 {
                do { try writer.append([UInt8](repeating: 1, count: 1 << 20)) } catch { failures += 1 }
            }
            let layout = try TensorLayout(.u8, shape: [16 << 20])
            #expect(throws: StoreError.self) {
                try writer.finish(["t": .tensor(StateTensor(storage: storage, layout: layout))])
            }
            #expect(!sink.isFinished && sink.isAbandoned, "\(failing)")
            #expect(failures > 0 || failing == 4, "\(failing)")
        }
    }

    @Test("a tensor whose elements overlap in a tangle is saved in time that its bytes bound")
    func tangled() throws {
        var generator = SeededGenerator(seed: 4)
        let storage = try Storage(generator.bytes(500_000))
        let layout = try TensorLayout(.u8, shape: [90_000, 90_000], strides: [3, 2])
        let tree: StateTree = ["t": .tensor(try StateTensor(storage: storage, layout: layout))]
        let checkpoint = try Checkpoint.open(MemorySource(containerBytes(tree)))
        let saved = try checkpoint.read("t").storage.allBytes
        #expect(saved.count == 2 * 89_999 + 3 * 89_999 + 1)
        // 1 and the last but one can't be made of twos and threes.
        let original = try storage.allBytes
        #expect(saved[1] == 0 && saved[saved.count - 2] == 0)
        let isSame = saved.indices.allSatisfy { $0 == 1 || $0 == saved.count - 2 || saved[$0] == original[$0] }
        #expect(isSame)
    }

    @Test("without sharing every tensor is written contiguous and alone")
    func withoutSharing() throws {
        let tree = try WritingTests.mixedTree()
        var options = SaveOptions()
        options.keepsSharing = false
        let checkpoint = try Checkpoint.open(MemorySource(containerBytes(tree, options: options)))
        #expect(try checkpoint.verify().problems == [])
        #expect(try checkpoint.sharing == .unknown)
        let loaded = try checkpoint.readAll()
        #expect(Set(loaded.tensors.map(\.tensor.storage)).count == 5)
        for ((path, tensor), (_, original)) in zip(loaded.tensors, tree.tensors) {
            #expect(tensor.layout.isContiguous && tensor.layout.offset == 0, "\(path)")
            #expect(tensor.storage.byteCount == original.layout.byteCount, "\(path)")
            let isSame = try tensor.elementBytes == original.elementBytes
            #expect(isSame, "\(path)")
        }
    }

    @Test("a pipe gets the bytes that a file has")
    func pipe() throws {
        let folder = try TemporaryFolder()
        let path = folder.path("file.nnck")
        let tree = try WritingTests.mixedTree()
        try Checkpoint.save(tree, to: path)
        let pipe = folder.path("pipe")
        #expect(mkfifo(pipe, 0o600) == 0)
        let reader = Process()
        reader.executableURL = URL(fileURLWithPath: "/bin/sh")
        reader.arguments = ["-c", "cat '\(pipe)' > '\(folder.path("piped.nnck"))'"]
        try reader.run()
        try Checkpoint.save(tree, to: pipe)
        reader.waitUntilExit()
        let isSame =
            try Data(contentsOf: URL(fileURLWithPath: path))
            == Data(contentsOf: URL(fileURLWithPath: folder.path("piped.nnck")))
        #expect(isSame)
    }

    @Test("saving can be stopped, and leaves nothing")
    func cancellation() throws {
        let folder = try TemporaryFolder()
        let cancellation = Cancellation()
        let options = SaveOptions(cancellation: cancellation) { done, _ in
            if done > 1 << 20 { cancellation.cancel() }
        }
        #expect(throws: StoreError.cancelled) {
            try Checkpoint.save(WritingTests.mixedTree(), to: folder.path("x.nnck"), options: options)
        }
        #expect(folder.names == [])
    }

    @Test("a fed writer that was stopped is given up: what it had is not finished without the chunks that it lost")
    func cancelledWriter() throws {
        let folder = try TemporaryFolder()
        let cancellation = Cancellation()
        let writer = try ContainerWriter(
            path: folder.path("x.nnck"), options: SaveOptions(threads: 2, cancellation: cancellation))
        let storage = try writer.declareStorage(byteCount: 3 << 20, of: .u8)
        try writer.append([UInt8](repeating: 1, count: 3 << 20))
        let tree: StateTree = [
            "x": .tensor(try StateTensor(storage: storage, layout: TensorLayout(.u8, shape: [3 << 20])))
        ]
        cancellation.cancel()
        #expect(throws: StoreError.cancelled) { try writer.finish(tree) }
        #expect(folder.names == [])
        let again = #expect(throws: StoreError.self) { try writer.finish(tree) }
        #expect(again?.description.contains("given up") == true, "\(again!)")
        #expect(throws: StoreError.self) { try writer.declareStorage(byteCount: 1) }
    }

    @Test("a large file is the same whether it goes past the page cache, through it, or to memory")
    func durableAndCached() throws {
        var generator = SeededGenerator(seed: 12)
        let content = generator.bytes(9_000_001)
        let layout = try TensorLayout(.u8, shape: [content.count])
        let tree: StateTree = ["x": .tensor(try StateTensor(storage: Storage(content), layout: layout))]
        let expected = try containerBytes(tree)
        // A file system in memory may have no way past the cache.
        var folders = [try TemporaryFolder()]
        if FileManager.default.fileExists(atPath: "/dev/shm") {
            folders.append(try TemporaryFolder(in: "/dev/shm"))
        } else {
            print("No /dev/shm here: writing to a file system in memory is passed over.")
        }
        for folder in folders {
            for isDurable in [true, false] {
                let path = folder.path("\(isDurable).nnck")
                try Checkpoint.save(tree, to: path, options: SaveOptions(isDurable: isDurable))
                let isSame = try Array(Data(contentsOf: URL(fileURLWithPath: path))) == expected
                #expect(isSame, "\(path)")
            }
        }
    }

    @Test("an error while a storage is read reaches the caller, and leaves nothing")
    func failingBacking() throws {
        struct Broken: StorageBacking {
            struct Failure: Error {}
            let byteCount = 5 << 20
            func read(_ range: Range<Int>, into destination: inout MutableRawSpan) throws {
                if range.lowerBound >= 3 << 20 { throw Failure() }
            }
        }
        let folder = try TemporaryFolder()
        let tensor = try StateTensor(
            storage: Storage(backing: Broken()), layout: TensorLayout(.u8, shape: [5 << 20]))
        for threads in [1, 3] {
            #expect(throws: Broken.Failure.self) {
                try Checkpoint.save(
                    ["t": .tensor(tensor)], to: folder.path("x.nnck"), options: SaveOptions(threads: threads))
            }
        }
        #expect(folder.names == [])
    }
}
