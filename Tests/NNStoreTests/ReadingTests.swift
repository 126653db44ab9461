import Foundation
import NNStore
import Synchronization
import Testing

@Suite("Reading")
struct ReadingTests {
    private func checkpoint(_ tree: StateTree, _ compression: Compression = .fast) throws -> Checkpoint {
        try Checkpoint.open(MemorySource(containerBytes(tree, options: SaveOptions(compression: compression))))
    }

    private func scalar(_ value: UInt8) throws -> StateTree {
        .tensor(try StateTensor([value], shape: [1]))
    }

    @Test("a tensor is found by its flat name, through dictionaries, lists and keys with dots")
    func flatNames() throws {
        let checkpoint = try checkpoint([
            "model": ["layer.0.weight": scalar(1), "layers": [scalar(2), ["w": scalar(3)]]],
            "a.b": ["c": scalar(4)], "a": ["b.d": scalar(5)], "": ["": scalar(6)], 7: scalar(7), "x": 1,
        ])
        for (name, value) in [
            ("model.layer.0.weight", 1), ("model.layers.0", 2), ("model.layers.1.w", 3), ("a.b.c", 4), ("a.b.d", 5),
            (".", 6), ("7", 7),
        ] as [(String, UInt8)] {
            #expect(try checkpoint.read(name).elementBytes == [value], "\(name)")
        }
        #expect(try checkpoint.tensors.map(\.name).contains("model.layers.1.w"))
        for missing in ["model.layers.01", "a.c", "07", "model.layers.2", "y"] {
            let error = #expect(throws: StoreError.self) { try checkpoint.tensor(missing) }
            #expect(error?.code == "not-found", "\(missing)")
        }
        for other in ["model", "x", "a", "a.b"] {
            let error = #expect(throws: StoreError.self) { try checkpoint.tensor(other) }
            #expect(error?.description.contains("is no tensor") == true, "\(other)")
        }
        let typo = #expect(throws: StoreError.self) { try checkpoint.tensor("model.layer.0.wieght") }
        #expect(typo?.description.contains("similar: \"model.layer.0.weight\"") == true)
        let error = #expect(throws: StoreError.self) { try checkpoint.tensor("layers.1.w") }
        #expect(error?.description.contains("model.layers.1.w") == true, "a similar name is offered")
    }

    @Test("a flat name of two tensors is refused, and both are named; their paths work")
    func ambiguousNames() throws {
        let checkpoint = try checkpoint(["a": ["b": scalar(1)], "a.b": scalar(2), "0": scalar(3), 0: scalar(4)])
        let error = #expect(throws: StoreError.self) { try checkpoint.tensor("a.b") }
        #expect(error?.code == "ambiguous-name")
        #expect(error?.description.contains("[\"a\"][\"b\"]") == true)
        #expect(error?.description.contains("[\"a.b\"]") == true)
        #expect(throws: StoreError.self) { try checkpoint.tensor("0") }
        #expect(try checkpoint.read(checkpoint.tensor(at: StatePath(["a", "b"]))).elementBytes == [1])
        #expect(try checkpoint.read(checkpoint.tensor(at: StatePath(["a.b"]))).elementBytes == [2])
        #expect(try checkpoint.read(checkpoint.tensor(at: StatePath([0]))).elementBytes == [4])
        #expect(throws: StoreError.self) { try checkpoint.tensor(at: StatePath(["a"])) }
    }

    @Test("rows are read alone, and only the chunks under them")
    func rows() throws {
        var generator = SeededGenerator(seed: 3)
        let bytes = generator.bytes(6_000_000)
        let storage = try Storage(bytes)
        let tree: StateTree = [
            "w": .tensor(try StateTensor(storage: storage, layout: TensorLayout(.u8, shape: [6000, 1000]))),
            "t": .tensor(
                try StateTensor(storage: storage, layout: TensorLayout(.u8, shape: [1000, 6000], strides: [1, 1000]))),
        ]
        let saved = try containerBytes(tree, options: SaveOptions(compression: .none))
        for _ in 0..<20 {
            let first = Int.random(in: 0...6000, using: &generator)
            let rows = first..<Int.random(in: first...6000, using: &generator)
            let checkpoint = try Checkpoint.open(MemorySource(saved))
            let tensor = try checkpoint.read("w", rows: rows)
            let isSame = try tensor.elementBytes == Array(bytes[rows.lowerBound * 1000..<rows.upperBound * 1000])
            #expect(isSame)
            #expect(tensor.shape == [rows.count, 1000])
            #expect(tensor.storage.byteCount == rows.count * 1000)
            var destination = [UInt8](repeating: 1, count: rows.count * 1000)
            try destination.withMutableRawSpan { try checkpoint.read(checkpoint.tensor("w"), rows: rows, into: &$0) }
            let isSameCopy = destination == Array(bytes[rows.lowerBound * 1000..<rows.upperBound * 1000])
            #expect(isSameCopy)
        }
        let checkpoint = try Checkpoint.open(MemorySource(saved))
        let columns = try checkpoint.read("t", rows: 5..<7).elementBytes
        let expected = [5, 6].flatMap { (column: Int) -> [UInt8] in (0..<6000).map { bytes[$0 * 1000 + column] } }
        #expect(columns == expected)
        #expect(throws: StoreError.self) { try checkpoint.read("w", rows: 5..<6001) }
        // A chunk that is not under the rows may be damaged.
        var damaged = saved
        damaged[4096 + 5_500_000] ^= 1
        let partly = try Checkpoint.open(MemorySource(damaged))
        #expect(try partly.read("w", rows: 0..<1000).elementBytes.count == 1_000_000)
        let error = #expect(throws: StoreError.self) { try partly.read("w", rows: 5400..<5600) }
        #expect(error?.description.contains("chunk 5 of \"w\"") == true)
        #expect(throws: StoreError.self) { try partly.readAll() }
        let report = try partly.verify()
        #expect(report.problems.count == 1)
        #expect(report.problems.first?.tensor == "w")
        #expect(report.problems.first?.offset == 4096 + 5 << 20)
    }

    @Test("rows of a scalar, and of blocks that begin inside a byte, are refused")
    func impossibleRows() throws {
        let scalar = try TensorLayout(.f32, shape: [])
        #expect(throws: StoreError.self) { try scalar.rows(0..<0) }
        let packed = try TensorLayout(.f4, shape: [4, 3])
        #expect(throws: StoreError.self) { try packed.rows(1..<3) }
        #expect(try packed.rows(2..<4).offset == 6)
    }

    @Test("many tensors are read into memory that is there, through views and strides, and nothing else is touched")
    func intoExistingMemory() throws {
        var generator = SeededGenerator(seed: 21)
        let large = try StateTensor(
            storage: Storage(generator.bytes(2_500_000)), layout: TensorLayout(.u8, shape: [2_500_000]))
        // A view of rows that begins and ends inside chunks, and one that is no row-major order.
        let rows = try StateTensor(storage: large.storage, layout: TensorLayout(.i16, shape: [600_000], offset: 1000))
        let columns = try StateTensor(
            storage: large.storage, layout: TensorLayout(.u8, shape: [300, 200], strides: [1, 300]))
        let empty = try StateTensor(storage: Storage([]), layout: TensorLayout(.f32, shape: [0, 3]))
        let checkpoint = try checkpoint([
            "large": .tensor(large), "rows": .tensor(rows), "columns": .tensor(columns), "empty": .tensor(empty),
        ])
        func destination(_ layout: TensorLayout, of byteCount: Int) throws -> StateTensor {
            try StateTensor(storage: Storage([UInt8](repeating: 9, count: byteCount)), layout: layout)
        }
        let destinations = try [
            ("large", destination(TensorLayout(.u8, shape: [2_500_000], offset: 8), of: 2_500_016)),
            ("rows", destination(TensorLayout(.i16, shape: [600_000]), of: 1_200_000)),
            ("columns", destination(TensorLayout(.u8, shape: [300, 200], strides: [201, 1]), of: 60_300)),
            ("empty", destination(TensorLayout(.f32, shape: [0, 3]), of: 0)),
        ].map { (entry: try checkpoint.tensor($0.0), tensor: $0.1) }
        let versions = destinations.map(\.tensor.storage.version)
        for threads in [1, 2] {
            try checkpoint.read(into: destinations, threads: threads)
            for (source, destination) in zip([large, rows, columns, empty], destinations) {
                let isSame = try source.elementBytes == destination.tensor.elementBytes
                #expect(isSame, "\(destination.entry.name), \(threads) threads")
            }
        }
        #expect(zip(versions, destinations).prefix(3).allSatisfy { $0 < $1.tensor.storage.version })
        try destinations[0].tensor.storage.withBytes {
            #expect($0.extracting(0..<8).constantByte == 9 && $0.extracting(2_500_008...).constantByte == 9)
        }
        try destinations[2].tensor.storage.withBytes { #expect($0.extracting(200..<201).constantByte == 9) }

        // In any order, the last one of several that overlap wins, and tied destinations come once.
        try checkpoint.read(into: destinations.reversed() + [destinations[1], destinations[1]])
        for (source, destination) in zip([large, rows, columns, empty], destinations) {
            let isSame = try source.elementBytes == destination.tensor.elementBytes
            #expect(isSame, "\(destination.entry.name)")
        }
        for _ in 0..<20 {
            try checkpoint.read(into: [
                destinations[0],
                (
                    destinations[1].entry,
                    StateTensor(
                        storage: destinations[0].tensor.storage, layout: TensorLayout(.i16, shape: [600_000], offset: 4)
                    )
                ),
            ])
            let isLast = try destinations[0].tensor.elementBytes.prefix(1_200_000) == rows.elementBytes[...]
            #expect(isLast)
        }
        let expanded = try destination(TensorLayout(.u8, shape: [300, 200], strides: [0, 1]), of: 200)
        #expect(throws: StoreError.self) { try checkpoint.read(into: [(checkpoint.tensor("columns"), expanded)]) }

        let other = try destination(TensorLayout(.u8, shape: [300, 201]), of: 60_300)
        let error = #expect(throws: StoreError.self) {
            try checkpoint.read(into: [destinations[0], (try checkpoint.tensor("columns"), other)])
        }
        #expect(error?.description.contains("\"columns\" is U8 [300, 200], its destination U8 [300, 201]") == true)
        let stranger = try self.checkpoint(["columns": .tensor(columns)]).tensor("columns")
        #expect(throws: StoreError.self) { try checkpoint.read(into: [(stranger, destinations[2].tensor)]) }
    }

    @Test("tensors are read into a model that has them in another order than the file")
    func intoAnotherOrder() throws {
        var generator = SeededGenerator(seed: 22)
        let sources = try (0..<30).map { number in
            try StateTensor(generator.bytes(1000 + number), shape: [1000 + number])
        }
        let checkpoint = try checkpoint(.dictionary(sources.enumerated().map { ("t\($0)", .tensor($1)) }))
        for count in [2, 5, 30] {
            let numbers = Array((0..<30).shuffled(using: &generator).prefix(count))
            let destinations = try numbers.map { number in
                (
                    entry: try checkpoint.tensor("t\(number)"),
                    tensor: try StateTensor([UInt8](repeating: 0, count: 1000 + number), shape: [1000 + number])
                )
            }
            try checkpoint.read(into: destinations)
            for (number, destination) in zip(numbers, destinations) {
                #expect(try destination.tensor.elementBytes == sources[number].elementBytes)
            }
        }
    }

    @Test("lazily read trees give the same as trees read at once, and share one storage per load")
    func laziness() throws {
        let tree = try WritingTests.mixedTree()
        let checkpoint = try checkpoint(tree)
        let lazy = try checkpoint.state()
        let eager = try checkpoint.readAll()
        for ((path, a), (_, b)) in zip(lazy.tensors, eager.tensors) {
            #expect(!a.storage.isResident || a.storage.byteCount == 0 || path.flatName == "transposed")
            let isSame = try a.elementBytes == b.elementBytes
            #expect(isSame)
        }
        #expect(lazy["random"]?.tensor?.storage === lazy["transposed"]?.tensor?.storage)
        #expect(try lazy["random"]?.tensor?.storage !== checkpoint.state()["random"]?.tensor?.storage)
    }

    @Test("a container saved with none is mapped without a copy, and writing to it makes one")
    func mapping() throws {
        let folder = try TemporaryFolder()
        let tree = try WritingTests.mixedTree()
        try Checkpoint.save(tree, to: folder.path("none.nnck"), compression: .none)
        let checkpoint = try Checkpoint.open(folder.path("none.nnck"))
        let mapped = try checkpoint.map("random", verifying: true)
        let isSame = try mapped.elementBytes == tree["random"]!.tensor!.elementBytes
        #expect(isSame)
        #expect(try mapped.storage.withBytes { $0.withUnsafeBytes { Int(bitPattern: $0.baseAddress) % 4096 } } == 0)
        try mapped.storage.withMutableBytes { $0.storeBytes(of: 0x55, toByteOffset: 0, as: UInt8.self) }
        #expect(mapped.storage.version == 1)
        #expect(try mapped.storage.allBytes[0] == 0x55)
        #expect(try checkpoint.verify().isSound, "the file is untouched")
        try Checkpoint.save(tree, to: folder.path("fast.nnck"))
        let error = #expect(throws: StoreError.self) { try Checkpoint.open(folder.path("fast.nnck")).map("zeros") }
        #expect(error?.code == "invalid-argument")
        #expect(throws: StoreError.self) {
            try Checkpoint.open(MemorySource(containerBytes(tree, options: SaveOptions(compression: .none)))).map(
                "zeros")
        }
    }

    @Test("an entry of another file, or of the one before it was replaced, is refused")
    func foreignEntry() throws {
        let a = try checkpoint(["a": .tensor(StateTensor([Float](repeating: 1, count: 100), shape: [100]))])
        let b = try checkpoint(["a": .tensor(StateTensor([Float](repeating: 2, count: 25), shape: [25]))])
        let entry = try a.tensor("a")
        #expect(throws: StoreError.self) { try b.read(entry) }
        var bytes = [UInt8](repeating: 0, count: 400)
        #expect(throws: StoreError.self) { try bytes.withMutableRawSpan { try b.read(entry, into: &$0) } }
    }

    @Test("many threads may use one checkpoint")
    func concurrency() throws {
        let tree = try WritingTests.mixedTree()
        let checkpoint = try checkpoint(tree)
        let expected = try tree["column"]!.tensor!.elementBytes
        let failures = try countFailures(threads: 8, rounds: 20) {
            try checkpoint.read("column", threads: 2).elementBytes == expected
                && checkpoint.tensors.count == 5 && checkpoint.readAll().tensors.count == 5
        }
        #expect(failures == 0)
    }

    @Test("opening a container of 100,000 tensors and looking one up reads less than 100 KB")
    func littleReading() throws {
        let storage = try Storage([1, 2, 3, 4])
        let layout = try TensorLayout(.f32, shape: [1])
        let entries = try (0..<100_000).map { number in
            (
                "model.decoder.layers.\(number).attention.weight",
                StateTree.tensor(try StateTensor(storage: storage, layout: layout))
            )
        }
        let source = CountingSource(MemorySource(try containerBytes(.dictionary(entries))))
        let checkpoint = try Checkpoint.open(source)
        #expect(try checkpoint.tensor("model.decoder.layers.77777.attention.weight").shape == [1])
        print("\(source.bytesRead) bytes read in \(source.readCount) reads of \(checkpoint.byteCount)")
        #expect(source.bytesRead < 100_000)
    }

    @Test("memory is refused before it is allocated where the caller limits it")
    func limits() throws {
        let zeros = try Storage(byteCount: 3 << 20)
        let tree: StateTree = [
            "z": .tensor(try StateTensor(storage: zeros, layout: TensorLayout(.u8, shape: [3 << 20])))
        ]
        let bytes = try containerBytes(tree)
        let limits = ReadLimits(maximumBytesInMemory: 2 << 20)
        let checkpoint = try Checkpoint.open(MemorySource(bytes), limits: limits)
        for error in [
            #expect(throws: StoreError.self, performing: { try checkpoint.readAll() }),
            #expect(throws: StoreError.self, performing: { try checkpoint.read("z") }),
            #expect(throws: StoreError.self, performing: { try checkpoint.state()["z"]?.tensor?.storage.load() }),
        ] { #expect(error?.code == "limit-exceeded") }
        #expect(try checkpoint.read("z", rows: 0..<5).elementBytes == [0, 0, 0, 0, 0])
        let few = try Checkpoint.open(MemorySource(bytes), limits: ReadLimits(maximumNodes: 2))
        #expect(throws: StoreError.self) { try few.tensors }
    }

    @Test("elements come in row-major order from any layout, in pieces and at once")
    func elementOrder() throws {
        let storage = try Storage(copying: (0..<24).map { UInt16($0) })
        let tensor = try StateTensor(
            storage: storage, layout: TensorLayout(.u16, shape: [2, 3, 2], strides: [1, 0, 5], offset: 2))
        let expected: [UInt16] = [2, 7, 2, 7, 2, 7, 3, 8, 3, 8, 3, 8]
        let bytes = expected.flatMap { [UInt8($0 & 255), UInt8($0 >> 8)] }
        #expect(try tensor.elementBytes == bytes)
        var copy = [UInt8](repeating: 9, count: bytes.count)
        try copy.withMutableRawSpan { try tensor.copyElements(to: &$0) }
        #expect(copy == bytes)
        var short = [UInt8](repeating: 9, count: 3)
        #expect(throws: StoreError.self) { try short.withMutableRawSpan { try tensor.copyElements(to: &$0) } }
    }
}

/// Runs `body` on several threads, several times each, and counts how often it throws or is false.
func countFailures(threads: Int, rounds: Int, _ body: @escaping @Sendable () throws -> Bool) throws -> Int {
    let group = DispatchGroup()
    let failures = Mutex(0)
    for _ in 0..<threads {
        DispatchQueue.global().async(group: group) {
            for _ in 0..<rounds where (try? body()) != true { failures.withLock { $0 += 1 } }
        }
    }
    group.wait()
    return failures.withLock { $0 }
}
