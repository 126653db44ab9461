import NNStore

/// What the header of a safetensors file says: the tensors in its order, and the metadata.
///
/// A file is 8 bytes with the header's length, the header (JSON, perhaps with spaces behind it) and the data, whose
/// every byte belongs to just one tensor. So header and tensors together give every byte of a file.
struct SafetensorsHeader: Sendable {
    /// A tensor.
    struct Entry: Sendable {
        let name: String
        /// Contiguous, at offset 0.
        let layout: TensorLayout
        /// Its bytes, from the start of the data.
        let span: Range<Int>
    }

    /// An entry of `__metadata__`.
    struct Note: Sendable, Equatable {
        let key: String
        let value: String

        static func == (left: Note, right: Note) -> Bool {
            left.key.utf8.elementsEqual(right.key.utf8) && left.value.utf8.elementsEqual(right.value.utf8)
        }
    }

    /// The tensors in the order of the header, which need not be that of the data.
    let entries: [Entry]
    /// `__metadata__` in order, with the notes that are not the user's.
    let metadata: [Note]

    /// The most bytes that a header may have.
    static let maximumSize = 100_000_000
    /// The key of the metadata in the header.
    static let metadataKey = "__metadata__"
    /// The dtypes of the format: all that NNStore knows but complex numbers of doubles.
    static let dtypes = Dictionary(
        uniqueKeysWithValues: DType.all.filter { $0 != .c128 }.map { ($0.name, $0) })

    /// Whether a metadata key is the library's own: not a user's metadata, and not given out as such.
    static func isReserved(_ key: String) -> Bool {
        key == AliasNote.key || LibraryMetadata.isReserved(key)
    }

    /// The metadata that is the user's, and what the library notes of a model's modules: what is saved again.
    var keptMetadata: [Note] {
        metadata.filter { note in
            !SafetensorsHeader.isReserved(note.key)
                || note.key == ModuleVersions.key && !ModulesNote.modules(note.value).isEmpty
        }
    }

    /// The metadata that is the user's.
    var userMetadata: [Note] { metadata.filter { !SafetensorsHeader.isReserved($0.key) } }

    /// The bytes that all tensors take.
    var dataSize: Int { entries.map(\.span.upperBound).max() ?? 0 }

    init(entries: [Entry], metadata: [Note]) {
        self.entries = entries
        self.metadata = metadata
    }
}

extension SafetensorsHeader {
    /// The header that a writer gives these tensors.
    ///
    /// The entries keep their order. So do the data if every tensor is aligned to its elements then, else they are
    /// sorted by the size of the elements, largest first.
    ///
    /// - Throws: ``InteropError/limitExceeded(file:what:limit:found:)`` if the sizes overflow.
    init(
        arranging tensors: [(name: String, layout: TensorLayout)], metadata: [Note], aliases: [AliasGroup], file: String
    ) throws(InteropError) {
        // Elements smaller than a byte need no alignment; neither do blocks of three bytes, which no type can load.
        func alignment(_ tensor: Int) -> Int {
            let dtype = tensors[tensor].layout.dtype
            return dtype.elementsPerBlock == 1 ? dtype.bytesPerBlock : 1
        }
        var order = Array(tensors.indices)
        var position = 0
        let isAligned = order.allSatisfy { tensor in
            defer { position &+= tensors[tensor].layout.byteCount }
            return position % alignment(tensor) == 0
        }
        if !isAligned { order.sort { (alignment($1), $0) < (alignment($0), $1) } }
        var spans = [Range<Int>](repeating: 0..<0, count: tensors.count)
        var end = 0
        for tensor in order {
            let (next, overflow) = end.addingReportingOverflow(tensors[tensor].layout.byteCount)
            guard !overflow else {
                throw .limitExceeded(file: file, what: "data, in bytes,", limit: .max, found: "more")
            }
            spans[tensor] = end..<next
            end = next
        }
        let names = tensors.map(\.name)
        entries = zip(tensors, spans).map { Entry(name: $0.name, layout: $0.layout, span: $1) }
        self.metadata =
            metadata
            + (aliases.isEmpty ? [] : [Note(key: AliasNote.key, value: AliasNote.text(of: aliases, names: names))])
    }

    /// The header as the reference writes it: compact, metadata first, spaces up to a multiple of 8 bytes.
    func encoded() -> [UInt8] {
        var writer = JSONWriter()
        writer.append("{")
        if !metadata.isEmpty {
            writer.append(string: SafetensorsHeader.metadataKey)
            writer.append(":")
            writer.append(.object(metadata.map { JSONMember($0.key, .string($0.value)) }))
        }
        for (number, entry) in entries.enumerated() {
            if number > 0 || !metadata.isEmpty { writer.append(",") }
            writer.append(string: entry.name)
            let shape = entry.layout.shape.map(String.init).joined(separator: ",")
            writer.append(":{\"dtype\":\"\(entry.layout.dtype.name)\",\"shape\":[\(shape)],")
            writer.append("\"data_offsets\":[\(entry.span.lowerBound),\(entry.span.upperBound)]}")
        }
        writer.append("}")
        return writer.bytes + [UInt8](repeating: 0x20, count: (8 - writer.bytes.count % 8) % 8)
    }
}
