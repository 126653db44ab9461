import NNStore
import SystemPackage

/// Writes a checkpoint as several files with an index, as Hugging Face's libraries read them.
public enum ShardedExport {
    /// The formats that shards can have.
    public enum Format: Sendable, Hashable {
        /// Safetensors files.
        case safetensors
        /// PyTorch files.
        case pytorch
    }

    /// Saves a tree as shards of at most `maximumShardSize` bytes of tensors each, and an index.
    ///
    /// For `model.safetensors` the files are called `model-00001-of-00003.safetensors` and so on, and the index
    /// `model.safetensors.index.json`. Tensors stay in order; those that share memory stay together; one that is larger than a
    /// shard gets one of its own. If one shard is enough, it is the file `path`, without an index. All files
    /// are written whole before the first one takes its place: until then whatever was there is as it was. Then an old index is
    /// removed first and the new one comes last, while no other save to the folder does the same: whoever dies between leaves
    /// no index, rather than one that names old and new shards. If one can't take its place after others have, those that were
    /// not there before are removed.
    ///
    /// - Parameters:
    ///   - state: what to save: its tensors by their flat names.
    ///   - metadata: a dictionary without tensors.
    ///   - path: the path that the file would have if it were one.
    ///   - maximumShardSize: in bytes.
    /// - Returns: what could not be written as it was.
    /// - Throws: what writing one file throws; ``NNStore/StoreError/destinationExists(path:)``.
    @discardableResult
    public static func save(
        _ state: StateTree, metadata: StateTree = [:], to path: String, as format: Format, maximumShardSize: Int,
        options: ExportOptions = ExportOptions()
    ) throws -> ExportReport {
        guard maximumShardSize > 0 else {
            throw StoreError.invalidArgument(reason: "shards of at most \(maximumShardSize) bytes are impossible")
        }
        let all = try FlatEntries(state, file: path, FlatEntries.Rules(format: "a shard", accepts: { _ in true }))
        let shards = divide(all, maximumShardSize)
        if shards.count <= 1 { return try format.save(state, metadata, to: path, options) }
        if options.isStrict, !all.report.isEmpty {
            throw InteropError.cannotHold(file: path, format: "a sharded model", entries: all.report.lines)
        }

        let names = (1...shards.count).map { name(of: path, $0, of: shards.count) }
        let index = path + ".index.json"
        for file in names + [index] where options.existing == .refuse {
            if try SystemCall.status(file) != nil { throw StoreError.destinationExists(path: file) }
        }
        var report = all.report
        let files = PendingFiles(options)
        let total = all.tensors.reduce(0) { saturating($0, $1.tensor.layout.byteCount) }
        var done = 0
        for (numbers, file) in zip(shards, names) {
            let entries = StateDictionary(numbers.map { (all.tensors[$0].name, .tensor(all.tensors[$0].tensor)) })
            let start = done
            var own = options
            if let progress = options.progress { own.progress = { done, _ in progress(start + done, total) } }
            let part = try format.save(.dictionary(entries), metadata, to: files.sink(for: file), own)
            for line in part.converted where !report.converted.contains(line) { report.converted.append(line) }
            for line in part.dropped where !report.dropped.contains(line) { report.dropped.append(line) }
            done += numbers.reduce(0) { $0 + all.tensors[$1].tensor.layout.byteCount }
        }
        try write(files.sink(for: index), names, shards, all, total: total)
        try files.finish()
        return report
    }

    /// `model-00002-of-00003.safetensors`
    private static func name(of path: String, _ number: Int, of count: Int) -> String {
        let file = FilePath(path)
        func digits(_ value: Int) -> String {
            let text = String(value)
            return String(repeating: "0", count: max(0, 5 - text.count)) + text
        }
        let stem = file.stem ?? "model"
        let ending = file.extension.map { "." + $0 } ?? ""
        let name = "\(stem)-\(digits(number))-of-\(digits(count))\(ending)"
        return file.removingLastComponent().appending(name).string
    }

    /// The numbers of the tensors of each shard.
    private static func divide(_ all: FlatEntries, _ maximumSize: Int) -> [[Int]] {
        // Tensors that share memory go where the first of them goes.
        var group: [Int: [Int]] = [:]
        var followers: Set<Int> = []
        for numbers in all.shared {
            group[numbers[0]] = numbers
            followers.formUnion(numbers.dropFirst())
        }
        var shards: [[Int]] = []
        var size = 0
        for number in all.tensors.indices where !followers.contains(number) {
            let members = group[number] ?? [number]
            let own = members.reduce(0) { saturating($0, all.tensors[$1].tensor.layout.byteCount) }
            if shards.isEmpty || !shards[shards.count - 1].isEmpty && saturating(size, own) > maximumSize {
                shards.append([])
                size = 0
            }
            shards[shards.count - 1] += members
            size = saturating(size, own)
        }
        return shards.map { $0.sorted() }
    }

    private static func write(
        _ sink: any ByteSink, _ names: [String], _ shards: [[Int]], _ all: FlatEntries, total: Int
    ) throws {
        var shard = [String](repeating: "", count: all.tensors.count)
        for (numbers, file) in zip(shards, names) {
            for number in numbers { shard[number] = FilePath(file).lastComponent?.string ?? file }
        }
        let map = all.tensors.enumerated().map { JSONMember($0.element.name, .string(shard[$0.offset])) }
        var writer = JSONWriter(isPretty: true)
        writer.append(
            .object([
                JSONMember("metadata", .object(["total_size": .integer(total)])),
                JSONMember("weight_map", .object(map)),
            ]))
        let output = BufferedOutput(sink)
        try output.append(writer.bytes + [0x0a])
        try output.finish(.refuse)
    }
}

extension ShardedExport.Format {
    fileprivate func save(
        _ state: StateTree, _ metadata: StateTree, to path: String, _ options: ExportOptions
    ) throws -> ExportReport {
        switch self {
        case .safetensors: try Safetensors.save(state, metadata: metadata, to: path, options: options)
        case .pytorch: try PyTorch.save(state, metadata: metadata, to: path, options: options)
        }
    }

    fileprivate func save(
        _ state: StateTree, _ metadata: StateTree, to sink: any ByteSink, _ options: ExportOptions
    ) throws -> ExportReport {
        switch self {
        case .safetensors: try Safetensors.save(state, metadata: metadata, to: sink, options: options)
        case .pytorch: try PyTorch.save(state, metadata: metadata, to: sink, options: options)
        }
    }
}
