import NNStore

/// A PyTorch file that is about to be written.
struct PyTorchExport: FileExport {
    let report: ExportReport
    private let pickle: [UInt8]
    private let plan: SavePlan
    private let options: ExportOptions

    init(_ state: StateTree, metadata: StateTree, file: String, _ options: ExportOptions) throws {
        self.options = options
        guard case .dictionary(let notes) = metadata else {
            throw InteropError.invalidTree(path: "", reason: "metadata has to be a dictionary")
        }
        plan = SavePlan(state)
        var pickler = TorchPickler(
            plan, modules: ModuleVersions.read(from: metadata), attributes: PyTorchFile.attributes(in: notes),
            file: file)
        try pickler.write(try plan.rebased(state))
        pickle = pickler.bytes
        var report = pickler.report
        for (key, value) in notes.withoutLibraryEntries where key != .text(PyTorchFile.attributesKey) {
            report.dropped.append("metadata \(quoted(key.description)): \(value.plainKind)")
        }
        self.report = report
        if options.isStrict, !report.isEmpty {
            throw InteropError.cannotHold(file: file, format: "PyTorch", entries: report.lines)
        }
    }

    func write(to output: BufferedOutput) throws {
        let archive = ZipWriter(output)
        func add(_ name: String, _ bytes: [UInt8]) throws {
            try archive.add("archive/\(name)", byteCount: bytes.count, alignment: 64) { append in
                try bytes.withRawSpan { try append($0) }
            }
        }
        // The records and their order are those of torch.save.
        try add("data.pkl", pickle)
        try add(".format_version", Array("1".utf8))
        try add(".storage_alignment", Array("64".utf8))
        try add("byteorder", Array("little".utf8))
        let ids = 1..<plan.storageCount + 1
        let total = ids.reduce(0) { saturating($0, plan.byteCount(of: $1)) }
        var done = 0
        for id in ids {
            try archive.add("archive/data/\(id - 1)", byteCount: plan.byteCount(of: id), alignment: 64) { append in
                try plan.forEachPiece(of: id) { piece in
                    try options.cancellation?.check()
                    try append(piece)
                    done += piece.byteCount
                    options.progress?(done, total)
                }
            }
        }
        try add("version", Array("3\n".utf8))
        try archive.finish()
        try output.finish(options.existing)
    }
}
