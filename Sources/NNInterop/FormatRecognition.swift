import NNStore

/// Tells a file's format by its first bytes, never by its name.
enum FormatRecognition {
    enum Format: Equatable {
        case container
        case safetensors
        /// A zip archive, of PyTorch's or NumPy's: its records tell.
        case archive
        case numPyArray
        case gguf
        /// JSON, as an index of shards is.
        case json
        /// A pickle, or what begins with one: PyTorch's old format does.
        case pickle
        /// None that can be read; what it looks like, for the message.
        case unknown(String)
    }

    /// How many bytes of the start are needed: enough for the mark of a tar archive.
    static let byteCount = 512

    static func format(of start: [UInt8]) -> Format {
        if Checkpoint.isContainer(start) { return .container }
        // With a length that is allowed this is nothing else: all the marks below make a number that is larger.
        let length = safetensorsLength(start)
        if let length, length <= SafetensorsHeader.maximumSize, start[8] == UInt8(ascii: "{") { return .safetensors }
        if start.starts(with: NumPyHeader.magic) { return .numPyArray }
        if start.starts(with: GGUFHeader.magic) { return .gguf }
        if archiveMarks.contains(where: { start.starts(with: $0) }) { return .archive }
        if start.first == 0x80 && start.count > 1 && start[1] <= 5 || LegacyTorchFile.looksLegacy(start) {
            return .pickle
        }
        for (mark, name) in marks where start.starts(with: mark) {
            return .unknown("it looks like \(name), which is not supported yet")
        }
        if start.count >= 262, start[257..<262].elementsEqual("ustar".utf8) {
            return .unknown("it looks like a tar archive (very old PyTorch files are), which is not supported")
        }
        // What is nearly safetensors goes to its reader, which says what is wrong with it.
        if let length, length < 1 << 40, [0x7b, 0x5b, 0x20, 0x09, 0x0a, 0x0d].contains(start[8]) {
            return .safetensors
        }
        if ShardIndex.looksLikeJSON(start) { return .json }
        return .unknown(appearance(of: start))
    }

    private static func safetensorsLength(_ start: [UInt8]) -> UInt64? {
        start.count > 8 ? start.withRawSpan { $0.littleEndian(at: 0, as: UInt64.self) } : nil
    }

    /// Of an archive with records, and of an empty one.
    private static let archiveMarks = [Array("PK\u{3}\u{4}".utf8), Array("PK\u{5}\u{6}".utf8)]

    private static let marks: [([UInt8], String)] = [
        ([0x89] + Array("HDF\r\n".utf8), "an HDF5 file (Keras)"),
        ([0x1f, 0x8b], "a gzip file"),
        ([0x28, 0xb5, 0x2f, 0xfd], "a zstd file"),
        (Array("SQLite format 3\0".utf8), "a SQLite database"),
    ]

    private static func appearance(of start: [UInt8]) -> String {
        if start.isEmpty { return "it is empty" }
        if start.allSatisfy({ $0 == 0 }) { return "it begins with zeros; perhaps its download was never finished" }
        if "version https://git-lfs".utf8.elementsEqual(start.prefix(23)) {
            return "it is a Git LFS pointer, not the file itself; fetch it with git lfs pull"
        }
        // The last character may be cut.
        let isText = (0...3).contains { cut in
            start.count > cut && (try? UTF8Span(validating: start.span.extracting(droppingLast: cut))) != nil
        }
        let hasControls = start.contains { $0 < 0x20 && !(0x09...0x0d).contains($0) }
        if isText && !hasControls {
            return start.first == UInt8(ascii: "<")
                ? "it is text, perhaps a web page that was saved instead" : "it is text"
        }
        let bytes = start.prefix(8).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined(separator: " ")
        return "it begins with the bytes \(bytes), the mark of no format that is known"
    }
}
