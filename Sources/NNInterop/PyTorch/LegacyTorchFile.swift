import NNStore

/// The format that `torch.save` wrote before version 1.6, and writes when it is asked to: five pickles one after another (a magic
/// number, a version, facts about the machine, the values, the keys of the storages), then for each storage its number of elements
/// and its bytes. Source: torch/serialization.py (`_legacy_save`), torch/csrc/generic/serialization.cpp.
struct LegacyTorchFile {
    let graph: PickleGraph
    let expansion: PickleExpansion
    let storages: any TorchStorages

    /// What the first pickle is: 0x1950a86a20f9469cfc6c.
    private static let magic = StateInteger(twosComplement: [
        0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19,
    ])

    /// Whether a file may be of this format, by its first bytes: a pickle of the magic number.
    static func looksLegacy(_ start: [UInt8]) -> Bool {
        var input = PickleInput(Array(start.prefix(64)), name: "")
        let graph = try? PickleMachine.read(&input, limits: ReadLimits(maximumNodes: 16)) { _ in
            throw InteropError.invalidPickle(file: "", .cut(offset: 0))
        }
        guard case .integer(let number)? = graph?.root else { return false }
        return number == magic
    }

    init(_ source: any ByteSource, _ version: SourceVersion, _ options: OpenOptions) throws {
        var input = PickleInput(source, version, range: 0..<version.byteCount, name: source.name)
        func noGlobals(_ global: PickleGlobal) throws {
            throw InteropError.refusedGlobal(file: source.name, name: global.qualifiedName, offset: global.offset)
        }
        func next(_ checkGlobal: @escaping (PickleGlobal) throws -> Void) throws -> PickleGraph {
            try PickleMachine.read(&input, limits: options.limits, checkGlobal: checkGlobal)
        }
        func notTorch(_ detail: String = "") -> InteropError {
            .unsupported(
                file: source.name, what: "a pickle that torch.save did not write",
                advice: "\(detail)save what is in it with torch.save")
        }
        let first = try next { global in
            throw notTorch(
                "it asks for \(quoted(global.qualifiedName)) at byte \(global.offset), and nothing was run; ")
        }
        guard case .integer(let number) = first.root, number == LegacyTorchFile.magic else { throw notTorch() }
        guard case .integer(let formatVersion) = try next(noGlobals).root, formatVersion.int == 1001 else {
            throw InteropError.invalidPyTorch(
                file: source.name, problem: "its version is not 1001, the only one of the old format")
        }
        _ = try next(noGlobals)
        let start = input.offset
        let policy = TorchFilePolicy(options, file: source.name)
        graph = try next(policy.check)
        expansion = try PickleExpansion(
            graph, pickleSize: input.offset - start, name: source.name, options: options,
            mayReferBack: policy.mayReferBack(in: graph))
        let keys = try LegacyTorchFile.keys(try next(noGlobals), source.name)
        storages = try LegacyStorages(source, version, start: input.offset, keys: keys, graph)
    }

    private static func keys(_ graph: PickleGraph, _ file: String) throws -> [String] {
        func fail() -> InteropError { .invalidPyTorch(file: file, problem: "its list of storages is no list of texts") }
        guard case .node(let number) = graph.root, case .list = graph.nodes[number].kind else { throw fail() }
        return try graph.nodes[number].elements.map { key in
            guard let text = key.text else { throw fail() }
            return text
        }
    }
}

/// The storages behind the pickles of a legacy file.
struct LegacyStorages: TorchStorages {
    private let source: any ByteSource
    private let version: SourceVersion
    private let spans: [StateKey: Range<Int>]

    /// Whatever the machine was, they are little-endian.
    var isBigEndian: Bool { false }

    fileprivate init(
        _ source: any ByteSource, _ version: SourceVersion, start: Int, keys: [String], _ graph: PickleGraph
    ) throws {
        self.source = source
        self.version = version
        func fail(_ problem: String) -> InteropError { .invalidPyTorch(file: source.name, problem: problem) }
        // How large an element is only the pickle says.
        var sizes: [StateKey: (bytes: Int, element: Int)] = [:]
        for (index, node) in graph.nodes.enumerated() {
            guard case .persistent(let identity) = node.kind,
                let reference = try? TorchStorageReference(identity, graph, at: index, file: source.name)
            else { continue }
            let size = reference.rootByteCount
            let element = reference.element?.elementSize ?? 1
            if let known = sizes[.text(reference.key)], known.bytes != size {
                throw fail(
                    "storage \(quoted(reference.key)) has \(known.bytes) bytes in one place and \(size) in another")
            }
            if sizes[.text(reference.key)] == nil { sizes[.text(reference.key)] = (size, element) }
        }
        var spans: [StateKey: Range<Int>] = [:]
        var offset = start
        for key in keys {
            guard let size = sizes[.text(key)] else {
                throw fail("storage \(quoted(key)) belongs to nothing in the file, so that its size can't be known")
            }
            guard version.byteCount - offset >= 8 else {
                throw fail(
                    "it ends at byte \(version.byteCount), before storage \(quoted(key)) at byte \(offset); it was cut")
            }
            let count = try source.bytes(offset..<offset + 8, of: version).withRawSpan {
                $0.littleEndian(at: 0, as: Int64.self)
            }
            let (bytes, overflow) = count.multipliedReportingOverflow(by: Int64(size.element))
            guard !overflow, bytes == size.bytes else {
                throw fail(
                    "storage \(quoted(key)) at byte \(offset) is said to have \(count) elements, its tensors' pickle says \(size.bytes / size.element)"
                )
            }
            offset += 8
            guard version.byteCount - offset >= size.bytes else {
                throw fail(
                    "storage \(quoted(key)) at byte \(offset) takes \(size.bytes) bytes, \(version.byteCount - offset) are there; the file was cut"
                )
            }
            guard spans.updateValue(offset..<offset + size.bytes, forKey: .text(key)) == nil else {
                throw fail("storage \(quoted(key)) is there twice")
            }
            offset += size.bytes
        }
        guard offset == version.byteCount else {
            throw fail("\(version.byteCount - offset) bytes at byte \(offset) belong to nothing")
        }
        self.spans = spans
    }

    func backing(
        _ key: String, byteCount: Int, _ fail: (String) -> InteropError
    ) throws -> any StorageBacking {
        guard let span = spans[.text(key)] else { throw fail("storage \(quoted(key)) is not in the file") }
        guard span.count == byteCount else {
            throw fail("storage \(quoted(key)) has \(span.count) bytes, not \(byteCount)")
        }
        return FileSpan(source, version, start: span.lowerBound, byteCount: byteCount)
    }
}
