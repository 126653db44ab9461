import NNStore

/// The header of a GGUF file: metadata, and what each tensor is. Source: ggml's docs/gguf.md.
struct GGUFHeader {
    struct Tensor {
        let name: String
        /// The layout as it is here: the last dimension is the one whose neighbours stand side by side, which ggml calls the first.
        let layout: TensorLayout
        /// Where the data begin, in bytes from the start of the data.
        let offset: Int
    }

    static let magic = Array("GGUF".utf8)
    static let alignmentKey = "general.alignment"
    static let defaultAlignment = 32
    /// Names of tensors are shorter than this (GGML_MAX_NAME).
    static let maximumNameSize = 64
    static let maximumRank = 4
    /// No text and no array is longer.
    static let maximumLength = 1 << 30

    var version: UInt32 = 3
    var isBigEndian = false
    var alignment = defaultAlignment
    /// In the order of the file.
    var metadata = StateDictionary()
    var tensors: [Tensor] = []

    /// The size of all data, each tensor's padded.
    var dataSize: Int { tensors.last.map { padded($0.offset + $0.layout.byteCount) } ?? 0 }

    /// The next multiple of the alignment.
    func padded(_ size: Int) -> Int { (size + alignment - 1) / alignment * alignment }

    /// The alignment that metadata ask for, if they ask for one in the only way there is.
    static func alignment(_ value: StateTree) -> Int? {
        guard case .scalar(let value) = value, value.dtype == .u32 else { return nil }
        let alignment = value.bytes.reversed().reduce(0) { $0 << 8 | Int($1) }
        // More than a megabyte would be a file of padding.
        return alignment > 0 && alignment <= 1 << 20 && alignment & (alignment - 1) == 0 ? alignment : nil
    }
}

extension GGUFHeader {
    /// The bytes of the header, up to where the data begin.
    ///
    /// - Throws: ``InteropError/cannotHold(file:format:entries:)`` if a value is none of GGUF's.
    func encoded(file: String) throws(InteropError) -> [UInt8] {
        var bytes = GGUFHeader.magic
        bytes.append(littleEndian: version)
        bytes.append(littleEndian: UInt64(tensors.count))
        bytes.append(littleEndian: UInt64(metadata.count))
        for (key, value) in metadata {
            GGUFHeader.append(key.description.utf8, to: &bytes)
            guard GGUFHeader.append(value, to: &bytes) else {
                throw .cannotHold(
                    file: file, format: "GGUF", entries: ["metadata \(quoted(key.description)): \(value.plainKind)"])
            }
        }
        for tensor in tensors {
            GGUFHeader.append(tensor.name.utf8, to: &bytes)
            bytes.append(littleEndian: UInt32(tensor.layout.rank))
            for extent in tensor.layout.shape.reversed() { bytes.append(littleEndian: UInt64(extent)) }
            bytes.append(littleEndian: GGUFTensorType.number(of: tensor.layout.dtype) ?? .max)
            bytes.append(littleEndian: UInt64(tensor.offset))
        }
        bytes += [UInt8](repeating: 0, count: padded(bytes.count) - bytes.count)
        return bytes
    }

    private static func append(_ text: some Collection<UInt8>, to bytes: inout [UInt8]) {
        bytes.append(littleEndian: UInt64(text.count))
        bytes += text
    }

    /// Appends a value with its type. The values are those that reading gives.
    private static func append(_ value: StateTree, to bytes: inout [UInt8]) -> Bool {
        func type(_ type: GGUFValueType) { bytes.append(littleEndian: type.rawValue) }
        switch value {
        case .boolean(let value):
            type(.bool)
            bytes.append(value ? 1 : 0)
        case .string(let text):
            type(.string)
            append(text.utf8, to: &bytes)
        case .bytes(let text):
            type(.string)
            append(text, to: &bytes)
        case .scalar(let value):
            guard let known = GGUFValueType(value.dtype) else { return false }
            type(known)
            bytes += value.bytes
        case .array(let values):
            guard let known = GGUFValueType(values.dtype) else { return false }
            type(.array)
            type(known)
            bytes.append(littleEndian: UInt64(values.count))
            bytes += values.bytes
        case .strings(let texts):
            type(.array)
            type(.string)
            bytes.append(littleEndian: UInt64(texts.count))
            for text in texts { append(text.utf8, to: &bytes) }
        case .list(let elements, tag: GGUFHeader.textsTag):
            type(.array)
            type(.string)
            bytes.append(littleEndian: UInt64(elements.count))
            for element in elements {
                switch element {
                case .string(let text): append(text.utf8, to: &bytes)
                case .bytes(let text): append(text, to: &bytes)
                default: return false
                }
            }
        default: return false
        }
        return true
    }

    /// The tag of a list of texts of which some are no UTF-8, and stand there as bytes.
    static let textsTag = "gguf.strings"
}
