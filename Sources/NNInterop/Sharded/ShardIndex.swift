import NNStore

/// What an index of shards says: `model.safetensors.index.json` and `pytorch_model.bin.index.json`, as Hugging Face's libraries
/// write them. Every rule about it is here.
struct ShardIndex {
    /// Which shard has a tensor, by the tensors' names in the order of the index.
    let shards: [(name: String, shard: String)]
    /// The index's `metadata`.
    let metadata: StateDictionary

    /// No index is larger.
    private static let maximumSize = 100_000_000

    /// Whether a file may be such an index, by its first bytes: a JSON object.
    static func looksLikeJSON(_ start: [UInt8]) -> Bool {
        start.first { ![0x20, 0x09, 0x0a, 0x0d].contains($0) } == UInt8(ascii: "{")
    }

    init(_ source: any ByteSource, _ version: SourceVersion) throws {
        let file = source.name
        guard version.byteCount <= ShardIndex.maximumSize else {
            throw InteropError.limitExceeded(
                file: file, what: "the size of an index, in bytes,", limit: ShardIndex.maximumSize,
                found: "\(version.byteCount)")
        }
        let bytes = try source.bytes(0..<version.byteCount, of: version)
        guard case .object(let members) = try JSONValue.parse(bytes, name: file),
            let map = members.first(where: { $0.key == "weight_map" })?.value
        else {
            throw InteropError.unknownFormat(
                file: file, found: "it is JSON, but no index of shards: it has no \"weight_map\"")
        }
        guard case .object(let entries) = map else {
            throw InteropError.invalidShards(file: file, problem: "\"weight_map\" is \(map.kind), not an object")
        }
        shards = try entries.map { entry in
            guard case .string(let shard) = entry.value else {
                throw InteropError.invalidShards(
                    file: file, problem: "the shard of \(quoted(entry.key)) is \(entry.value.kind), not a string")
            }
            // The shards stand beside the index; a path could lead anywhere.
            guard !shard.isEmpty, shard != ".", shard != "..", !shard.utf8.contains(0),
                !shard.utf8.contains(UInt8(ascii: "/")), !shard.utf8.contains(UInt8(ascii: "\\"))
            else {
                throw InteropError.invalidShards(
                    file: file,
                    problem:
                        "the shard of \(quoted(entry.key)) is called \(quoted(shard)), which is no name of a file beside it"
                )
            }
            return (entry.key, shard)
        }
        switch members.first(where: { $0.key == "metadata" })?.value {
        case .object(let notes)?: metadata = StateDictionary(notes.map { ($0.key, $0.value.stateTree) })
        case nil, .null?: metadata = StateDictionary()
        case let other?:
            throw InteropError.invalidShards(file: file, problem: "\"metadata\" is \(other.kind), not an object")
        }
    }

    /// The names of the shards, in the order of their first tensors.
    var shardNames: [String] {
        var seen: Set<StateKey> = []
        return shards.compactMap { seen.insert(.text($0.shard)).inserted ? $0.shard : nil }
    }
}

extension JSONValue {
    /// The nearest tree of plain values.
    fileprivate var stateTree: StateTree {
        switch self {
        case .null: .null
        case .bool(let value): .boolean(value)
        case .number(let number):
            if let integer = number.integer { .integer(integer) } else { .double(number.double ?? .nan) }
        case .string(let text): .string(text)
        case .array(let elements): .list(elements.map(\.stateTree))
        case .object(let members): .dictionary(StateDictionary(members.map { ($0.key, $0.value.stateTree) }))
        }
    }
}
