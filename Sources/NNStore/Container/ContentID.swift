/// The digests of storages and of whole contents, as spec sections 7 and 9 define them.
enum ContentID {
    static let storageTag = Array("NNStore storage1".utf8)
    static let contentTag = Array("NNStore content1".utf8)

    /// The digest of a storage from those of its chunks.
    static func storageDigest(byteCount: Int, chunks: some Sequence<Digest>) throws(StoreError) -> Digest {
        let builder = try StorageDigestBuilder(byteCount: byteCount)
        for chunk in chunks { builder.append(chunk) }
        return builder.digest()
    }

    /// The content id of two trees.
    ///
    /// - Parameter stored: the row of a storage that a tensor of the tree uses, as it is in the file: what was written
    ///   of it may be less than what it has.
    static func of(
        state: StateTree, metadata: StateTree, stored: (Storage) throws(StoreError) -> StorageRow
    ) throws(StoreError) -> Digest {
        var writer = try Writer()
        try writer.append(state)
        try writer.append(metadata)
        for storage in writer.storages {
            var bytes: [UInt8] = []
            let row = try stored(storage)
            bytes.append(littleEndian: UInt64(row.byteCount))
            bytes += row.digest.bytes
            writer.append(bytes)
        }
        return writer.digest()
    }

    /// Writes the byte sequence of spec section 9 into a hash.
    private struct Writer {
        private let builder: DigestBuilder
        private var buffer: [UInt8] = contentTag
        private var numbers: [Storage: Int] = [:]
        /// The storages in the order of their numbers.
        private(set) var storages: [Storage] = []

        init() throws(StoreError) { builder = try DigestBuilder() }

        mutating func append(_ bytes: [UInt8]) {
            buffer += bytes
            if buffer.count > 1 << 16 { flush() }
        }

        private mutating func flush() {
            buffer.withRawSpan { builder.update($0) }
            buffer.removeAll(keepingCapacity: true)
        }

        mutating func digest() -> Digest {
            flush()
            return builder.digest()
        }

        private mutating func append(_ number: some FixedWidthInteger) { buffer.append(littleEndian: number) }

        private mutating func append(text: String) {
            append(UInt64(text.utf8.count))
            append(Array(text.utf8))
        }

        private mutating func append(blob: [UInt8]) {
            append(UInt64(blob.count))
            append(blob)
        }

        private mutating func append(tag: String?) {
            append(UInt8(tag == nil ? 0 : 1))
            if let tag { append(text: tag) }
        }

        private mutating func append(_ dtype: DType) {
            append(text: dtype.name)
            append(UInt64(dtype.elementsPerBlock))
            append(UInt64(dtype.bytesPerBlock))
        }

        private mutating func append(_ key: StateKey) {
            switch key {
            case .integer(let value):
                append(UInt8(1))
                append(Int64(value))
            case .text(let text):
                append(UInt8(2))
                append(text: text)
            }
        }

        mutating func append(_ node: StateTree) throws(StoreError) {
            append(UInt8(node.kind.rawValue))
            switch node {
            case .dictionary, .list, .tuple, .record:
                append(tag: node.tag)
                let children = node.children
                append(UInt64(children.count))
                for (key, child) in children {
                    append(key)
                    try append(child)
                }
            case .tensor(let tensor): append(tensor)
            case .null: break
            case .boolean(let value): append(UInt8(value ? 1 : 0))
            case .integer(let value):
                switch value.form {
                case .signed(let value): append(value)
                case .unsigned(let value): append(value)
                case .large(let bytes): append(blob: bytes)
                }
            case .double(let value): append(value.bitPattern)
            case .string(let text): append(text: text)
            case .bytes(let bytes): append(blob: bytes)
            case .scalar(let value), .array(let value):
                append(value.dtype)
                append(blob: value.bytes)
            case .strings(let strings):
                append(UInt64(strings.count))
                for string in strings { append(text: string) }
            }
        }

        private mutating func append(_ tensor: StateTensor) {
            append(tag: tensor.tag)
            let number = numbers[tensor.storage] ?? storages.count
            if number == storages.count {
                numbers[tensor.storage] = number
                storages.append(tensor.storage)
            }
            append(UInt64(number))
            append(tensor.dtype)
            append(UInt64(tensor.layout.rank))
            for extent in tensor.layout.shape { append(Int64(extent)) }
            for stride in tensor.layout.strides { append(Int64(stride)) }
            append(Int64(tensor.layout.offset))
            append(UInt64(tensor.requiresGrad ? 1 : 0))
        }
    }
}

/// Builds a storage's digest chunk by chunk.
struct StorageDigestBuilder {
    private let builder: DigestBuilder

    init(byteCount: Int) throws(StoreError) {
        builder = try DigestBuilder()
        var bytes = ContentID.storageTag
        bytes.append(littleEndian: UInt64(byteCount))
        bytes.withRawSpan { builder.update($0) }
    }

    func append(_ chunk: Digest) { chunk.bytes.withRawSpan { builder.update($0) } }

    func digest() -> Digest { builder.digest() }
}

extension StateTree {
    /// The node's kind, as the index numbers it.
    var kind: NodeKind {
        switch self {
        case .dictionary: .dictionary
        case .list: .list
        case .tuple: .tuple
        case .record: .record
        case .tensor: .tensor
        case .null: .null
        case .boolean: .boolean
        case .integer(let value):
            switch value.form {
            case .signed: .integer
            case .unsigned: .unsignedInteger
            case .large: .largerInteger
            }
        case .double: .double
        case .string: .string
        case .bytes: .bytes
        case .scalar: .typedScalar
        case .array: .typedArray
        case .strings: .stringArray
        }
    }

    /// The foreign type that the node stood for.
    package var tag: String? {
        switch self {
        case .dictionary(let entries): entries.tag
        case .list(_, let tag), .tuple(_, let tag): tag
        case .record(let type, _): type
        case .tensor(let tensor): tensor.tag
        default: nil
        }
    }
}
