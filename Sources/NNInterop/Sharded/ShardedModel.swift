import NNStore
import SystemPackage

/// A model in several files with an index (`model.safetensors.index.json`, `pytorch_model.bin.index.json`) as one checkpoint.
///
/// The shards are opened with the index, in whatever format they are; the bytes of tensors are read when they are used. The state is
/// a dictionary from the tensors' names to the tensors: first those of the index, in its order, then what the shards have
/// beyond them.
public struct ShardedModel: CheckpointFile {
    private let index: ShardIndex
    private let shards: [(name: String, file: any CheckpointFile)]
    private let indexSize: Int
    private let first: FirstTree
    /// The path of the index.
    public let name: String

    /// Opens the index at `path` and the shards beside it.
    ///
    /// - Throws: ``InteropError`` if the index or a shard is not valid, or if a shard has not what the index says;
    ///   ``NNStore/StoreError`` if one can't be read.
    public static func open(_ path: String, options: OpenOptions = OpenOptions()) throws -> ShardedModel {
        try ShardedModel(FileSource(path: path), options)
    }

    init(_ source: FileSource, _ options: OpenOptions) throws {
        name = source.name
        indexSize = source.version.byteCount
        index = try ShardIndex(source, source.version)
        let folder = FilePath(name).removingLastComponent()
        var shards: [(name: String, file: any CheckpointFile)] = []
        for shard in index.shardNames {
            let path = folder.appending(shard).string
            guard try SystemCall.status(path)?.kind == .file else {
                throw InteropError.invalidShards(
                    file: name,
                    problem:
                        "the shard \(quoted(shard)), which has \(index.shards.count { $0.shard.utf8.elementsEqual(shard.utf8) }) of its tensors, is not there; get it as well"
                )
            }
            let file = try CheckpointFiles.open(FileSource(path: path), options, isShard: true)
            shards.append((shard, file))
        }
        self.shards = shards
        first = FirstTree(try ShardedModel.merged(index, shards, name))
    }

    /// `sharded`, followed by the shards' format.
    public var formatName: String { "sharded-\(shards.first?.file.formatName ?? "model")" }
    /// Nothing: an index has no version.
    public var formatVersion: Int? { nil }
    /// `safetensors in 3 shards`
    public var formatDescription: String {
        "\(shards.first?.file.formatDescription ?? "nothing") in \(shards.count) \(shards.count == 1 ? "shard" : "shards")"
    }
    /// Whether every shard has them.
    public var hasChecksums: Bool { shards.allSatisfy(\.file.hasChecksums) }
    /// The size of the index and all shards in bytes.
    public var byteCount: Int { shards.reduce(indexSize) { saturating($0, $1.file.byteCount) } }
    /// Known if it is for every shard: tensors of different files share nothing.
    public var sharing: Sharing {
        get throws { try shards.allSatisfy { try $0.file.sharing == .known } ? .known : .unknown }
    }
    /// Nothing: other files would be written.
    public var sourceFacts: [String: [UInt8]] { [:] }

    /// The index's metadata, and what those of the shards have beside them; of equal keys the first one's value.
    public func metadata() throws -> StateTree {
        var entries = index.metadata.withoutLibraryEntries
        var modules: [ModuleVersions.Module] = []
        for shard in shards {
            let own = try shard.file.metadata()
            modules += ModuleVersions.read(from: own)
            guard case .dictionary(let notes) = own else { continue }
            for (key, value) in notes.withoutLibraryEntries where entries[key] == nil { entries[key] = value }
        }
        var paths: Set<StateKey> = []
        ModuleVersions.write(modules.filter { paths.insert(.text($0.path)).inserted }, to: &entries)
        return .dictionary(entries)
    }

    /// The tensors by name, over storages that are read when they are used.
    public func state() throws -> StateTree { try first.take() ?? ShardedModel.merged(index, shards, name) }

    private static func merged(
        _ index: ShardIndex, _ shards: [(name: String, file: any CheckpointFile)], _ name: String
    ) throws -> StateTree {
        var found: [StateKey: (shard: String, value: StateTree)] = [:]
        var inOrder: [StateKey] = []
        for shard in shards {
            guard case .dictionary(let entries) = try shard.file.state() else {
                throw InteropError.invalidShards(
                    file: name, problem: "the shard \(quoted(shard.name)) has something else than tensors by name in it"
                )
            }
            for (key, value) in entries {
                if let other = found.updateValue((shard.name, value), forKey: key) {
                    throw InteropError.invalidShards(
                        file: name,
                        problem:
                            "\(quoted(key.description)) is both in \(quoted(other.shard)) and in \(quoted(shard.name))")
                }
                inOrder.append(key)
            }
        }
        var state = StateDictionary()
        for (tensor, shard) in index.shards {
            guard let entry = found[.text(tensor)], entry.shard.utf8.elementsEqual(shard.utf8) else {
                throw InteropError.invalidShards(
                    file: name, problem: "\(quoted(tensor)) is said to be in \(quoted(shard)), where it is not")
            }
            state[tensor] = entry.value
        }
        for key in inOrder where state[key] == nil { state[key] = found[key]?.value }
        return .dictionary(state)
    }
}

/// A folder in the place of a file: that of a sharded model has one index in it.
enum ModelFolder {
    /// The path of the index in a folder; nothing if there is none, or more than one.
    static func index(in folder: String) throws -> String? {
        let names = try SystemCall.names(in: folder)
        if names.contains(".metadata"), names.contains(where: { $0.hasSuffix(".distcp") }) {
            throw InteropError.unsupported(
                file: folder, what: "a distributed checkpoint of PyTorch",
                advice: "python -m torch.distributed.checkpoint.format_utils dcp_to_torch makes a file of it")
        }
        let indices = names.filter { name in
            WritableFormat.allCases.contains { $0.endings.contains { name.hasSuffix(".\($0).index.json") } }
        }
        return indices.count == 1 ? FilePath(folder).appending(indices[0]).string : nil
    }
}
