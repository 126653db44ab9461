import NNStore

/// Every rule about a safetensors header, in the order in which they are checked. Nothing else in the module decides
/// whether a file is valid, and what has passed here is not checked again.
struct SafetensorsValidation {
    private let file: String
    /// An entry as it stands in the header.
    private struct RawEntry {
        let name: String
        let dtype: String
        let shape: [Int]
        let begin: Int
        let end: Int
    }

    /// - Parameter file: what messages call the file.
    init(file: String) { self.file = file }

    private func error(_ problem: SafetensorsProblem) -> InteropError { .invalidSafetensors(file: file, problem) }

    /// The length of the header.
    ///
    /// - Parameters:
    ///   - start: the first 8 bytes of the file, or all if there are fewer.
    ///   - byteCount: the size of the file.
    func headerSize(_ start: [UInt8], byteCount: Int) throws(InteropError) -> Int {
        guard start.count >= 8 else { throw error(.tooShort(byteCount: byteCount)) }
        let length = start.withRawSpan { $0.littleEndian(at: 0, as: UInt64.self) }
        guard length <= SafetensorsHeader.maximumSize else { throw error(.headerTooLong(length: length)) }
        guard Int(length) <= byteCount - 8 else {
            throw error(.headerOutsideFile(length: Int(length), byteCount: byteCount))
        }
        return Int(length)
    }

    /// The header, if it is valid for a file with `dataSize` bytes of data.
    func header(_ bytes: [UInt8], dataSize: Int) throws(InteropError) -> SafetensorsHeader {
        guard bytes.first == UInt8(ascii: "{") else { throw error(.headerStart(found: bytes.first)) }
        var entries: [SafetensorsHeader.Entry] = []
        var metadata: [SafetensorsHeader.Note] = []
        var reader = JSONReader(bytes, name: file, baseOffset: 8)
        try reader.object { (reader, key, offset) throws(InteropError) in
            if key == SafetensorsHeader.metadataKey {
                metadata = try readMetadata(&reader)
            } else {
                entries.append(try validated(readEntry(key, at: offset, &reader)))
            }
        }
        let end = reader.offset - 8
        if let place = bytes[end...].firstIndex(where: { $0 != 0x20 }) {
            throw error(.headerEnd(offset: 8 + place, found: bytes[place]))
        }
        try checkSpans(entries, dataSize: dataSize)
        return SafetensorsHeader(entries: entries, metadata: metadata)
    }

    // MARK: Form

    private func readMetadata(_ reader: inout JSONReader) throws(InteropError) -> [SafetensorsHeader.Note] {
        guard try reader.kind() == .object else { throw error(.metadataType(offset: reader.offset, key: nil)) }
        var notes: [SafetensorsHeader.Note] = []
        try reader.object { (reader, key, _) throws(InteropError) in
            guard try reader.kind() == .string else { throw error(.metadataType(offset: reader.offset, key: key)) }
            notes.append(SafetensorsHeader.Note(key: key, value: try reader.string()))
        }
        return notes
    }

    private func readEntry(
        _ name: String, at offset: Int, _ reader: inout JSONReader
    ) throws(InteropError) -> RawEntry {
        let kind = try reader.kind()
        guard kind == .object else {
            throw error(.entryType(tensor: name, offset: reader.offset, found: kind.rawValue))
        }
        var dtype: String?
        var shape: [Int]?
        var offsets: [Int]?
        try reader.object { (reader, field, fieldOffset) throws(InteropError) in
            switch field {
            case "dtype":
                guard try reader.kind() == .string else {
                    throw error(.fieldType(tensor: name, offset: reader.offset, field: field, expected: "a string"))
                }
                dtype = try reader.string()
            case "shape": shape = try readIntegers(of: name, field, &reader)
            case "data_offsets": offsets = try readIntegers(of: name, field, &reader)
            default: throw error(.unknownField(tensor: name, offset: fieldOffset, field: field))
            }
        }
        func missing(_ field: String) -> InteropError {
            error(.missingField(tensor: name, offset: offset, field: field))
        }
        guard let dtype else { throw missing("dtype") }
        guard let shape else { throw missing("shape") }
        guard let offsets else { throw missing("data_offsets") }
        guard offsets.count == 2 else {
            throw error(
                .fieldType(tensor: name, offset: offset, field: "data_offsets", expected: "an array of two integers"))
        }
        return RawEntry(name: name, dtype: dtype, shape: shape, begin: offsets[0], end: offsets[1])
    }

    private func readIntegers(
        of name: String, _ field: String, _ reader: inout JSONReader
    ) throws(InteropError) -> [Int] {
        func wrong(at offset: Int) -> InteropError {
            error(
                .fieldType(
                    tensor: name, offset: offset, field: field,
                    expected: "an array of integers from 0 to 2^63 - 1"))
        }
        guard try reader.kind() == .array else { throw wrong(at: reader.offset) }
        var integers: [Int] = []
        try reader.array { (reader) throws(InteropError) in
            let offset = reader.offset
            guard try reader.kind() == .number, let integer = try reader.number().integer, integer >= 0 else {
                throw wrong(at: offset)
            }
            guard integers.count < TensorLayout.maximumRank else {
                throw error(.tooManyDimensions(tensor: name, offset: offset))
            }
            integers.append(integer)
        }
        return integers
    }

    // MARK: One tensor

    private func validated(_ entry: RawEntry) throws(InteropError) -> SafetensorsHeader.Entry {
        guard let dtype = SafetensorsHeader.dtypes[entry.dtype] else {
            throw error(.unknownDType(tensor: entry.name, dtype: entry.dtype))
        }
        // From left to right, as the format says: a later extent of 0 does not undo an overflow.
        var count = 1
        for extent in entry.shape {
            let (product, overflow) = count.multipliedReportingOverflow(by: extent)
            guard !overflow else { throw error(.shapeTooLarge(tensor: entry.name, shape: entry.shape)) }
            count = product
        }
        guard count % dtype.elementsPerBlock == 0 else {
            throw error(.partialByte(tensor: entry.name, dtype: dtype.name, elementCount: count))
        }
        let layout: TensorLayout
        do {
            layout = try TensorLayout(dtype, shape: entry.shape)
        } catch {
            // What is left: sizes in bytes that overflow, and strides that would although an extent is 0.
            throw self.error(.shapeTooLarge(tensor: entry.name, shape: entry.shape))
        }
        guard entry.begin <= entry.end else {
            throw error(.reversedSpan(tensor: entry.name, begin: entry.begin, end: entry.end))
        }
        guard entry.end - entry.begin == layout.byteCount else {
            throw error(
                .spanLength(tensor: entry.name, found: entry.end - entry.begin, expected: layout.byteCount))
        }
        return SafetensorsHeader.Entry(name: entry.name, layout: layout, span: entry.begin..<entry.end)
    }

    // MARK: All tensors

    private func checkSpans(_ entries: [SafetensorsHeader.Entry], dataSize: Int) throws(InteropError) {
        let sorted = entries.sorted {
            ($0.span.lowerBound, $0.span.upperBound) < ($1.span.lowerBound, $1.span.upperBound)
        }
        var end = 0
        var last = ""
        for entry in sorted {
            guard entry.span.lowerBound <= end else {
                throw error(.gap(tensor: entry.name, begin: entry.span.lowerBound, expected: end))
            }
            guard entry.span.lowerBound == end else {
                throw error(.overlap(tensor: entry.name, other: last, begin: entry.span.lowerBound))
            }
            end = entry.span.upperBound
            last = entry.name
        }
        guard end == dataSize else { throw error(.dataEnd(expected: end, found: dataSize)) }
    }
}
