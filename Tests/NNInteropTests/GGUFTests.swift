import NNInterop
import NNStore
import Testing

@Suite("GGUF files")
struct GGUFTests {
    private func open(_ bytes: [UInt8]) throws -> GGUFFile { try GGUFFile.open(MemorySource(bytes, name: "file.gguf")) }

    private func code(_ file: GGUFBytes) -> String? { code(file.bytes) }

    private func code(_ bytes: [UInt8]) -> String? {
        do {
            _ = try open(bytes)
            return nil
        } catch let error as InteropError {
            #expect(error.description.contains("file.gguf"))
            return error.code
        } catch {
            return "\(error)"
        }
    }

    private func file(_ values: [UInt8]...) -> GGUFBytes { GGUFBytes(values: values) }

    private func tensor(_ shape: [Int], _ type: Int, at offset: Int = 0, size: Int, name: String = "t") -> GGUFBytes {
        GGUFBytes(tensors: [GGUFBytes.tensor(name, shape, type, at: offset)], data: counting(size))
    }

    @Test("values of every type are kept with their width")
    func values() throws {
        let widths = [0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 10: 8, 11: 8, 12: 8]
        let dtypes: [Int: DType] = [
            0: .u8, 1: .i8, 2: .u16, 3: .i16, 4: .u32, 5: .i32, 6: .f32, 10: .u64, 11: .i64, 12: .f64,
        ]
        var all: [[UInt8]] = []
        for (type, width) in widths.sorted(by: { $0.key < $1.key }) {
            all.append(GGUFBytes.value("v\(type)", type, counting(width)))
            all.append(GGUFBytes.array("a\(type)", type, 3, counting(3 * width)))
            all.append(GGUFBytes.array("e\(type)", type, 0, []))
        }
        all.append(GGUFBytes.value("yes", 7, [1]))
        all.append(GGUFBytes.array("bools", 7, 2, [0, 1]))
        all.append(GGUFBytes.value("text", 8, GGUFBytes.text("ü")))
        all.append(GGUFBytes.value("broken", 8, le(1, 8) + [0xff]))
        all.append(GGUFBytes.array("texts", 8, 2, GGUFBytes.text("a") + GGUFBytes.text("")))
        all.append(GGUFBytes.array("brokens", 8, 2, GGUFBytes.text("a") + le(1, 8) + [0xff]))
        let bytes = GGUFBytes(values: all).bytes
        let metadata = try open(bytes).metadata()
        for (type, width) in widths {
            guard case .scalar(let value)? = metadata["v\(type)"], case .array(let values)? = metadata["a\(type)"],
                case .array(let empty)? = metadata["e\(type)"]
            else { return #expect(Bool(false), "\(type)") }
            #expect(value.dtype == dtypes[type] && value.bytes == counting(width))
            #expect(values.dtype == dtypes[type] && values.bytes == counting(3 * width))
            #expect(empty.dtype == dtypes[type] && empty.count == 0)
        }
        #expect(metadata["yes"]?.bool == true && metadata["text"]?.string == "ü")
        let sink = MemorySink()
        try Checkpoint.save([:], metadata: metadata, to: sink)
        let container = ContainerFile(try Checkpoint.open(MemorySource(sink.bytes)))
        let back = MemorySink()
        #expect(try container.saveAsGGUF(to: back).isEmpty)
        #expect(back.bytes.prefix(bytes.count).elementsEqual(bytes))
    }

    @Test("tensors of every type, shapes in the order of PyTorch")
    func types() throws {
        let types: [(Int, String, Int, Int)] = [
            (0, "F32", 1, 4), (1, "F16", 1, 2), (24, "I8", 1, 1), (25, "I16", 1, 2), (26, "I32", 1, 4),
            (27, "I64", 1, 8),
            (28, "F64", 1, 8), (30, "BF16", 1, 2), (2, "Q4_0", 32, 18), (3, "Q4_1", 32, 20), (6, "Q5_0", 32, 22),
            (7, "Q5_1", 32, 24), (8, "Q8_0", 32, 34), (9, "Q8_1", 32, 40), (20, "IQ4_NL", 32, 18),
            (39, "MXFP4", 32, 17),
            (40, "NVFP4", 64, 36), (42, "Q2_0", 64, 18), (41, "Q1_0", 128, 18), (10, "Q2_K", 256, 84),
            (11, "Q3_K", 256, 110),
            (12, "Q4_K", 256, 144), (13, "Q5_K", 256, 176), (14, "Q6_K", 256, 210), (15, "Q8_K", 256, 292),
            (16, "IQ2_XXS", 256, 66), (17, "IQ2_XS", 256, 74), (18, "IQ3_XXS", 256, 98), (19, "IQ1_S", 256, 50),
            (21, "IQ3_S", 256, 110), (22, "IQ2_S", 256, 82), (23, "IQ4_XS", 256, 136), (29, "IQ1_M", 256, 56),
            (34, "TQ1_0", 256, 54), (35, "TQ2_0", 256, 66),
        ]
        for (number, name, elements, bytes) in types {
            let file = tensor([2 * elements, 3], number, size: 6 * bytes)
            let found = try #require(try open(file.bytes).state()["t"]?.tensor)
            #expect(
                found.dtype.name == name && found.dtype.elementsPerBlock == elements
                    && found.dtype.bytesPerBlock == bytes)
            #expect(found.shape == [3, 2 * elements])
            #expect(try NNInteropTests.elements(found) == counting(6 * bytes))
        }
        for removed in [4, 5, 31, 32, 33, 36, 37, 38, 43, 99] {
            #expect(code(tensor([256], removed, size: 1000)) == "gguf-tensor-type")
        }
    }

    @Test("files of the other byte order: numbers are turned round, blocks are not")
    func bigEndian() throws {
        func be(_ value: Int, _ count: Int) -> [UInt8] { le(value, count).reversed() }
        func text(_ text: String) -> [UInt8] { be(text.utf8.count, 8) + text.utf8 }
        var bytes = Array("GGUF".utf8) + be(3, 4) + be(2, 8) + be(2, 8)
        bytes += text("n") + be(4, 4) + be(0x01020304, 4)
        bytes += text("a") + be(9, 4) + be(3, 4) + be(2, 8) + be(1, 2) + be(2, 2)
        bytes += text("f") + be(1, 4) + be(2, 8) + be(0, 4) + be(0, 8)
        bytes += text("q") + be(1, 4) + be(32, 8) + be(2, 4) + be(32, 8)
        bytes += [UInt8](repeating: 0, count: (32 - bytes.count % 32) % 32)
        let (floats, blocks) = (counting(8), counting(18))
        bytes += floats + [UInt8](repeating: 0, count: 24) + blocks + [UInt8](repeating: 0, count: 14)
        let file = try open(bytes)
        #expect(file.formatDescription == "GGUF 3 (big-endian)")
        guard case .scalar(let n)? = file.metadata()["n"], case .array(let a)? = file.metadata()["a"] else {
            return #expect(Bool(false))
        }
        #expect(n.bytes == [4, 3, 2, 1] && a.bytes == [1, 0, 2, 0])
        #expect(
            try elements(#require(file.state()["f"]?.tensor))
                == Array(floats[0..<4].reversed() + floats[4..<8].reversed()))
        #expect(try elements(#require(file.state()["q"]?.tensor)) == blocks)
        let container = MemorySink()
        try file.saveAsContainer(to: container)
        let back = MemorySink()
        try ContainerFile(Checkpoint.open(MemorySource(container.bytes))).saveAsGGUF(to: back)
        #expect(back.bytes == bytes)
    }

    @Test("what llama.cpp refuses is refused, and counts are not believed")
    func rules() throws {
        #expect(code(file()) == nil)
        for version in [0, 1, 4, 1 << 16] {
            #expect(code(GGUFBytes(version: version)) == "gguf-version")
        }
        #expect(code(GGUFBytes(version: 2)) == nil)
        #expect(code(GGUFBytes(tensorCount: 1 << 60)) == "gguf-count")
        #expect(code(GGUFBytes(valueCount: 1 << 60)) == "gguf-count")
        #expect(code(GGUFBytes(tensorCount: -1)) == "gguf-count")
        #expect(code(Array("GGUF".utf8) + [3]) == "gguf-cut")
        #expect(code(file(GGUFBytes.value("", 0, [1]))) == "gguf-name")
        #expect(code(file(GGUFBytes.value("a", 0, [1]), GGUFBytes.value("a", 0, [1]))) == "duplicate-key")
        #expect(code(file(le(1, 8) + [0xff] + le(0, 4) + [1])) == "gguf-name")
        #expect(code(file(GGUFBytes.value("a", 13, [1]))) == "gguf-value-type")
        #expect(code(file(GGUFBytes.value("a", 7, [2]))) == "gguf-value")
        #expect(code(file(GGUFBytes.array("a", 7, 1, [2]))) == "gguf-value")
        #expect(code(file(GGUFBytes.array("a", 9, 1, [0]))) == "gguf-value")
        #expect(code(file(GGUFBytes.array("a", 13, 1, [0]))) == "gguf-value-type")
        #expect(code(file(GGUFBytes.array("a", 0, 1 << 60, [0]))) == "gguf-length")
        #expect(code(file(GGUFBytes.array("a", 8, 1 << 40, [0]))) == "gguf-length")
        #expect(code(file(GGUFBytes.value("a", 8, le(1 << 60, 8)))) == "gguf-length")
        #expect(code(file(le(1 << 60, 8) + [UInt8](repeating: 1, count: 20))) == "gguf-length")
        #expect(code(file(GGUFBytes.value("general.alignment", 4, le(24, 4)))) == "gguf-value")
        #expect(code(file(GGUFBytes.value("general.alignment", 4, le(0, 4)))) == "gguf-value")
        #expect(code(file(GGUFBytes.value("general.alignment", 4, le(1 << 31, 4)))) == "gguf-value")
        #expect(code(file(GGUFBytes.value("general.alignment", 10, le(32, 8)))) == "gguf-value")
        #expect(code(tensor([2], 0, size: 8)) == nil)
        #expect(code(tensor([2], 0, size: 7)) == "gguf-data")
        #expect(code(tensor([2], 0, at: 32, size: 64)) == "gguf-offset")
        #expect(code(tensor([2], 0, at: -32, size: 64)) == "gguf-offset")
        #expect(code(tensor([31], 2, size: 64)) == "gguf-shape")
        #expect(code(tensor([1, 32], 2, size: 64)) == "gguf-shape")
        #expect(code(tensor([1, 1, 1, 1, 1], 0, size: 64)) == "gguf-shape")
        #expect(code(tensor([1 << 40, 1 << 40], 0, size: 64)) == "gguf-shape")
        #expect(code(tensor([-1], 0, size: 64)) == "gguf-shape")
        #expect(code(tensor([1 << 59], 0, size: 64)) == "gguf-shape")
        #expect(code(tensor([1 << 57], 0, size: 64)) == "gguf-data")
        #expect(code(tensor([2], 0, size: 8, name: String(repeating: "n", count: 63))) == nil)
        #expect(code(tensor([2], 0, size: 8, name: String(repeating: "n", count: 64))) == "gguf-name")
        let twice = GGUFBytes(
            tensors: [GGUFBytes.tensor("t", [2], 0, at: 0), GGUFBytes.tensor("t", [2], 0, at: 32)], data: counting(64))
        #expect(code(twice) == "duplicate-key")
        let gap = GGUFBytes(
            tensors: [GGUFBytes.tensor("t", [2], 0, at: 0), GGUFBytes.tensor("u", [2], 0, at: 64)], data: counting(96))
        #expect(code(gap) == "gguf-offset")
    }

    @Test("through a container and back every byte is the same, of usual and of unusual files")
    func byteEquality() throws {
        let values = [
            GGUFBytes.value("general.architecture", 8, GGUFBytes.text("llama")),
            GGUFBytes.value("general.alignment", 4, le(64, 4)),
            GGUFBytes.value("nnck.own", 0, [1]),
            GGUFBytes.array("tokens", 8, 2, GGUFBytes.text("<s>") + GGUFBytes.text("▁a")),
        ]
        for version in [2, 3] {
            for end in [[], [UInt8](repeating: 0, count: 56), [UInt8](repeating: 7, count: 100)] as [[UInt8]] {
                for kept in [[0, 1, 3], [1], [0, 1, 2, 3]] {
                    var file = GGUFBytes(version: version, values: kept.map { values[$0] })
                    file.alignment = 64
                    file.tensors = [GGUFBytes.tensor("a", [32], 2, at: 0), GGUFBytes.tensor("b", [2], 0, at: 64)]
                    file.data = counting(18) + [UInt8](repeating: 0, count: 46) + counting(8) + end
                    let container = MemorySink()
                    try open(file.bytes).saveAsContainer(to: container)
                    let back = MemorySink()
                    try ContainerFile(Checkpoint.open(MemorySource(container.bytes))).saveAsGGUF(to: back)
                    #expect(back.bytes == file.bytes, "\(version) \(end.count) \(kept)")
                }
            }
        }
    }

    @Test("what GGUF has not is converted, left out or refused, and said so")
    func export() throws {
        func tensor(_ dtype: DType, _ shape: [Int], _ strides: [Int]? = nil) throws -> StateTree {
            let layout = try TensorLayout(dtype, shape: shape, strides: strides)
            return .tensor(try StateTensor(storage: Storage(counting(layout.byteRange.upperBound)), layout: layout))
        }
        let state: StateTree = ["layer": ["w": try tensor(.f32, [2, 3], [1, 2])], "step": 5]
        let sink = MemorySink()
        let report = try GGUF.save(
            state, metadata: ["i": 7, "d": 0.5, "l": [1, 2], "t": ["a", "b"], "m": [1, "a"], "n": nil, "s": "x"],
            to: sink)
        #expect(report.dropped.count == 3 && report.converted.count == 4, "\(report.lines)")
        let file = try open(sink.bytes)
        #expect(
            try elements(#require(file.state()["layer.w"]?.tensor)) == elements(#require(state["layer"]?["w"]?.tensor)))
        guard case .scalar(let i)? = file.metadata()["i"] else { return #expect(Bool(false)) }
        #expect(i.dtype == .i64)
        for dtype in [DType.u8, .bool, .c64, .f8E4M3, .u32] {
            #expect(throws: InteropError.self) { try GGUF.save(["x": try tensor(dtype, [2])], to: MemorySink()) }
        }
        #expect(throws: InteropError.self) {
            try GGUF.save(["x": try tensor(.f32, [1, 1, 1, 1, 2])], to: MemorySink())
        }
        let long = String(repeating: "n", count: 64)
        #expect(throws: InteropError.self) {
            try GGUF.save(.dictionary([(long, try tensor(.f32, [1]))]), to: MemorySink())
        }
        #expect(throws: InteropError.self) {
            try GGUF.save(state, to: MemorySink(), options: ExportOptions(isStrict: true))
        }
        #expect(throws: InteropError.self) {
            try GGUF.save(["x": try tensor(.f32, [1])], metadata: ["general.alignment": 3], to: MemorySink())
        }
    }

    @Test("flipped and cut bytes never trap")
    func damage() throws {
        var file = GGUFBytes(values: [
            GGUFBytes.value("k", 8, GGUFBytes.text("v")), GGUFBytes.array("a", 5, 2, counting(8)),
        ])
        file.tensors = [GGUFBytes.tensor("a", [32], 2, at: 0), GGUFBytes.tensor("b", [2, 2], 0, at: 32)]
        file.data = counting(64)
        let bytes = file.bytes
        for position in bytes.indices {
            for bit in 0..<8 {
                var damaged = bytes
                damaged[position] ^= 1 << UInt8(bit)
                _ = code(damaged)
            }
            _ = code(Array(bytes[..<position]))
        }
    }
}
