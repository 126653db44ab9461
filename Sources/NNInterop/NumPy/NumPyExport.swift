import NNStore

/// A NumPy file that is about to be written.
struct NumPyExport: FileExport {
    let report: ExportReport
    private let arrays: [Array]
    private let kind: NumPy.Kind
    private let options: ExportOptions

    private struct Array {
        let name: String
        let header: [UInt8]
        /// The tensor as its elements are written: of one in Fortran's order with its dimensions reversed.
        let tensor: StateTensor
        let isWidened: Bool

        var byteCount: Int { header.count + tensor.layout.byteCount * (isWidened ? 2 : 1) }
    }

    init(
        _ state: StateTree, metadata: StateTree, file: String, _ kind: NumPy.Kind, widens: Bool,
        _ options: ExportOptions
    ) throws {
        self.kind = kind
        self.options = options
        var entries = try FlatEntries(
            state, file: file,
            FlatEntries.Rules(
                format: "NumPy", accepts: { NumPyElement.description(of: $0) != nil }, tensor: NumPyExport.array))
        try entries.checkDataSize(limit: options.maximumDataSize)
        try entries.checkSharing(options.aliases)
        entries.reportShared()
        if case .dictionary(let notes) = metadata {
            for (key, value) in notes.withoutLibraryEntries {
                entries.report.dropped.append("metadata \(quoted(key.description)): \(value.plainKind)")
            }
            if !ModuleVersions.read(from: metadata).isEmpty {
                entries.report.dropped.append("metadata: types and versions of modules")
            }
        }
        arrays = try entries.tensors.map { name, tensor in
            let widens = widens && tensor.dtype == .bf16
            if let known = NumPyExport.note(on: tensor.dtype, widens: widens) {
                entries.report.converted.append("\(name.isEmpty ? "the root" : quoted(name)): \(known)")
            }
            return try NumPyExport.array(name, tensor, widens: widens)
        }
        if kind == .array, arrays.count != 1 {
            throw InteropError.cannotHold(
                file: file, format: "an .npy file, which has one array (an .npz has many),",
                entries: arrays.prefix(20).map { quoted($0.name) })
        }
        // NumPy gives the name to the member that has it whole, and would never show the other one.
        let names = Set(arrays.map { StateKey.text($0.name) })
        if let shadowed = arrays.first(where: { names.contains(.text($0.name + ".npy")) }) {
            throw InteropError.ambiguousName(
                file: file, name: shadowed.name, paths: [quoted(shadowed.name), quoted(shadowed.name + ".npy")])
        }
        report = entries.report
        if options.isStrict, !report.isEmpty {
            throw InteropError.cannotHold(file: file, format: "NumPy", entries: report.lines)
        }
    }

    private static func note(on dtype: DType, widens: Bool) -> String? {
        if widens { return "BF16 became F32" }
        switch dtype {
        case .bf16:
            return
                "BF16 became bytes (<V2), since NumPy has no such type; in Python, array.view(ml_dtypes.bfloat16) has it"
        case .f8E4M3, .f8E5M2, .f8E4M3FNUZ, .f8E5M2FNUZ, .f8E8M0:
            return
                "\(dtype) became bytes (|V1), since NumPy has no such type; in Python, array.view(...) of a type of ml_dtypes has it"
        default: return nil
        }
    }

    /// A plain value as an array, where it is a number.
    private static func array(_ node: StateTree) throws -> StateTensor? {
        func tensor(_ dtype: DType, _ bytes: [UInt8], shape: [Int] = []) throws -> StateTensor {
            try StateTensor(storage: Storage(bytes), layout: TensorLayout(dtype, shape: shape))
        }
        switch node {
        case .boolean(let value): return try tensor(.bool, [value ? 1 : 0])
        case .integer(let value):
            guard let value = value.int else { return nil }
            return try tensor(.i64, Swift.Array(littleEndian: value))
        case .double(let value): return try tensor(.f64, Swift.Array(littleEndian: value.bitPattern))
        case .scalar(let value) where NumPyElement.description(of: value.dtype) != nil:
            return try tensor(value.dtype, value.bytes)
        case .array(let value) where NumPyElement.description(of: value.dtype) != nil:
            return try tensor(value.dtype, value.bytes, shape: [value.count])
        default: return nil
        }
    }

    private static func array(_ name: String, _ tensor: StateTensor, widens: Bool) throws -> Array {
        var written = tensor
        var isFortran = false
        if tensor.layout.rank > 1, !tensor.layout.isContiguous {
            let reversed = try TensorLayout(
                tensor.dtype, shape: tensor.shape.reversed(), strides: tensor.layout.strides.reversed(),
                offset: tensor.layout.offset)
            if reversed.isContiguous {
                isFortran = true
                written = try StateTensor(storage: tensor.storage, layout: reversed)
            }
        }
        let description = widens ? "<f4" : NumPyElement.description(of: tensor.dtype) ?? ""
        let shape = tensor.shape.map { "\($0)" }
        let text =
            "{'descr': '\(description)', 'fortran_order': \(isFortran ? "True" : "False"), "
            + "'shape': (\(shape.joined(separator: ", "))\(shape.count == 1 ? "," : "")), }"
        // The elements begin at a multiple of 64.
        let size = (10 + text.utf8.count + 1 + 63) / 64 * 64
        var header = NumPyHeader.magic + [1, 0]
        header.append(littleEndian: UInt16(size - 10))
        header += text.utf8
        header += [UInt8](repeating: 0x20, count: size - header.count - 1) + [0x0a]
        return Array(name: name, header: header, tensor: written, isWidened: widens)
    }

    func write(to output: BufferedOutput) throws {
        let total = arrays.reduce(0) { $0 + $1.byteCount }
        var done = 0
        func write(_ array: Array, _ append: (RawSpan) throws -> Void) throws {
            func add(_ bytes: RawSpan) throws {
                try options.cancellation?.check()
                try append(bytes)
                done += bytes.byteCount
                options.progress?(done, total)
            }
            try array.header.withRawSpan { try add($0) }
            let tensor = array.tensor
            try (tensor.layout.isContiguous ? tensor : tensor.loadedAlone()).forEachPiece { piece in
                guard array.isWidened else { return try add(piece) }
                var wide: [UInt8] = []
                wide.reserveCapacity(piece.byteCount * 2)
                for start in stride(from: 0, to: piece.byteCount, by: 2) {
                    wide.append(littleEndian: UInt32(piece.littleEndian(at: start, as: UInt16.self)) << 16)
                }
                try wide.withRawSpan { try add($0) }
            }
        }
        switch kind {
        case .array: try write(arrays[0]) { try output.append($0) }
        case .archive:
            let archive = ZipWriter(output)
            for array in arrays {
                try archive.add(array.name + ".npy", byteCount: array.byteCount, alignment: 64) { append in
                    try write(array, append)
                }
            }
            try archive.finish()
        }
        try output.finish(options.existing)
    }
}

extension [UInt8] {
    /// The bytes of an integer.
    fileprivate init(littleEndian value: some FixedWidthInteger) {
        self = []
        append(littleEndian: value)
    }
}
