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
            let count = index.shards.count { $0.shard.utf8.elementsEqual(shard.utf8) }
            guard try SystemCall.status(path)?.kind == .file else {
                throw InteropError.invalidShards(
                    file: name,
                    problem:
                        "the shard \(quoted(shard)), which has \(count) of its tensors, is not there; get it as well")
            }
            let file = try CheckpointFiles.open(FileSource(path: path), options, isShard: true)
            shards.append((shard, file))
        }
        self.shards = shards
        _ = try state()
    }

    /// `sharded`, followed by the shards' format.
    public var formatName: String { "sharded-\(shards.first?.file.formatName ?? "model")" }
    /// Nothing: an index has no version.
    public var formatVersion: Int? { nil }
    /// `safetensors in 3 shards`
    public var formatDescription: String {
        "\(shards.first?.file.formatDescription ?? "nothing") in \(shards.count) \(shards.count == 1 ? "shard" : "shards")"
    }
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
    public func state() throws -> StateTree {
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
        for (name, shard) in index.shards {
            guard let entry = found[.text(name)], entry.shard.utf8.elementsEqual(shard.utf8) else {
                throw InteropError.invalidShards(
                    file: self.name, problem: "\(quoted(name)) is said to be in \(quoted(shard)), where it is not")
            }
            state[name] = entry.value
        }
        for key in inOrder where state[key] == nil { state[key] = found[key]?.value }
        return .dictionary(state)
    }
}

/// A folder in the place of a file: what in it is meant.
enum CheckpointFolder {
    private static let indexNames = ["model.safetensors.index.json", "pytorch_model.bin.index.json"]

    /// The path of the one checkpoint in a folder.
    static func checkpoint(in folder: String) throws -> String {
        let names = try SystemCall.names(in: folder).sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
        func path(_ name: String) -> String { FilePath(folder).appending(name).string }
        if names.contains(".metadata"), names.contains(where: { $0.hasSuffix(".distcp") }) {
            throw InteropError.unsupported(
                file: folder, what: "a distributed checkpoint of PyTorch",
                advice: "python -m torch.distributed.checkpoint.format_utils dcp_to_torch makes a file of it")
        }
        let indices = names.filter { name in indexNames.contains(name) }
        if let index = indices.first, indices.count == 1 { return path(index) }
        let known = names.filter { !$0.hasPrefix(".") && WritableFormat(ending: $0) != nil }
        if indices.isEmpty, let only = known.first, known.count == 1 { return path(only) }
        let candidates = (indices + known).prefix(8).map(quoted).joined(separator: ", ")
        throw InteropError.unknownFormat(
            file: folder,
            found: candidates.isEmpty
                ? "it is a folder without a checkpoint in it"
                : "it is a folder with several checkpoints in it; name one of them: \(candidates)")
    }
}
