import GoldenCases
import Foundation
import NNInterop
import NNStore
import NNTensor
import Testing

private func bits(_ net: Module) throws -> [[Double]] {
    try net.stateDict().entries.map { try #require($0.tensor).elements(as: Double.self) }
}

/// A model that is tied, as ``TiedLM`` is, or not.
private final class MaybeTied: Module {
    let emb = Embedding(6, 4)
    let head = Linear(4, 6, bias: false)
    init(tied: Bool) {
        super.init()
        if tied { head.weight = emb.weight }
    }
}

@Suite("Saved models")
struct SavingModulesTests {
    private let folder: TemporaryFolder
    init() throws { folder = try TemporaryFolder() }

    private func mismatch(_ body: () throws -> Void) -> StateMismatch? {
        do { try body() } catch TensorError.stateMismatch(let mismatch) { return mismatch } catch {
            Issue.record("\(error)")
        }
        return nil
    }

    @Test("of PyTorch's cases calculate the same bits after loading", arguments: GoldenCase.names)
    func goldenCases(_ name: String) throws {
        let golden = try GoldenCase(name)
        let (net, x) = (try golden.model(), golden.numbers["x"]!)
        net.eval()
        let expected = try net(x).elements(as: Float.self)
        for (file, version) in [("2.nnck", FormatVersion(2, 0)), ("1.nnck", FormatVersion(1, 0))] {
            try net.save(to: folder.path(file), options: SaveOptions(existing: .replace, formatVersion: version))
            let fresh = golden.freshModel()
            let names = fresh.namedParameters().map(\.name)
            try fresh.load(from: folder.path(file))
            fresh.eval()
            #expect(try fresh(x).elements(as: Float.self) == expected)
            #expect(fresh.namedParameters().map(\.name) == names)
        }
        // The shapes of PyTorch's own file, which can't say what is tied.
        let other = golden.freshModel()
        let file = GoldenCase.folder + "/\(name).safetensors"
        try other.load(from: file, prefix: "init")
        other.eval()
        #expect(try other(x).elements(as: Float.self) == expected)
    }

    @Test("are loaded into the parameters that are there, whoever holds them, by any of the ways to say it")
    func inPlace() throws {
        let net = TiedLM()
        try save(net.stateDict(), to: folder.path("mlp.params"))
        try net.save(to: folder.path("mlp.safetensors"))
        for name in ["mlp.params", "mlp.safetensors"] {
            let clone = TiedLM()
            let (weight, optimizer) = (clone.emb.weight, SGD(clone.parameters(), learningRate: 1))
            try clone.load(folder.path(name))
            #expect(clone.emb.weight === weight && clone.head.weight === weight && weight.requiresGrad)
            #expect(try bits(clone) == bits(net))
            weight.grad = .ones(29, 12)
            try optimizer.step()
            #expect(try clone.head.weight[0, 0].item() == Double(Float(net.head.weight[0, 0].item()) - 1))
        }
        let state: StateDict = try load(folder.path("mlp.params"))
        #expect(state["emb.weight"]!.sharesStorage(with: state["head.weight"]!))
        #expect(state.modules["fc"] == .init(type: "Linear", version: 1) && state.modules[""]?.type == "TiedLM")
    }

    @Test("that do not fit are refused by one error that lists everything, and nothing is changed")
    func mismatches() throws {
        try Sequential(Linear(2, 3), Linear(3, 1)).save(to: folder.path("net.nnck"))
        let net = Sequential(Linear(2, 3), Linear(3, 2), Linear(2, 2))
        let before = try bits(net)
        let path = folder.path("net.nnck")
        let found = try #require(mismatch { try net.load(from: path) })
        #expect(found.missing == ["2.weight", "2.bias"] && found.unexpected == [])
        #expect(found.different.map(\.name) == ["1.weight", "1.bias"] && found.file == path)
        #expect(
            "\(found)".hasPrefix(
                "\(path): the file does not fit the model: \"1.weight\" is F32 [1, 3] in the file and F32 [2, 3] in the model; "
            ))
        #expect("\(found)".hasSuffix("missing: \"2.weight\", \"2.bias\""))
        #expect("\(TensorError.stateMismatch(found))".hasSuffix("a module's load(from:strict: false) takes what fits"))
        #expect(try bits(net) == before)
        #expect(try net.load(from: path, strict: false) == found)
        #expect(try bits(net)[0] != before[0] && bits(net)[2] == before[2])
    }

    @Test("whose names have something in front of them say so")
    func commonPrefix() throws {
        try Sequential(Linear(2, 3)).save(to: folder.path("net.nnck"))
        let found = try #require(mismatch { try Linear(2, 3).load(from: folder.path("net.nnck")) })
        #expect(
            "\(TensorError.stateMismatch(found))".hasSuffix(
                "The names of the file begin with \"0.\": load with prefix: \"0.\""))
        let layer = Linear(2, 3)
        for prefix in ["0", "0."] { try layer.load(from: folder.path("net.nnck"), prefix: prefix) }
    }

    @Test("disagree with a model about ties where the file can express them; equal values do where it can't")
    func sharing() throws {
        let (tied, untied) = (MaybeTied(tied: true), MaybeTied(tied: false))
        try tied.save(to: folder.path("tied.nnck"))
        try untied.save(to: folder.path("untied.nnck"))
        let names = ["emb.weight", "head.weight"]
        #expect(
            mismatch { try untied.load(from: folder.path("tied.nnck")) }?.sharing == [
                .init(model: ["emb.weight"], state: names)
            ])
        #expect(
            mismatch { try tied.load(from: folder.path("untied.nnck")) }?.sharing == [
                .init(model: names, state: ["emb.weight"])
            ])
        let told = try untied.load(from: folder.path("tied.nnck"), strict: false)
        #expect(told.sharing.count == 1)
        #expect(try bits(untied)[0] == bits(tied)[0] && bits(untied)[1] == bits(tied)[0])

        // A safetensors file without notes, as other programs write them.
        func foreign(_ name: String, _ entries: [(String, Tensor)]) throws -> String {
            let tree = StateTree.dictionary(try entries.map { ($0.0, try $0.1.stateTree()) })
            try save(tree, to: folder.path(name))
            return folder.path(name)
        }
        let weight = Tensor.randn([6, 4], generator: Generator(seed: 3))
        let equal = try foreign("equal.safetensors", [(names[0], weight), (names[1], weight.clone())])
        try tied.load(from: equal)
        #expect(try bits(tied)[0] == weight.elements(as: Double.self))
        try untied.load(from: equal)
        let different = try foreign("different.safetensors", [(names[0], weight), (names[1], weight + 1)])
        #expect(mismatch { try tied.load(from: different) }?.sharing.count == 1)
        try untied.load(from: different)
        // Transformers' files have only one of the tied names.
        let one = try foreign("one.safetensors", [(names[0], weight)])
        try tied.load(from: one)
        #expect(mismatch { try untied.load(from: one) }?.missing == ["head.weight"])
        // A container that says that it knows about ties is taken at its word.
        try save(["emb.weight": weight], to: folder.path("one.nnck"))
        #expect(mismatch { try tied.load(from: folder.path("one.nnck")) }?.missing == ["head.weight"])
    }

    private final class Views: Module {
        let weight: Parameter
        let transposed: Buffer
        let row: Buffer
        override init() {
            let memory = Tensor.randn([3, 5])
            weight = Parameter(memory)
            transposed = Buffer(memory.T)
            row = Buffer(memory[1])
        }
    }

    @Test("keep views of parameters, and take them from files that can't express them if they agree")
    func views() throws {
        let (net, clone) = (Views(), Views())
        try net.save(to: folder.path("views.nnck"))
        try clone.load(folder.path("views.nnck"))
        #expect(try bits(clone) == bits(net))
        #expect(clone.weight.sharesStorage(with: clone.row))
        let apart = try net.stateDict().entries.map { ($0.name, try $0.tensor!.clone().stateTree()) }
        try save(StateTree.dictionary(apart), to: folder.path("apart.safetensors"))
        let other = Views()
        try other.load(folder.path("apart.safetensors"))
        #expect(try bits(other) == bits(net))
        let row = try (net.row + 1).stateTree()
        try save(StateTree.dictionary(apart.dropLast() + [("row", row)]), to: folder.path("wrong.safetensors"))
        #expect(mismatch { try other.load(folder.path("wrong.safetensors")) }?.sharing.count == 1)
    }

    @Test("can be loaded in part, under other names and in another dtype, if that is asked for")
    func parts() throws {
        let whole = Sequential(Linear(2, 3), Linear(3, 1))
        try whole.save(to: folder.path("whole.nnck"))
        let path = folder.path("whole.nnck")
        let net = Sequential(Linear(2, 3), Linear(3, 1))
        let before = try bits(net)
        try net.load(from: path, options: LoadOptions(only: { $0.hasPrefix("1.") }))
        #expect(try bits(net)[..<2] == before[..<2] && bits(net)[2...] == bits(whole)[2...])
        try net[0].load(from: path, prefix: "0")
        #expect(try bits(net) == bits(whole))

        final class Named: Module {
            let first = Linear(2, 3)
            let second = Linear(3, 1)
        }
        let named = Named()
        try named.load(from: path) { $0.replacing("0.", with: "first.").replacing("1.", with: "second.") }
        #expect(try bits(named) == bits(whole))
        let told = try named.load(from: path, strict: false) { $0.hasPrefix("0.") ? "first." + $0.dropFirst(2) : nil }
        #expect(told.missing == ["second.weight", "second.bias"] && told.unexpected == [])
        #expect(throws: TensorError.self) { try named.load(from: path) { _ in "first.weight" } }

        let half = Sequential(Linear(2, 3, dtype: .f16), Linear(3, 1, dtype: .f16))
        #expect(mismatch { try half.load(from: path) }?.different.count == 4)
        try half.load(from: path, options: LoadOptions(convertsDTypes: true))
        #expect(half.parameters().allSatisfy { $0.dtype == .f16 })
        for (found, expected) in zip(try bits(half).joined(), try bits(whole).joined()) {
            #expect(found == Double(Float16(expected)))
        }
    }

    @Test("give lazy layers their shapes, and keep what has no value without one")
    func lazy() throws {
        let lazy = Sequential(LazyLinear(3), LazyConv2d(2, kernelSize: 1))
        try lazy.save(to: folder.path("lazy.nnck"))
        let other = Sequential(LazyLinear(3), LazyConv2d(2, kernelSize: 1))
        try other.load(folder.path("lazy.nnck"))
        #expect(other.stateDict().entries.allSatisfy { $0.tensor == nil })
        let full = Sequential(Linear(4, 3), Conv2d(5, 2, kernelSize: 1))
        try full.save(to: folder.path("full.nnck"))
        try other.load(folder.path("full.nnck"))
        #expect(try bits(other) == bits(full) && "\(other)" == "\(full)")
    }

    @Test("that are damaged name what may have changed; checked first, they change nothing")
    func damage() throws {
        let net = Sequential(Linear(300, 300), Linear(300, 300))
        try net.save(to: folder.path("net.nnck"), options: SaveOptions(compression: .none))
        var offset = 0
        _ = try Checkpoint.open(folder.path("net.nnck")).query(
            "SELECT c.offset FROM chunk c JOIN node n ON n.storage = c.storage WHERE n.key = '1.weight'"
        ) { row in if case .integer(let found)? = row["offset"] { offset = found } }
        try #require(offset > 0)
        try folder.flip("net.nnck", at: offset + 100)
        let clone = Sequential(Linear(300, 300), Linear(300, 300))
        let before = try bits(clone)
        let first = LoadOptions(verifiesFirst: true)
        do {
            try clone.load(from: folder.path("net.nnck"), options: first)
            Issue.record("damage was not found")
        } catch StoreError.damaged(_, let problem) {
            #expect(problem.message.contains("1.weight"))
        }
        #expect(try bits(clone) == before)
        do {
            try clone.load(from: folder.path("net.nnck"))
            Issue.record("damage was not found")
        } catch TensorError.partlyLoaded(let file, let changed, let reason) {
            #expect(file == folder.path("net.nnck") && reason.contains("1.weight"))
            let after = try bits(clone)
            for (place, name) in ["0.weight", "0.bias", "1.weight", "1.bias"].enumerated() where !changed.contains(name)
            {
                #expect(after[place] == before[place], "\(name)")
            }
            #expect(changed.contains("1.weight"))
        }
        // Of a lazy layer nothing is there until all is there.
        let lazy = Sequential(LazyLinear(300), LazyLinear(300))
        #expect(throws: StoreError.self) { try lazy.load(from: folder.path("net.nnck")) }
        #expect(lazy.parameters().allSatisfy { !$0.isInitialized })
    }
}
