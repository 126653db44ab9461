import Foundation
import NNInterop
import NNStore
import NNTensor
import Testing

@Suite("Saved values")
struct SavingValuesTests {
    private let folder: TemporaryFolder
    init() throws { folder = try TemporaryFolder() }

    private func code(_ body: () throws -> Void) -> String? {
        do { try body() } catch let error as TensorError { return error.code } catch let error as StoreError {
            return error.code
        } catch let error as InteropError { return error.code } catch { return "\(error)" }
        return nil
    }

    @Test("are a tensor, a list, a dictionary or a tree again, with what they shared")
    func roundTrips() throws {
        let (x, y) = (Tensor.arange(4), Tensor.zeros(2, 3))
        try save(x, to: folder.path("x-file"))
        let x2 = try load(folder.path("x-file"))
        #expect(try x2.elements(as: Int.self) == [0, 1, 2, 3] && x2.dtype == x.dtype)

        try save([x, y, x, y[0]], to: folder.path("x-files"))
        let list: [Tensor] = try load(folder.path("x-files"))
        #expect(list.map(\.shape) == [[4], [2, 3], [4], [3]])
        #expect(list[0].sharesStorage(with: list[2]) && list[1].sharesStorage(with: list[3]))
        list[1][0, 1] = 5
        #expect(try list[3].elements(as: Float.self) == [0, 5, 0])

        try save(["y": y.T, "x": x], to: folder.path("dictionary"))
        let dictionary: [String: Tensor] = try load(folder.path("dictionary"))
        #expect(Set(dictionary.keys) == ["x", "y"] && dictionary["y"]?.shape == [3, 2])
        #expect(dictionary["y"]?.strides == [1, 3])

        let tree: StateTree = ["step": 7, "x": try x.stateTree(), "deep": [["y": try y.stateTree()], "text"]]
        try save(tree, metadata: ["note": "mine"], to: folder.path("tree"))
        let loaded: StateTree = try load(folder.path("tree"))
        #expect(loaded["step"]?.int == 7 && loaded["deep"]?[1]?.string == "text")
        #expect(loaded["deep"]?[0]?["y"]?.tensor?.shape == [2, 3])
        #expect(try Checkpoint.open(folder.path("tree")).metadata["note"]?.string == "mine")
    }

    @Test("of every dtype and shape come back bit by bit, from containers of both versions and from safetensors")
    func dtypes() throws {
        let generator = Generator(seed: 4)
        var tensors: [String: Tensor] = [:]
        for dtype in [DType.f64, .f32, .f16, .bf16] {
            for shape in [[], [0], [1], [3, 0, 2], [17], [5, 7, 2]] {
                tensors["\(dtype)\(shape)"] = .randn(shape, dtype: dtype, generator: generator)
            }
        }
        for dtype in [DType.i64, .i32, .i16, .i8, .u8, .bool] {
            tensors["\(dtype)"] = try .randint(0..<2, [33], generator: generator).to(dtype)
        }
        let kinds: [(String, SaveOptions)] = [
            ("2", .replacing), ("none", SaveOptions(compression: .none)), ("s.safetensors", .replacing),
            ("1", SaveOptions(formatVersion: FormatVersion(1, 0))),
        ]
        for (name, options) in kinds {
            try save(tensors, to: folder.path(name), options: options)
            let loaded: [String: Tensor] = try load(folder.path(name))
            #expect(loaded.count == tensors.count)
            for (key, tensor) in tensors {
                let found = try #require(loaded[key])
                #expect(found.dtype == tensor.dtype && found.shape == tensor.shape, "\(name) \(key)")
                let equal = try found.elements(as: Double.self) == tensor.elements(as: Double.self)
                #expect(equal, "\(name) \(key)")
            }
        }
    }

    @Test("that are something else than what is asked for give an error that says what is there")
    func otherContents() throws {
        try save([Tensor.zeros(2), .ones(3)], to: folder.path("list"))
        try save(Tensor.zeros(2, 2), to: folder.path("tensor"))
        try save(["a": [1, "x"]] as StateTree, to: folder.path("tree"))
        func message(_ body: () throws -> Void) -> String {
            do { try body() } catch { return "\(error)" }
            return ""
        }
        #expect(
            message { let _: Tensor = try load(folder.path("list")) }.hasSuffix(
                "list: holds a list of 2 tensors, not one tensor"))
        #expect(
            message { let _: [Tensor] = try load(folder.path("tensor")) }.hasSuffix(
                "holds one tensor, F32 [2, 2], not a list of tensors"))
        #expect(
            message { let _: [Tensor] = try load(folder.path("tree")) }.contains(
                "holds a dictionary of 1 entries, \"a\""))
        #expect(message { let _: StateDict = try load(folder.path("tree")) }.contains("\"a.0\", which is no tensor"))
        #expect(code { let _: [String: Tensor] = try load(folder.path("list")) } == "unexpected-contents")
        #expect(code { let _: StateDict = try load(folder.path("tensor")) } == "unexpected-contents")
        #expect(code { let _: Tensor = try load(folder.path("nothing")) } == "system")
        try Data("hello".utf8).write(to: folder.url.appendingPathComponent("text"))
        #expect(code { let _: Tensor = try load(folder.path("text")) } == "unknown-format")
    }

    @Test("are written in the format that the name's ending means, and loaded from all of them")
    func foreignFormats() throws {
        let (weight, bias) = (Tensor.ones(3, 2), Tensor.zeros(2))
        for name in ["x.pt", "x.bin", "x.npz", "x.gguf", "x.safetensors", "x.nnck"] {
            let path = folder.path(name)
            try save(["weight": weight, "bias": bias], to: path)
            let loaded: [String: Tensor] = try load(path)
            #expect(loaded.count == 2 && loaded["weight"]?.shape == [3, 2] && loaded["bias"]?.shape == [2], "\(name)")
            #expect(try #require(loaded["weight"]).sum().item() == 6)
        }
        let alone = folder.path("x.npy")
        try save(weight, to: alone)
        #expect(try load(alone).shape == [3, 2])
        #expect(code { try save([weight, bias], to: alone) } == "cannot-hold")
        let net = Sequential(Linear(2, 2), Linear(2, 2))
        let tied = net.stateDict()
        let path = folder.path("net.pt")
        try save(tied, to: path)
        let other = Sequential(Linear(2, 2), Linear(2, 2))
        try other.load(from: path)
        let difference = try (#require(other.stateDict()["0.weight"]) - #require(net.stateDict()["0.weight"])).abs()
        #expect(try difference.sum().item() == 0)
    }

    @Test("replace a file as a whole, unless that is refused, and are no containers under a foreign ending")
    func destinations() throws {
        let path = folder.path("x.nnck")
        try save(Tensor.zeros(1), to: path)
        try save(Tensor.ones(3), to: path)
        #expect(try load(path).shape == [3])
        #expect(code { try save(Tensor.zeros(1), to: path, options: SaveOptions()) } == "destination-exists")
        for name in ["x.h5", "x.PKL", "x.onnx", "x.zip"] {
            #expect(code { try save(Tensor.zeros(1), to: folder.path(name)) } == "unwritable-format", "\(name)")
        }
        // What a format can't hold is not left out without a word.
        #expect(
            code {
                try save(
                    ["step": 1, "x": try Tensor.zeros(1).stateTree()] as StateTree, to: folder.path("a.safetensors"))
            } == "cannot-hold")
        #expect(folder.names == ["x.nnck"])
    }

    @Test("are not loaded beyond the memory that the caller allows")
    func limits() throws {
        try save(Tensor.zeros(1 << 20), to: folder.path("zeros"))
        var options = LoadOptions()
        options.limits.maximumBytesInMemory = 1 << 20
        #expect(code { let _: Tensor = try load(folder.path("zeros"), options: options) } == "limit-exceeded")
        #expect(code { let _: StateTree = try load(folder.path("zeros"), options: options) } == "limit-exceeded")
    }
}
