import NNStore

/// Reads a GGUF header; every rule about it is here. What gguf.cpp refuses is refused. Source: ggml/src/gguf.cpp.
struct GGUFHeaderReader {
    private let file: String
    private let fileSize: Int
    private let limits: ReadLimits
    private var reader: SequentialReader
    private var header = GGUFHeader()

    init(_ source: any ByteSource, _ version: SourceVersion, limits: ReadLimits) {
        file = source.name
        fileSize = version.byteCount
        self.limits = limits
        let name = source.name
        reader = SequentialReader(source, version, range: 0..<version.byteCount) {
            .invalidGGUF(file: name, .cut(offset: $0))
        }
    }

    private func error(_ problem: GGUFProblem) -> InteropError { .invalidGGUF(file: file, problem) }

    /// The header, and where the data begin in the file.
    ///
    /// - Parameter checksData: whether the data have to be there as well.
    mutating func read(checksData: Bool = true) throws -> (header: GGUFHeader, dataOffset: Int) {
        guard try reader.bytes(4).elementsEqual(GGUFHeader.magic) else { throw error(.cut(offset: 0)) }
        var version = UInt32(try reader.integer(4))
        if version & 0xffff == 0 {
            header.isBigEndian = true
            version = version.byteSwapped
        }
        guard version == 2 || version == 3 else { throw error(.version(version)) }
        header.version = version
        let countOffset = reader.offset
        let tensorCount = try integer(8)
        let valueCount = try integer(8)
        // A tensor takes 24 bytes at least, a value 13.
        guard tensorCount <= UInt64(reader.remaining) / 24 else {
            throw error(.count(what: "tensors", offset: countOffset, found: tensorCount))
        }
        guard valueCount <= UInt64(reader.remaining) / 13 else {
            throw error(.count(what: "values", offset: countOffset + 8, found: valueCount))
        }
        guard tensorCount + valueCount <= UInt64(limits.maximumNodes) else {
            throw InteropError.limitExceeded(
                file: file, what: "the number of nodes", limit: limits.maximumNodes,
                found: "\(tensorCount + valueCount)")
        }
        for _ in 0..<valueCount { try readValue() }
        var names: Set<StateKey> = []
        var end = 0
        for _ in 0..<tensorCount { try readTensor(&names, &end) }
        // Without tensors some leave the padding away.
        let dataOffset = header.padded(reader.offset)
        if checksData, let last = header.tensors.last {
            let (dataEnd, overflow) = dataOffset.addingReportingOverflow(last.offset + last.layout.byteCount)
            guard !overflow, dataEnd <= fileSize else {
                throw error(.data(tensor: last.name, end: overflow ? .max : dataEnd, byteCount: fileSize))
            }
        }
        return (header, dataOffset)
    }

    private mutating func integer(_ size: Int) throws -> UInt64 {
        let value = try reader.integer(size)
        return header.isBigEndian ? value.byteSwapped >> UInt64(64 - 8 * size) : value
    }

    // MARK: Metadata

    private mutating func readValue() throws {
        let offset = reader.offset
        guard let key = String(validating: try text("a key"), as: UTF8.self) else {
            throw error(.name(what: "a key", offset: offset, problem: "is no UTF-8"))
        }
        guard !key.isEmpty else { throw error(.name(what: "a key", offset: offset, problem: "is empty")) }
        guard header.metadata[key] == nil else {
            throw InteropError.duplicateKey(file: file, offset: offset, key: key)
        }
        let typeOffset = reader.offset
        let number = UInt32(try integer(4))
        guard let type = GGUFValueType(rawValue: number) else {
            throw error(.valueType(key: key, offset: typeOffset, type: number))
        }
        let value = try readValue(type, key: key)
        header.metadata[key] = value
        if key == GGUFHeader.alignmentKey {
            guard let alignment = GGUFHeader.alignment(value) else {
                throw error(
                    .value(
                        key: key, offset: typeOffset,
                        problem: "is no power of two up to 1,048,576 as an unsigned integer of 32 bits"))
            }
            header.alignment = alignment
        }
    }

    private mutating func readValue(_ type: GGUFValueType, key: String) throws -> StateTree {
        switch type {
        case .string:
            let bytes = try text("the value of \(quoted(key))")
            return String(validating: bytes, as: UTF8.self).map { .string($0) } ?? .bytes(bytes)
        case .array: return try readArray(key: key)
        case .bool:
            let offset = reader.offset
            let byte = try reader.byte()
            guard byte <= 1 else { throw error(.value(key: key, offset: offset, problem: "is neither true nor false")) }
            return .boolean(byte == 1)
        default:
            guard let dtype = type.dtype else { return .null }
            return .scalar(try TypedValue(dtype, bytes: try elements(dtype, count: 1)))
        }
    }

    private mutating func readArray(key: String) throws -> StateTree {
        let offset = reader.offset
        let number = UInt32(try integer(4))
        guard let type = GGUFValueType(rawValue: number) else {
            throw error(.valueType(key: key, offset: offset, type: number))
        }
        guard type != .array else { throw error(.value(key: key, offset: offset, problem: "is an array of arrays")) }
        let count = try integer(8)
        let smallest = type.dtype?.bytesPerBlock ?? 8
        guard count <= UInt64(min(GGUFHeader.maximumLength, reader.remaining / smallest)),
            count <= UInt64(limits.maximumValueSize / smallest)
        else { throw error(.length(what: "the array of \(quoted(key))", offset: offset + 4, found: count)) }
        if let dtype = type.dtype {
            let start = reader.offset
            let bytes = try elements(dtype, count: Int(count))
            if type == .bool, let place = bytes.firstIndex(where: { $0 > 1 }) {
                throw error(.value(key: key, offset: start + place, problem: "is neither true nor false"))
            }
            return .array(try TypedValue(dtype, bytes: bytes))
        }
        var texts: [[UInt8]] = []
        var size = 0
        for _ in 0..<count {
            texts.append(try text("a text of \(quoted(key))"))
            size += texts[texts.count - 1].count + 4
            guard size <= limits.maximumValueSize else {
                throw InteropError.limitExceeded(
                    file: file, what: "the size of a value, in bytes,", limit: limits.maximumValueSize, found: "more")
            }
        }
        let strings = texts.compactMap { String(validating: $0, as: UTF8.self) }
        if strings.count == texts.count { return .strings(strings) }
        return .list(
            texts.map { text in String(validating: text, as: UTF8.self).map { .string($0) } ?? .bytes(text) },
            tag: GGUFHeader.textsTag)
    }

    private mutating func elements(_ dtype: DType, count: Int) throws -> [UInt8] {
        let bytes = Array(try reader.bytes(count * dtype.bytesPerBlock))
        return header.isBigEndian ? bytes.turningRound(dtype.bytesPerBlock) : bytes
    }

    private mutating func text(_ what: @autoclosure () -> String) throws -> [UInt8] {
        let offset = reader.offset
        let length = try integer(8)
        guard length <= UInt64(min(GGUFHeader.maximumLength, reader.remaining, limits.maximumValueSize)) else {
            throw error(.length(what: what(), offset: offset, found: length))
        }
        return Array(try reader.bytes(Int(length)))
    }

    // MARK: Tensors

    private mutating func readTensor(_ names: inout Set<StateKey>, _ end: inout Int) throws {
        let start = reader.offset
        let bytes = try text("the name of a tensor")
        guard bytes.count < GGUFHeader.maximumNameSize, let name = String(validating: bytes, as: UTF8.self) else {
            throw error(
                .name(what: "the name of a tensor", offset: start, problem: "is no UTF-8 of at most 63 bytes"))
        }
        guard names.insert(.text(name)).inserted else {
            throw InteropError.duplicateKey(file: file, offset: start, key: name)
        }
        let offset = reader.offset
        let rank = try integer(4)
        guard rank <= UInt64(GGUFHeader.maximumRank) else {
            throw error(.shape(tensor: name, offset: offset, problem: "has \(rank) dimensions, 4 are the most"))
        }
        var extents: [Int] = []
        for _ in 0..<rank {
            guard let extent = Int(exactly: try integer(8)) else {
                throw error(.shape(tensor: name, offset: offset, problem: "has an extent of more than 2^63 - 1"))
            }
            extents.append(extent)
        }
        let typeOffset = reader.offset
        let number = UInt32(try integer(4))
        guard let dtype = GGUFTensorType.byNumber[number] else {
            throw error(.tensorType(tensor: name, offset: typeOffset, type: number))
        }
        guard (extents.first ?? 1) % dtype.elementsPerBlock == 0 else {
            throw error(
                .shape(
                    tensor: name, offset: offset,
                    problem:
                        "has rows of \(extents.first ?? 1) elements, which are no whole blocks of \(dtype.elementsPerBlock)"
                ))
        }
        let layout = try layout(dtype, extents.reversed(), of: name, at: offset)
        let dataOffset = try integer(8)
        guard dataOffset == UInt64(end) else {
            throw error(.offset(tensor: name, offset: reader.offset - 8, expected: end, found: dataOffset))
        }
        header.tensors.append(GGUFHeader.Tensor(name: name, layout: layout, offset: end))
        let (sum, overflow) = end.addingReportingOverflow(layout.byteCount)
        guard !overflow, sum <= TensorLayout.maximumSize else {
            throw error(.shape(tensor: name, offset: offset, problem: "and those before it take more than 2^60 bytes"))
        }
        end = header.padded(sum)
    }

    private func layout(_ dtype: DType, _ shape: [Int], of tensor: String, at offset: Int) throws -> TensorLayout {
        do {
            return try TensorLayout(dtype, shape: shape)
        } catch {
            guard case .invalidLayout(let reason) = error else { throw error }
            throw self.error(.shape(tensor: tensor, offset: offset, problem: reason))
        }
    }
}
