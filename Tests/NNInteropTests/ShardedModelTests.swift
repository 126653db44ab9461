import Foundation
import NNInterop
import NNStore
import Testing

@Suite("Sharded models are one checkpoint")
struct ShardedModelTests {
    private let folder: TemporaryFolder
    init() throws { folder = try TemporaryFolder() }

    private func model() throws -> StateTree {
        let shared = try Storage(counting(400))
        func tensor(_ storage: Storage, _ shape: [Int], offset: Int = 0) throws -> StateTree {
            .tensor(try StateTensor(storage: storage, layout: TensorLayout(.f32, shape: shape, offset: offset)))
        }
        return [
            "a": try tensor(shared, [10, 10]), "b": try tensor(Storage(counting(400)), [100]),
            "c": try tensor(Storage(counting(4)), []),
            "d": ["e": try tensor(Storage(counting(40)), [10])], "tied": try tensor(shared, [10], offset: 50),
        ]
    }

    private func compare(_ path: String) throws {
        let file = try CheckpointFiles.open(path)
        let (found, expected) = (try file.state(), try model())
        #expect(Set(found.children.map(\.key.description)) == ["a", "b", "c", "d.e", "tied"])
        for (path, tensor) in expected.tensors {
            #expect(try elements(#require(found[path.flatName]?.tensor)) == elements(tensor))
        }
        #expect(found["a"]?.tensor?.storage == found["tied"]?.tensor?.storage)
    }

    @Test(
        "shards are written and read back, those that share memory together",
        arguments: ["model.safetensors", "pytorch_model.bin"])
    func roundTrip(_ name: String) throws {
        let path = folder.path(name)
        let format: ShardedExport.Format =
            name.hasSuffix(".bin") ? .pytorch : .safetensors
        try ShardedExport.save(model(), metadata: [:], to: path, as: format, maximumShardSize: 500)
        let ending = (name as NSString).pathExtension
        let stem = (name as NSString).deletingPathExtension
        #expect(
            folder.names == [
                "\(stem)-00001-of-00002.\(ending)", "\(stem)-00002-of-00002.\(ending)", "\(name).index.json",
            ])
        try compare(path + ".index.json")
        try compare(folder.url.path)
        let container = folder.path("c.nnck")
        try CheckpointFiles.open(path + ".index.json").saveAsContainer(to: container)
        try compare(container)
        #expect(try CheckpointFiles.open(path + ".index.json").metadata()["total_size"]?.int == 884)
        #expect(throws: StoreError.self) {
            try ShardedExport.save(model(), metadata: [:], to: path, as: format, maximumShardSize: 500)
        }
    }

    @Test("what fits one shard is one file without an index; what can't be written leaves nothing")
    func whole() throws {
        try ShardedExport.save(
            model(), to: folder.path("m.safetensors"), as: .safetensors, maximumShardSize: 1 << 20
        )
        #expect(folder.names == ["m.safetensors"])
        let bad: StateTree = [
            "a": .tensor(try StateTensor(storage: Storage(counting(8)), layout: TensorLayout(.f32, shape: [2]))),
            "b": .tensor(try StateTensor(storage: Storage(counting(16)), layout: TensorLayout(.c128, shape: [1]))),
        ]
        #expect(throws: InteropError.self) {
            try ShardedExport.save(
                bad, to: folder.path("n.safetensors"), as: .safetensors, maximumShardSize: 8)
        }
        #expect(folder.names == ["m.safetensors"])
    }

    private func code(_ index: String) throws -> String {
        let path = try folder.file("model.safetensors.index.json", Array(index.utf8))
        do {
            _ = try CheckpointFiles.open(path)
            return "none"
        } catch let error as InteropError {
            return error.code
        }
    }

    @Test("an index that does not fit itself or its shards is refused")
    func rules() throws {
        func shard(_ name: String, _ tensors: String...) throws {
            let state = StateDictionary(
                try tensors.map {
                    (
                        $0,
                        .tensor(try StateTensor(storage: Storage(counting(4)), layout: TensorLayout(.f32, shape: [1])))
                    )
                })
            try Safetensors.save(.dictionary(state), to: folder.path(name))
        }
        try shard("1.safetensors", "a", "b")
        try shard("2.safetensors", "c")
        try shard("3.safetensors", "a")
        #expect(try code(#"{"weight_map": {"a": "1.safetensors", "c": "2.safetensors"}}"#) == "none")
        #expect(
            try CheckpointFiles.open(folder.path("model.safetensors.index.json")).state().children.map(\.key) == [
                "a", "c", "b",
            ])
        #expect(try code(#"{"weight_map": {"a": "2.safetensors", "c": "2.safetensors"}}"#) == "invalid-shards")
        #expect(try code(#"{"weight_map": {"z": "1.safetensors"}}"#) == "invalid-shards")
        #expect(try code(#"{"weight_map": {"a": "1.safetensors", "q": "3.safetensors"}}"#) == "invalid-shards")
        #expect(try code(#"{"weight_map": {"a": "9.safetensors"}}"#) == "invalid-shards")
        for name in ["../1.safetensors", "/etc/passwd", "a/b", "..", ".", "", "a\\\\b", "a\\u0000"] {
            #expect(try code(#"{"weight_map": {"a": "\#(name)"}}"#) == "invalid-shards", "\(name)")
        }
        #expect(try code(#"{"weight_map": {"a": "model.safetensors.index.json"}}"#) != "none")
        #expect(try code(#"{"weight_map": {"a": 1}}"#) == "invalid-shards")
        #expect(try code(#"{"weight_map": []}"#) == "invalid-shards")
        #expect(try code(#"{"weight_map": {}, "metadata": 1}"#) == "invalid-shards")
        #expect(try code(#"{"weight_map": {"a": "1.safetensors", "a": "1.safetensors"}}"#) == "duplicate-key")
        #expect(try code(#"{"other": 1}"#) == "unknown-format")
        #expect(
            try code(String(repeating: "{\"a\":", count: 5000)) == "invalid-json"
                || code(String(repeating: "{\"a\":", count: 5000)) == "limit-exceeded")
    }
}
