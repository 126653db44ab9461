import NNStore

/// A GGUF file that is about to be written.
struct GGUFExport: FileExport {
    private(set) var report: ExportReport
    private let header: GGUFHeader
    private let headerBytes: [UInt8]
    private let tensors: [StateTensor]
    private let end: [UInt8]
    private let options: ExportOptions

    init(_ state: StateTree, metadata: StateTree, file: String, _ options: ExportOptions) throws {
        self.options = options
        var entries = try FlatEntries(
            state, file: file,
            FlatEntries.Rules(format: "GGUF", accepts: { GGUFTensorType.number(of: $0) != nil }))
        try entries.checkDataSize(limit: options.maximumDataSize)
        try entries.checkSharing(options.aliases)
        entries.reportShared()
        guard case .dictionary(let notes) = metadata, metadata.tensors.isEmpty else {
            throw InteropError.invalidTree(path: "", reason: "metadata has to be a dictionary without tensors")
        }
        var usual = GGUFHeader()
        for (key, value) in notes.withoutLibraryEntries {
            guard let name = key.text, !name.isEmpty, let typed = value.ggufValue else {
                entries.report.dropped.append("metadata \(quoted(key.description)): \(value.plainKind)")
                continue
            }
            usual.metadata[name] = typed.value
            if typed.isConverted {
                entries.report.converted.append(
                    "metadata \(quoted(name)): \(value.plainKind) became \(typed.value.plainKind)")
            }
        }
        if !ModuleVersions.read(from: metadata).isEmpty {
            entries.report.dropped.append("metadata: types and versions of modules")
        }
        if let value = usual.metadata[GGUFHeader.alignmentKey] {
            guard let alignment = GGUFHeader.alignment(value) else {
                throw InteropError.cannotHold(
                    file: file, format: "GGUF",
                    entries: ["metadata \(quoted(GGUFHeader.alignmentKey)): no power of two as U32"])
            }
            usual.alignment = alignment
        }
        var end = 0
        for (name, tensor) in entries.tensors {
            let layout = try TensorLayout(tensor.dtype, shape: tensor.shape)
            guard name.utf8.count < GGUFHeader.maximumNameSize, tensor.layout.rank <= GGUFHeader.maximumRank,
                (tensor.shape.last ?? 1) % tensor.dtype.elementsPerBlock == 0
            else {
                throw InteropError.cannotHold(
                    file: file, format: "GGUF",
                    entries: [
                        "\(quoted(name)): names have at most 63 bytes, tensors 4 dimensions and whole blocks in rows"
                    ])
            }
            usual.tensors.append(GGUFHeader.Tensor(name: name, layout: layout, offset: end))
            end = usual.padded(end + layout.byteCount)
        }
        tensors = entries.tensors.map(\.tensor)
        report = entries.report
        if options.isStrict, !report.isEmpty {
            throw InteropError.cannotHold(file: file, format: "GGUF", entries: report.lines)
        }
        let usualBytes = try usual.encoded(file: file)
        if let original = options.sourceFacts[GGUFFile.headerFact],
            let parsed = GGUFExport.equivalent(original, to: usualBytes, file: file)
        {
            header = parsed
            headerBytes = original
        } else {
            if let original = options.sourceFacts[GGUFFile.headerFact], original.count > 8,
                original[6] | original[7] != 0,
                tensors.contains(where: { $0.dtype.elementsPerBlock > 1 })
            {
                throw InteropError.unsupported(
                    file: file, what: "quantised tensors of a big-endian file with changes",
                    advice: "export them unchanged")
            }
            header = usual
            headerBytes = usualBytes
        }
        let last = header.tensors.last.map { $0.offset + $0.layout.byteCount } ?? 0
        self.end = options.sourceFacts[GGUFFile.endFact] ?? [UInt8](repeating: 0, count: header.dataSize - last)
    }

    /// `original` as a header, if it describes the same tensors and metadata as `usual`.
    private static func equivalent(_ original: [UInt8], to usual: [UInt8], file: String) -> GGUFHeader? {
        var reader = GGUFHeaderReader(
            MemorySource(original, name: file), SourceVersion(byteCount: original.count), limits: ReadLimits())
        guard let (parsed, dataOffset) = try? reader.read(checksData: false), dataOffset >= original.count else {
            return nil
        }
        var plain = GGUFHeader()
        plain.alignment = parsed.alignment
        plain.metadata = parsed.metadata.withoutLibraryEntries
        plain.tensors = parsed.tensors
        return (try? plain.encoded(file: file)) == usual ? parsed : nil
    }

    func write(to output: BufferedOutput) throws {
        try output.append(headerBytes)
        let total = header.dataSize
        var done = 0
        for (tensor, place) in zip(tensors, header.tensors) {
            try output.pad(to: headerBytes.count + place.offset)
            var written = tensor.layout.isContiguous ? tensor : try tensor.loadedAlone()
            if header.isBigEndian {
                let own = try StateTree.tensor(written).withoutSharing().tensor ?? written
                let backing = GGUFFile.swapped(StorageOfTensor(storage: own.storage), own.dtype)
                written = try StateTensor(storage: Storage(backing: backing), layout: own.layout)
            }
            try written.forEachPiece { piece in
                try options.cancellation?.check()
                try output.append(piece)
                done += piece.byteCount
                options.progress?(done, total)
            }
        }
        try output.append(end)
        try output.finish(options.existing)
    }
}

/// A storage as the bytes of another one.
private struct StorageOfTensor: StorageBacking {
    let storage: Storage

    var byteCount: Int { storage.byteCount }

    func read(_ range: Range<Int>, into destination: inout MutableRawSpan) throws {
        try storage.read(range, into: &destination)
    }
}

extension StateTree {
    /// The value as GGUF has it, and whether that is another than it was; nothing if it has none.
    fileprivate var ggufValue: (value: StateTree, isConverted: Bool)? {
        switch self {
        case .boolean, .string, .bytes, .strings: return (self, false)
        case .scalar(let value): return GGUFValueType(value.dtype) == nil ? nil : (self, false)
        case .array(let values): return GGUFValueType(values.dtype) == nil ? nil : (self, false)
        case .integer, .double:
            guard let value = number else { return nil }
            return (.scalar(value), true)
        case .list(let elements, tag: GGUFHeader.textsTag):
            return elements.allSatisfy({ $0.isText }) ? (self, false) : nil
        case .list(let elements, _), .tuple(let elements, _):
            let texts = elements.compactMap(\.string)
            if texts.count == elements.count, !texts.isEmpty { return (.strings(texts), true) }
            let numbers = elements.compactMap(\.number)
            guard let first = numbers.first, numbers.count == elements.count,
                numbers.allSatisfy({ $0.dtype == first.dtype }),
                let values = try? TypedValue(first.dtype, bytes: numbers.flatMap(\.bytes))
            else { return nil }
            return (.array(values), true)
        default: return nil
        }
    }

    private var isText: Bool {
        switch self {
        case .string, .bytes: true
        default: false
        }
    }

    /// A plain number as one of a dtype.
    private var number: TypedValue? {
        var bytes: [UInt8] = []
        switch self {
        case .boolean(let value): return try? TypedValue(.bool, bytes: [value ? 1 : 0])
        case .integer(let value):
            if let signed = value.int {
                bytes.append(littleEndian: Int64(signed))
                return try? TypedValue(.i64, bytes: bytes)
            }
            guard let unsigned = value.unsigned else { return nil }
            bytes.append(littleEndian: unsigned)
            return try? TypedValue(.u64, bytes: bytes)
        case .double(let value):
            bytes.append(littleEndian: value.bitPattern)
            return try? TypedValue(.f64, bytes: bytes)
        default: return nil
        }
    }
}
