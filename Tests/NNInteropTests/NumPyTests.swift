import NNInterop
import NNStore
import Testing

@Suite("NumPy's arrays and archives")
struct NumPyTests {
    private func open(_ bytes: [UInt8], _ options: OpenOptions = OpenOptions()) throws -> any CheckpointFile {
        try CheckpointFiles.open(MemorySource(bytes, name: "file.npy"), options: options)
    }

    private func tensor(_ bytes: [UInt8], _ options: OpenOptions = OpenOptions()) throws -> StateTensor {
        try #require(try open(bytes, options).state().tensor)
    }

    private func code(_ bytes: [UInt8]) -> String? {
        do {
            _ = try open(bytes)
            return nil
        } catch let error as InteropError {
            #expect(error.description.contains("file.npy"))
            return error.code
        } catch {
            return "\(error)"
        }
    }

    private func code(header: String) -> String? { code(npy(header: header, counting(64))) }

    @Test("every dtype that has a counterpart, in both byte orders and by both names")
    func dtypes() throws {
        let all: [(String, String, DType, Int)] = [
            ("b1", "bool", .bool, 1), ("i1", "int8", .i8, 1), ("i2", "int16", .i16, 2), ("i4", "int32", .i32, 4),
            ("i8", "int64", .i64, 8), ("u1", "uint8", .u8, 1), ("u2", "uint16", .u16, 2), ("u4", "uint32", .u32, 4),
            ("u8", "uint64", .u64, 8), ("f2", "float16", .f16, 2), ("f4", "float32", .f32, 4),
            ("f8", "float64", .f64, 8),
            ("c8", "complex64", .c64, 4), ("c16", "complex128", .c128, 8),
        ]
        for (short, long, dtype, component) in all {
            let data = counting(3 * dtype.bytesPerBlock)
            for name in ["<" + short, "=" + short, "|" + short, short, long] {
                let tensor = try tensor(npy(name, [3], data))
                #expect(tensor.dtype == dtype && tensor.shape == [3])
                #expect(try elements(tensor) == data, "\(name)")
            }
            let turned = stride(from: 0, to: data.count, by: component).flatMap { data[$0..<$0 + component].reversed() }
            #expect(try elements(tensor(npy(">" + short, [3], data))) == turned, "\(short)")
        }
    }

    @Test("Fortran's order is kept as strides; of one dimension, or of none, it says nothing")
    func fortran() throws {
        let data = counting(24)
        let tensor = try tensor(npy("<i4", [2, 3], data, fortran: true))
        #expect(tensor.layout.strides == [1, 2])
        #expect(try elements(tensor) == [0, 2, 4, 1, 3, 5].flatMap { data[4 * $0..<4 * $0 + 4] })
        #expect(try self.tensor(npy("<i4", [6], data, fortran: true)).layout.isContiguous)
        #expect(try self.tensor(npy("<i4", [], data, fortran: true)).shape == [])
        #expect(try self.tensor(npy("<i4", [0, 5], [], fortran: true)).shape == [0, 5])
    }

    @Test("headers as NumPy and others write them")
    func headers() throws {
        for header in [
            "{'descr': '<i4', 'fortran_order': False, 'shape': (3,), }",
            "{\"descr\": \"<i4\", \"fortran_order\": False, \"shape\": (3,)}",
            "{'shape': (3L,), 'fortran_order': False, 'descr': '<i4'}",
            "{ 'descr' : '<i4' , # a comment\n 'fortran_order':False,'shape':( 3 , )}",
            "{'descr': u'<i4', 'fortran_order': False, 'shape': (3,), }   ",
        ] {
            #expect(try tensor(npy(header: header, counting(12))).shape == [3], "\(header)")
        }
        for version: UInt8 in [1, 2, 3] {
            #expect(try open(npy("<f4", [2], counting(8), version: version)).formatVersion == Int(version))
        }
        // More than the elements take is accepted, as NumPy does.
        #expect(try elements(tensor(npy("|u1", [2], [1, 2, 3, 4]))) == [1, 2])
    }

    @Test("headers that are wrong have the error for it")
    func wrongHeaders() {
        let descr = "'descr': '<i4'"
        let order = "'fortran_order': False"
        let shape = "'shape': (3,)"
        #expect(code(header: "{\(descr), \(order), \(shape)}") == nil)
        #expect(code(header: "{\(descr), \(order)}") == "numpy-keys")
        #expect(code(header: "{\(descr), \(order), \(shape), 'extra': 1}") == "numpy-keys")
        #expect(code(header: "{\(descr), \(order), \(shape), \(shape)}") == "numpy-keys")
        #expect(code(header: "[\(descr)]") == "numpy-literal")
        #expect(code(header: "['descr']") == "numpy-literal")
        #expect(code(header: "{\(descr), \(order), \(shape)} 1") == "numpy-literal")
        #expect(code(header: "{\(descr), \(order), \(shape)") == "numpy-literal")
        #expect(code(header: "{\(descr), 'fortran_order': 0, \(shape)}") == "numpy-field")
        for wrong in [
            "3", "(3)", "[3]", "(3.0,)", "(-1,)", "(True,)", "('3',)", "(1+2,)", "(3e0,)", "(0x3,)",
            "(9223372036854775808,)", "(len('abc'),)",
        ] {
            #expect(code(header: "{\(descr), \(order), 'shape': \(wrong)}")?.hasPrefix("numpy-") == true, "\(wrong)")
        }
        #expect(code(header: "{\(descr), \(order), 'shape': (\(String(repeating: "1,", count: 65)))}") == "numpy-shape")
        #expect(code(header: "{\(descr), \(order), 'shape': (4611686018427387904, 4)}") == "numpy-shape")
        #expect(code(header: "{\(descr), \(order), 'shape': (17,)}") == "numpy-cut")
        #expect(code(header: String(repeating: "(", count: 5000)) == "numpy-literal")
        for dtype in [
            "'|O'", "'<U5'", "'|S3'", "'<M8[D]'", "'<m8[s]'", "'<f16'", "'<c32'", "'|V0'", "'|V16'", "'x9'", "''",
            "[('x', '<i4')]",
        ] {
            #expect(code(header: "{'descr': \(dtype), \(order), \(shape)}") == "numpy-dtype", "\(dtype)")
        }
        #expect(code(header: "{'descr': 4, \(order), \(shape)}") == "numpy-field")
        #expect(code(npy(header: "{}", [], version: 4)) == "numpy-version")
        #expect(code(npy(header: "{}", [], version: 1, minor: 1)) == "numpy-version")
        #expect(code([0x93] + Array("NUMPY".utf8) + [1, 0, 0xff, 0xff]) == "numpy-header-too-long")
        #expect(code([0x93] + Array("NUMPY".utf8) + [2, 0, 0xff, 0xff, 0xff, 0x7f]) == "numpy-header-too-long")
        #expect(code([0x93] + Array("NUMPY".utf8) + [1, 0, 10]) == "numpy-start")
        #expect(code([0x93] + Array("NUMPY".utf8) + [1, 0, 100, 0, 0x7b]) == "numpy-start")
    }

    @Test("bytes that NumPy does not know stay what they are, or become what they are said to be")
    func void() throws {
        let data = counting(6)
        #expect(try tensor(npy("|V2", [3], data)).dtype.name == "V2")
        #expect(try tensor(npy("<V2", [3], data), OpenOptions(dtypes: ["": .bf16])).dtype == .bf16)
        #expect(throws: InteropError.self) { try tensor(npy("|V2", [3], data), OpenOptions(dtypes: ["": .f32])) }
        let archive = ZipBytes([ZipBytes.Entry("w.npy", npy("|V1", [6], data))]).bytes
        let state = try open(archive, OpenOptions(dtypes: ["w": .f8E4M3])).state()
        #expect(state["w"]?.tensor?.dtype == .f8E4M3)
    }

    @Test("a dtype that is given for nothing is an error, with the arrays that could have it")
    func unusedDTypes() throws {
        let archive = ZipBytes([
            ZipBytes.Entry("w.npy", npy("|V2", [1], [1, 2])), ZipBytes.Entry("f.npy", npy("<f4", [1], counting(4))),
        ]).bytes
        #expect(try open(archive, OpenOptions(dtypes: ["w": .bf16])).state()["w"]?.tensor?.dtype == .bf16)
        for name in ["x", "f", ""] {
            do {
                _ = try open(archive, OpenOptions(dtypes: [name: .bf16]))
                Issue.record("\(name) was taken")
            } catch let error as InteropError {
                #expect(error.code == "unsupported" && error.description.contains("\"w\""), "\(error)")
            }
        }
    }

    @Test("letters and Python's names of dtypes, where NumPy takes them")
    func names() throws {
        for (name, dtype) in [
            ("?", DType.bool), ("float", .f64), ("d", .f64), ("e", .f16), ("B", .u8), ("int", .i64), ("complex", .c128),
        ] {
            #expect(try tensor(npy(name, [2], counting(2 * dtype.bytesPerBlock))).dtype == dtype, "\(name)")
        }
        #expect(code(npy(">float32", [1], counting(4))) == "numpy-dtype")
    }

    @Test("archives: names, what is no array, and what is there twice")
    func archives() throws {
        let one = npy("|u1", [1], [1])
        let two = npy("|u1", [1], [2])
        func state(_ entries: [(String, [UInt8])]) throws -> StateTree {
            try open(ZipBytes(entries.map { ZipBytes.Entry($0.0, $0.1) }).bytes).state()
        }
        let both = try state([("a.npy", one), ("a", two), ("", one)])
        #expect(both.children.map(\.key) == ["a", ""])
        #expect(try elements(#require(both["a"]?.tensor)) == [2])
        let mixed = ZipBytes([
            ZipBytes.Entry("a.npy", one), ZipBytes.Entry("readme.txt", [1]),
            ZipBytes.Entry("t.npy", npy("<U1", [1], [65, 0, 0, 0])),
        ]).bytes
        #expect(code(mixed) == "unsupported")
        let passed = try NumPyArchive.open(MemorySource(mixed), options: OpenOptions(skipsUnsupported: true))
        #expect(try passed.state().children.map(\.key) == ["a"] && passed.skipped.count == 2)
        // What is damaged is not passed over.
        let damaged = ZipBytes([ZipBytes.Entry("a.npy", npy("|u1", [9], [1]))]).bytes
        #expect(throws: InteropError.self) {
            try NumPyArchive.open(MemorySource(damaged), options: OpenOptions(skipsUnsupported: true))
        }
    }

    @Test("what is written comes back: random shapes, strides and dtypes")
    func roundTrip() throws {
        var random = SystemRandomNumberGenerator()
        let dtypes: [DType] = [.f32, .f64, .f16, .i8, .i64, .u16, .bool, .c64, .c128, .u32]
        for _ in 0..<40 {
            var entries: [(String, StateTree)] = []
            for number in 0..<Int.random(in: 0...4, using: &random) {
                let shape = (0..<Int.random(in: 0...3, using: &random)).map { _ in Int.random(in: 0...4, using: &random)
                }
                let dtype = dtypes.randomElement(using: &random)!
                var strides: [Int]? = nil
                if Bool.random(using: &random) {
                    strides = try TensorLayout.contiguousStrides(of: shape.reversed()).reversed()
                }
                let layout = try TensorLayout(dtype, shape: shape, strides: strides, offset: 2)
                let storage = try Storage(counting(layout.byteRange.upperBound))
                entries.append(("t\(number)", .tensor(try StateTensor(storage: storage, layout: layout))))
            }
            let sink = MemorySink()
            let report = try NumPy.save(.dictionary(entries), to: sink)
            #expect(report.isEmpty)
            let state = try open(sink.bytes).state()
            #expect(state.children.count == entries.count)
            for (name, tree) in entries {
                let (before, after) = (try #require(tree.tensor), try #require(state[name]?.tensor))
                #expect(before.dtype == after.dtype && before.shape == after.shape)
                #expect(before.layout.strides == after.layout.strides)
                #expect(try elements(before) == elements(after))
            }
        }
    }

    @Test("what NumPy has not is converted, left out or refused, and said so")
    func export() throws {
        func tensor(_ dtype: DType, _ count: Int) throws -> StateTree {
            let layout = try TensorLayout(dtype, shape: [count])
            return .tensor(try StateTensor(storage: Storage(counting(layout.byteCount)), layout: layout))
        }
        let state: StateTree = [
            "bf": try tensor(.bf16, 3), "f8": try tensor(.f8E5M2, 3), "n": 5, "x": 0.5, "yes": true, "text": "t",
            "s": .scalar(try TypedValue(.f32, bytes: [0, 0, 128, 63])),
        ]
        var sink = MemorySink()
        let report = try NumPy.save(state, metadata: ["k": "v"], to: sink)
        #expect(report.converted.count == 6 && report.dropped.count == 2)
        let back = try open(sink.bytes, OpenOptions(dtypes: ["bf": .bf16, "f8": .f8E5M2])).state()
        #expect(try elements(#require(back["bf"]?.tensor)) == counting(6))
        #expect(back["n"]?.tensor?.dtype == .i64 && back["n"]?.tensor?.shape == [])
        #expect(throws: InteropError.self) {
            try NumPy.save(state, to: MemorySink(), options: ExportOptions(isStrict: true))
        }
        sink = MemorySink()
        try NumPy.save(["bf": try tensor(.bf16, 3)], to: sink, writesBF16AsF32: true)
        let wide = try #require(try open(sink.bytes).state()["bf"]?.tensor)
        #expect(wide.dtype == .f32)
        #expect(
            try elements(wide)
                == stride(from: 0, to: 6, by: 2).flatMap { [0, 0, counting(6)[$0], counting(6)[$0 + 1]] })
        #expect(throws: InteropError.self) { try NumPy.save(["f4": try tensor(.f4, 4)], to: MemorySink()) }
        #expect(throws: InteropError.self) {
            try NumPy.save(["a": try tensor(.u8, 1), "b": try tensor(.u8, 1)], to: MemorySink(), as: .array)
        }
        #expect(throws: InteropError.self) {
            try NumPy.save(["a": try tensor(.u8, 1), "a.npy": try tensor(.u8, 1)], to: MemorySink())
        }
        let long = String(repeating: "n", count: 70_000)
        #expect(throws: StoreError.self) { try NumPy.save(.dictionary([(long, try tensor(.u8, 1))]), to: MemorySink()) }
        sink = MemorySink()
        try NumPy.save(try tensor(.u8, 3), to: sink, as: .array)
        #expect(try elements(self.tensor(sink.bytes)) == counting(3))
    }
}
