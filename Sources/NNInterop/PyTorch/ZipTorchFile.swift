import NNStore

/// The format that `torch.save` writes since version 1.6: a zip archive with a pickle and a record for each storage.
/// Source: caffe2/serialize/inline_container.cc, torch/serialization.py (`_save`).
struct ZipTorchFile {
    let graph: PickleGraph
    let expansion: PickleExpansion
    let storages: any TorchStorages
    /// What messages call the pickle.
    let pickleName: String
    /// Whether it is a TorchScript program.
    let isScript: Bool

    /// Records that only PyTorch's archives have; one whose pickle is missing is one all the same.
    private static let marks = ["data.pkl", "archive_format", "byteorder", "version", ".data/serialization_id"]

    /// Whether an archive is PyTorch's.
    static func looksLikePyTorch(_ archive: ZipArchive) -> Bool {
        archive.entries.contains { entry in marks.contains { entry.name == $0 || entry.name.hasSuffix("/" + $0) } }
    }

    init(_ archive: ZipArchive, _ source: any ByteSource, _ version: SourceVersion, _ options: OpenOptions) throws {
        func fail(_ problem: String) -> InteropError { .invalidPyTorch(file: source.name, problem: problem) }
        let pickles = archive.entries.filter { $0.name.hasSuffix("/data.pkl") || $0.name == "data.pkl" }
        if archive.entries.contains(where: { $0.name.hasSuffix("/archive_format") || $0.name == "archive_format" }) {
            throw InteropError.unsupported(
                file: source.name, what: "an exported program of torch.export (.pt2)",
                advice: "save the state_dict() of its module with torch.save")
        }
        // All records are in one folder, whose name is any.
        guard let pickle = pickles.first else {
            throw fail("it has no data.pkl, which has its values; saving it was not finished, or something took it out")
        }
        let folder = String(pickle.name.dropLast("data.pkl".count))
        guard pickles.count == 1 else {
            throw fail(
                "it has \(pickles.count) records called data.pkl: \(pickles.map { quoted($0.name) }.joined(separator: ", "))"
            )
        }
        // A TorchScript program has its code beside its values; of the objects it has, the attributes are read.
        isScript = archive.entry(named: folder + "constants.pkl") != nil
        pickleName = "\(source.name), \(pickle.name)"
        guard pickle.byteCount <= options.limits.maximumValueSize else {
            throw InteropError.limitExceeded(
                file: pickleName, what: "the size of a pickle, in bytes,", limit: options.limits.maximumValueSize,
                found: "\(pickle.byteCount)")
        }
        let bytes = try archive.bytes(of: pickle)
        var input = PickleInput(bytes, name: pickleName)
        let policy = TorchFilePolicy(options, file: pickleName, isScript: isScript)
        graph = try PickleMachine.read(&input, limits: options.limits, checkGlobal: policy.check)
        guard input.remaining == 0 else {
            throw InteropError.invalidPickle(file: pickleName, .trailing(offset: input.offset, count: input.remaining))
        }
        expansion = try PickleExpansion(
            graph, pickleSize: bytes.count, name: pickleName, options: options,
            mayReferBack: policy.mayReferBack(in: graph))
        var isBigEndian = false
        if let order = archive.entry(named: folder + "byteorder") {
            switch try archive.bytes(of: order) {
            case Array("little".utf8): break
            case Array("big".utf8): isBigEndian = true
            default: throw fail("its byteorder is neither \"little\" nor \"big\"")
            }
        }
        if let entry = archive.entry(named: folder + "version") ?? archive.entry(named: folder + ".data/version") {
            let text = String(decoding: try archive.bytes(of: entry).prefix(20), as: UTF8.self)
            guard let version = Int(text.prefix { $0.isNumber }), (1...10).contains(version) else {
                throw InteropError.unsupported(
                    file: source.name, what: "version \(quoted(text)) of the format",
                    advice: "versions 1 to 10 are read")
            }
        }
        storages = ZipStorages(archive: archive, folder: folder, isBigEndian: isBigEndian)
    }
}

private struct ZipStorages: TorchStorages {
    let archive: ZipArchive
    let folder: String
    let isBigEndian: Bool

    func backing(
        _ key: String, byteCount: Int, _ fail: (String) -> InteropError
    ) throws -> any StorageBacking {
        let name = "\(folder)data/\(key)"
        guard let entry = archive.entry(named: name) else {
            throw fail("its storage, the record \(quoted(name)), is not in the file")
        }
        guard entry.byteCount == byteCount else {
            throw fail("its storage has \(byteCount) bytes, the record \(quoted(name)) \(entry.byteCount)")
        }
        return archive.backing(of: entry)
    }
}
