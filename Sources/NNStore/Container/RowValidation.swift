/// What a message calls a row. Put into words only when there is a message: a hundred thousand rows are validated
/// without one.
enum RowName: ExpressibleByStringInterpolation, CustomStringConvertible {
    case node(StateKey, parent: Int)
    case chunk(Int, storage: Int)
    case text(String)

    init(stringLiteral value: String) { self = .text(value) }

    var description: String {
        switch self {
        case .node(let key, let parent): "node \(String(key.description.prefix(200))) of parent \(parent)"
        case .chunk(let sequence, let storage): "chunk \(sequence) of storage \(storage)"
        case .text(let text): text
        }
    }
}

/// Makes Swift values of the rows of the index. This is the one place where they are validated: whatever has passed
/// here keeps the rules of spec sections 4 to 8 that concern a single row.
struct RowValidation: Sendable {
    let file: String
    /// The file's major version.
    let major: Int
    /// The end of the chunk area.
    let chunkAreaEnd: Int

    /// The columns that ``node(_:dtype:)`` reads, in its order.
    static let nodeColumns =
        "parent, key, position, kind, tag, node.value, storage, dtype, shape, strides, offset, nbytes, flags, large.value"
    /// Where they come from: a large value stands in a table of its own (spec section 3).
    ///
    /// The type has to be asked for: a comparison with an INTEGER column takes the text "1" for the number.
    static let nodeTables =
        "node LEFT JOIN large ON node.kind IN (10, 12, 13, 14, 15, 16) AND typeof(node.value) = 'integer' "
        + "AND large.id = node.value"
    static let chunkColumns = "storage, seq, source, offset, length, transform, width, parts, digest"

    func damaged(_ row: RowName, _ rule: String) -> StoreError {
        .damaged(file: file, problem: Problem(.row, "\(row): \(rule)"))
    }

    /// What the last tensor's row had: most tensors have much of it in common with the one before, which then need not be
    /// made of the row's texts again.
    struct LastTensor {
        let dtypeName: String
        let shape: String
        let layout: TensorLayout

        /// Whether the texts are the same. They are ASCII here; a longer text could still be canonically equivalent.
        static func areSame(_ one: String, _ other: String) -> Bool {
            one.utf8.count == other.utf8.count && one == other
        }
    }

    /// A row of `node`, and its parent's id.
    ///
    /// - Parameters:
    ///   - last: the last tensor of the same pass over the table, to begin with none.
    ///   - dtype: the dtype of a name, from the table `dtype`.
    func node(
        _ row: borrowing Statement, last: inout LastTensor?, dtype: (String) throws(StoreError) -> DType?
    ) throws(StoreError) -> (parent: Int, row: NodeRow) {
        guard case .integer(let parent) = row.value(0), parent >= 0 else {
            throw damaged("a row of node", "its parent is no id")
        }
        let key: StateKey
        switch row.value(1) {
        case .integer(let value): key = .integer(value)
        case .text(let text): key = .text(text)
        default: throw damaged("a child of node \(parent)", "its key is neither a valid text nor an integer")
        }
        let name = RowName.node(key, parent: parent)
        guard key.text?.utf8.count ?? 0 <= IndexSchema.maximumKeySize else {
            throw damaged(name, "its key has more than \(IndexSchema.maximumKeySize) bytes")
        }
        guard case .integer(let position) = row.value(2), position >= 0 else {
            throw damaged(name, "its position is negative")
        }
        guard case .integer(let kindNumber) = row.value(3), let kind = NodeKind(rawValue: kindNumber) else {
            throw damaged(name, "its kind is none that format \(major) has")
        }
        let tag: String?
        switch row.value(4) {
        case .null: tag = nil
        case .text(let text) where !text.isEmpty && text.utf8.count <= IndexSchema.maximumKeySize: tag = text
        default: throw damaged(name, "its tag is no valid text")
        }
        guard tag == nil || kind.isInner || kind == .tensor else {
            throw damaged(name, "a leaf of kind \(kindNumber) has a tag")
        }
        guard tag != nil || kind != .record else { throw damaged(name, "a record has no tag") }

        if kind == .tensor {
            guard row.value(5) == .null else { throw damaged(name, "a tensor has a value") }
            return (
                parent,
                NodeRow(key: key, position: position, content: .tensor(try tensor(row, name, tag, &last, dtype)))
            )
        }
        guard (6...12).allSatisfy({ $0 == 7 || row.value($0) == .null }) else {
            throw damaged(name, "columns of a tensor are set in a node of kind \(kindNumber)")
        }
        guard row.value(7) == .null || kind == .typedScalar || kind == .typedArray else {
            throw damaged(name, "a node of kind \(kindNumber) has a dtype")
        }
        if kind.isInner {
            guard case .integer(let id) = row.value(5), id > parent else {
                throw damaged(name, "its id is not above its parent's")
            }
            return (parent, NodeRow(key: key, position: position, content: .inner(kind, id: id, tag: tag)))
        }
        guard let leaf = try leaf(kind, row, name, dtype) else {
            throw damaged(name, "its value is none that kind \(kindNumber) can have")
        }
        var largeValue: Int?
        if row.value(13) != .null, case .integer(let id) = row.value(5) { largeValue = id }
        return (parent, NodeRow(key: key, position: position, content: .leaf(leaf), largeValue: largeValue))
    }

    private func tensor(
        _ row: borrowing Statement, _ name: RowName, _ tag: String?, _ last: inout LastTensor?,
        _ dtype: (String) throws(StoreError) -> DType?
    ) throws(StoreError) -> TensorRow {
        guard case .integer(let storage) = row.value(6), storage > 0 else {
            throw damaged(name, "its storage is no id")
        }
        guard case .text(let dtypeName) = row.value(7) else {
            throw damaged(name, "its dtype is not in the table of dtypes")
        }
        guard case .integer(let offset) = row.value(10), case .integer(let byteCount) = row.value(11),
            case .integer(let flags) = row.value(12)
        else { throw damaged(name, "its offset, nbytes or flags are no integers") }
        guard flags == 0 || flags == 1 else { throw damaged(name, "it has unknown flags \(flags)") }
        guard case .text(let shape) = row.value(8) else { throw damaged(name, "its shape is no text") }
        let strides = row.value(9)
        let layout: TensorLayout
        if let last, strides == .null, LastTensor.areSame(last.shape, shape),
            LastTensor.areSame(last.dtypeName, dtypeName), last.layout.offset == offset,
            last.layout.byteCount == byteCount
        {
            layout = last.layout
        } else {
            guard let dtype = try dtype(dtypeName) else {
                throw damaged(name, "its dtype is not in the table of dtypes")
            }
            layout = try self.layout(name, dtype, shape: shape, strides: strides, offset: offset, byteCount: byteCount)
            if strides == .null { last = LastTensor(dtypeName: dtypeName, shape: shape, layout: layout) }
        }
        return TensorRow(storage: storage, layout: layout, requiresGrad: flags & 1 == 1, tag: tag)
    }

    private func layout(
        _ name: RowName, _ dtype: DType, shape: String, strides: Statement.Value, offset: Int, byteCount: Int
    ) throws(StoreError) -> TensorLayout {
        guard let shape = IntegerList.decode(shape, limit: TensorLayout.maximumRank) else {
            throw damaged(name, "its shape is no canonical list of at most \(TensorLayout.maximumRank) integers")
        }
        var explicit: [Int]?
        switch strides {
        case .null: break
        case .text(let text):
            explicit = IntegerList.decode(text, limit: TensorLayout.maximumRank)
            guard explicit != nil else { fallthrough }
        default: throw damaged(name, "its strides are no canonical list of integers")
        }
        let layout: TensorLayout
        do {
            layout = try TensorLayout(dtype, shape: shape, strides: explicit, offset: offset)
        } catch {
            throw damaged(name, "\(error)")
        }
        guard layout.offset == offset, explicit == nil || layout.strides == explicit && !layout.isContiguous else {
            throw damaged(name, "its strides \(explicit ?? []) or offset \(offset) are not canonical")
        }
        guard layout.byteCount == byteCount else {
            throw damaged(name, "its nbytes is \(byteCount), shape and dtype give \(layout.byteCount)")
        }
        return layout
    }

    /// The value of a leaf, from `large` if it is there.
    private func value(_ row: borrowing Statement, _ name: RowName) throws(StoreError) -> Statement.Value {
        let value = row.value(5)
        let size: Int
        switch row.value(13) {
        case .null:
            switch value {
            case .text(let text): size = text.utf8.count
            case .blob(let bytes): size = bytes.count
            default: return value
            }
            guard size <= IndexSchema.largestInlineValue else {
                throw damaged(name, "its value of \(size) bytes should stand in the table large")
            }
            return value
        case .text(let text):
            size = text.utf8.count
        case .blob(let bytes):
            size = bytes.count
        default: throw damaged(name, "its value in the table large is no valid text or blob")
        }
        guard size > IndexSchema.largestInlineValue else {
            throw damaged(name, "its value of \(size) bytes should not stand in the table large")
        }
        return row.value(13)
    }

    private func leaf(
        _ kind: NodeKind, _ row: borrowing Statement, _ name: RowName, _ dtype: (String) throws(StoreError) -> DType?
    ) throws(StoreError) -> StateTree? {
        switch (kind, try value(row, name)) {
        case (.null, .null): return .null
        case (.boolean, .integer(let value)) where value == 0 || value == 1: return .boolean(value == 1)
        case (.integer, .integer(let value)): return .integer(value)
        case (.unsignedInteger, .blob(let bytes)) where bytes.count == 8:
            let integer = StateInteger(bytes.withRawSpan { $0.littleEndian(at: 0, as: UInt64.self) })
            if case .unsigned = integer.form { return .integer(integer) }
            return nil
        case (.largerInteger, .blob(let bytes)):
            let integer = StateInteger(twosComplement: bytes)
            if case .large(bytes) = integer.form { return .integer(integer) }
            return nil
        case (.double, .blob(let bytes)) where bytes.count == 8:
            return .double(Double(bitPattern: bytes.withRawSpan { $0.littleEndian(at: 0, as: UInt64.self) }))
        case (.string, .text(let text)): return .string(text)
        case (.bytes, .blob(let bytes)): return .bytes(bytes)
        case (.stringArray, .blob(let bytes)): return StringArray.decode(bytes).map { .strings($0) }
        case (.typedScalar, .blob(let bytes)), (.typedArray, .blob(let bytes)):
            guard case .text(let dtypeName) = row.value(7), let dtype = try dtype(dtypeName),
                let value = try? TypedValue(dtype, bytes: bytes)
            else { return nil }
            if kind == .typedArray { return .array(value) }
            return value.count == 1 ? .scalar(value) : nil
        default: return nil
        }
    }

    /// A row of `dtype`: name, elements, bytes.
    func dtype(_ row: borrowing Statement) throws(StoreError) -> DType {
        guard case .text(let name) = row.value(0), case .integer(let elements) = row.value(1),
            case .integer(let bytes) = row.value(2)
        else { throw damaged("a row of dtype", "its columns have other types than they should") }
        do {
            return try DType(name: name, elementsPerBlock: elements, bytesPerBlock: bytes)
        } catch {
            throw damaged("dtype \(name)", "\(error)")
        }
    }

    /// A row of `storage`: id, nbytes, digest.
    func storage(_ row: borrowing Statement) throws(StoreError) -> StorageRow {
        guard case .integer(let id) = row.value(0), id > 0, case .integer(let byteCount) = row.value(1),
            (0...TensorLayout.maximumSize).contains(byteCount), case .blob(let digest) = row.value(2),
            digest.count == 16
        else { throw damaged("a row of storage", "its columns have other types or values than they should") }
        return StorageRow(id: id, byteCount: byteCount, digest: digest.withRawSpan { Digest(in: $0, at: 0) })
    }

    /// A row of `chunk`, as ``chunkColumns`` gives it.
    func chunk(_ row: borrowing Statement, storage: StorageRow) throws(StoreError) -> ChunkRow {
        guard case .integer(let sequence) = row.value(1), case .integer(let source) = row.value(2),
            case .integer(let offset) = row.value(3), case .integer(let length) = row.value(4),
            case .integer(let transform) = row.value(5), case .integer(let width) = row.value(6),
            case .blob(let parts) = row.value(7), case .blob(let digest) = row.value(8)
        else { throw damaged("a chunk of storage \(storage.id)", "its columns have other types than they should") }
        let name = RowName.chunk(sequence, storage: storage.id)
        guard sequence >= 0, sequence < FileLayout.chunkCount(storageSize: storage.byteCount) else {
            throw damaged(name, "a storage of \(storage.byteCount) bytes has no such chunk")
        }
        guard source == 0 else { throw damaged(name, "it is in source \(source), which format \(major) does not have") }
        guard digest.count == 16 else { throw damaged(name, "its digest has \(digest.count) bytes, not 16") }
        let logicalSize = FileLayout.chunkRange(sequence, storageSize: storage.byteCount).count
        let planes = try planes(transform, width, logicalSize, name)
        guard let decoded = ChunkParts.decode(parts) else {
            throw damaged(name, "one of its parts has a coding or a length that there is not")
        }
        let encoding = ChunkEncoding(planes: planes, parts: decoded)
        try checkParts(encoding, logicalSize, name)
        let encodedSize = encoding.encodedSize
        guard length == encodedSize else {
            throw damaged(name, "its extent has \(length) bytes, its parts have \(encodedSize)")
        }
        let isEmpty = length == 0 && offset == 0
        guard
            isEmpty
                || offset >= FileLayout.block && length > 0 && length <= chunkAreaEnd
                    && offset <= chunkAreaEnd - length
        else {
            throw damaged(name, "its \(length) bytes at file offset \(offset) are outside the chunk area")
        }
        if encoding.isStored {
            guard offset % FileLayout.storedAlignment(storageSize: storage.byteCount) == 0 else {
                throw damaged(name, "its stored bytes at file offset \(offset) are not aligned")
            }
        } else if length >= logicalSize {
            throw damaged(name, "its \(length) encoded bytes are not shorter than its \(logicalSize) bytes")
        }
        return ChunkRow(
            sequence: sequence, logicalSize: logicalSize, extent: offset..<offset + length, encoding: encoding,
            digest: digest.withRawSpan { Digest(in: $0, at: 0) })
    }

    private func planes(
        _ transform: Int, _ width: Int, _ logicalSize: Int, _ name: RowName
    ) throws(StoreError) -> PlaneTransform? {
        if transform == 0, width == 1 { return nil }
        guard major >= 2, (1...2).contains(transform), let known = PlaneTransform.Width(rawValue: width) else {
            throw damaged(name, "it has transform \(transform) and width \(width), which format \(major) does not have")
        }
        guard width <= logicalSize else {
            throw damaged(name, "its \(logicalSize) bytes are less than an element of width \(width)")
        }
        return PlaneTransform(width: known, isRotated: transform == 2)
    }

    /// That the parts are those of the transform, and that each can hold its bytes.
    private func checkParts(_ encoding: ChunkEncoding, _ logicalSize: Int, _ name: RowName) throws(StoreError) {
        let sizes = ChunkEncoding.partSizes(encoding.planes, logicalSize: logicalSize)
        guard encoding.parts.count == sizes.count else {
            throw damaged(name, "it has \(encoding.parts.count) parts, its transform asks for \(sizes.count)")
        }
        for (number, (part, size)) in zip(encoding.parts, sizes).enumerated() {
            switch part.coding {
            case .stored:
                guard part.encodedSize == size else {
                    throw damaged(name, "part \(number) has \(part.encodedSize) stored bytes for \(size)")
                }
            case .zstd:
                guard part.encodedSize > 0, part.encodedSize < size else {
                    throw damaged(
                        name, "the zstd frame of part \(number), \(part.encodedSize) bytes, is not shorter than \(size)"
                    )
                }
            case .constant:
                guard major >= 2 else {
                    throw damaged(name, "part \(number) is constant, which format 1 does not have")
                }
            }
            if let width = encoding.planes?.width, number == width, part.coding != .stored {
                throw damaged(name, "its remainder is not stored")
            }
        }
    }

    /// That a tensor lies inside its storage.
    func checkBounds(_ tensor: TensorRow, _ name: String, in storage: StorageRow) throws(StoreError) {
        guard tensor.layout.byteRange.upperBound <= storage.byteCount else {
            throw damaged(
                "tensor \(name)",
                "\(tensor.layout.dtype) \(tensor.layout.shape) with strides \(tensor.layout.strides) at offset "
                    + "\(tensor.layout.offset) reaches byte \(tensor.layout.byteRange.upperBound) of storage "
                    + "\(storage.id), which has \(storage.byteCount)")
        }
    }
}
