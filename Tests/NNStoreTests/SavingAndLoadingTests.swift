import NNStore
import Testing

@Suite("Saving and loading")
struct SavingAndLoadingTests {
    @Test("a tree comes back with its values and its aliases")
    func roundTrip() throws {
        let folder = try TemporaryFolder()
        let storage = try Storage(copying: (0..<24).map { Float($0) })
        let base = try StateTensor(storage: storage, layout: TensorLayout(.f32, shape: [4, 6]))
        let transposed = try StateTensor(storage: storage, layout: TensorLayout(.f32, shape: [6, 4], strides: [1, 6]))
        let tree: StateTree = [
            "weight": .tensor(base), "view": .tensor(transposed), "step": 7, "name": "model",
            "flags": [true, nil, 1.5],
        ]
        for (compression, version) in allKinds {
            let path = folder.path("\(compression)-\(version).nnck")
            let options = SaveOptions(compression: compression, formatVersion: version)
            try Checkpoint.save(tree, metadata: ["by": "test"], to: path, options: options)
            let checkpoint = try Checkpoint.open(path)
            #expect(try checkpoint.tensors.map(\.name) == ["weight", "view"])
            let loaded = try checkpoint.readAll()
            let weight = try #require(loaded["weight"]?.tensor)
            let view = try #require(loaded["view"]?.tensor)
            #expect(weight.storage === view.storage)
            #expect(view.layout == transposed.layout)
            #expect(try weight.storage.withBytes { $0.byteCount } == 96)
            #expect(try checkpoint.verify().problems == [])
            #expect(checkpoint.version == version)
        }
    }
}
