import NNStore

/// A safetensors file that is about to be written.
struct SafetensorsExport: FileExport {
    let report: ExportReport
    private let header: SafetensorsHeader
    private let headerBytes: [UInt8]
    private let tensors: [StateTensor]
    private let options: ExportOptions

    init(
        _ state: StateTree, metadata: StateTree, file: String, _ options: ExportOptions
    ) throws {
        self.options = options
        var entries = try SafetensorsEntries(state, file: file)
        try entries.flat.checkDataSize(limit: options.maximumDataSize)
        let notes = try entries.notes(of: metadata)
        let groups = try entries.aliasGroups()
        try entries.flat.checkSharing(options.aliases)
        if options.isStrict, !entries.flat.report.isEmpty {
            throw InteropError.cannotHold(file: file, format: "safetensors", entries: entries.flat.report.lines)
        }
        report = entries.flat.report
        tensors = entries.flat.tensors.map(\.tensor)
        let usual = try SafetensorsHeader(
            arranging: entries.flat.tensors.map { ($0.name, $0.tensor.layout) }, metadata: notes, aliases: groups,
            file: file
        )
        if let original = options.sourceFacts[SafetensorsFile.headerFact],
            let parsed = usual.equivalent(original, aliases: groups, file: file)
        {
            header = parsed
            headerBytes = original
        } else {
            header = usual
            headerBytes = usual.encoded()
        }
        guard headerBytes.count <= SafetensorsHeader.maximumSize else {
            throw InteropError.limitExceeded(
                file: file, what: "the size of a safetensors header, in bytes,", limit: SafetensorsHeader.maximumSize,
                found: "\(headerBytes.count)")
        }
    }

    func write(to output: BufferedOutput) throws {
        var length: [UInt8] = []
        length.append(littleEndian: UInt64(headerBytes.count))
        try output.append(length)
        try output.append(headerBytes)
        let total = header.dataSize
        var done = 0
        let spans = header.entries.map(\.span)
        // Of tensors that begin at one place, all but the last are empty.
        for number in spans.indices.sorted(by: { spans[$0].lowerBound < spans[$1].lowerBound }) {
            let tensor = tensors[number]
            // One that is not contiguous would draw all of its storage into memory.
            try (tensor.layout.isContiguous ? tensor : tensor.loadedAlone()).forEachPiece { piece in
                try options.cancellation?.check()
                try output.append(piece)
                done += piece.byteCount
                options.progress?(done, total)
            }
        }
        try output.finish(options.existing)
    }
}

extension SafetensorsHeader {
    /// `original` as a header, if it is valid and describes the same tensors, metadata and sharing as this one.
    fileprivate func equivalent(_ original: [UInt8], aliases: [AliasGroup], file: String) -> SafetensorsHeader? {
        guard original.count <= SafetensorsHeader.maximumSize,
            let header = try? SafetensorsValidation(file: file).header(original, dataSize: dataSize),
            let noted = try? header.aliasGroups(file: file) ?? [],
            let groups = try? AliasGroup.normalised(noted)
        else { return nil }
        let isSame =
            header.entries.elementsEqual(entries) {
                $0.name.utf8.elementsEqual($1.name.utf8) && $0.layout.dtype == $1.layout.dtype
                    && $0.layout.shape == $1.layout.shape
            }
            && header.keptMetadata == keptMetadata
            && groups == aliases
        return isSame ? header : nil
    }
}
