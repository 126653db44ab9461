import NNStore

/// A GGUF file (llama.cpp's) that is open for reading.
///
/// The state is a dictionary from the tensors' names to the tensors, in the order of the file; the metadata are typed as they are
/// in the file. Quantised tensors are opaque blocks (`Q4_K`: 256 elements in 144 bytes), whose bytes are kept as they are. Shapes
/// are in the order of PyTorch and NumPy: the last dimension's neighbours stand side by side, which ggml calls the first one.
///
/// In a file of the other byte order numbers are turned round; blocks are not, and belong to that byte order.
public struct GGUFFile: CheckpointFile {
    private let source: any ByteSource
    private let version: SourceVersion
    private let header: GGUFHeader
    private let dataOffset: Int

    /// The key of ``sourceFacts`` for the original header, where another one would be written.
    static let headerFact = "gguf.header"
    /// The key of ``sourceFacts`` for what is behind the last tensor, where it is not the usual padding.
    static let endFact = "gguf.end"
    /// What is behind the last tensor is kept up to this size.
    private static let maximumEnd = 1 << 20

    /// Opens the file at `path`.
    ///
    /// - Throws: ``InteropError`` if it is no valid GGUF file of version 2 or 3; ``NNStore/StoreError`` if it can't be read.
    public static func open(_ path: String, options: OpenOptions = OpenOptions()) throws -> GGUFFile {
        try open(FileSource(path: path), options: options)
    }

    /// Opens the file that `source` holds.
    ///
    /// - Throws: as ``open(_:options:)-(String,_)`` does.
    public static func open(_ source: any ByteSource, options: OpenOptions = OpenOptions()) throws -> GGUFFile {
        try GGUFFile(source, options)
    }

    private init(_ source: any ByteSource, _ options: OpenOptions) throws {
        self.source = source
        (_, version) = try source.readEnd(0)
        var reader = GGUFHeaderReader(source, version, limits: options.limits)
        (header, dataOffset) = try reader.read()
    }

    /// The path.
    public var name: String { source.name }
    /// `gguf`
    public var formatName: String { "gguf" }
    /// 2 or 3.
    public var formatVersion: Int? { Int(header.version) }
    /// `GGUF 3`, and that the byte order is the other one if it is.
    public var formatDescription: String { "GGUF \(header.version)\(header.isBigEndian ? " (big-endian)" : "")" }
    /// The size of the file in bytes.
    public var byteCount: Int { version.byteCount }
    /// Unknown: the format can't express it.
    public var sharing: Sharing { .unknown }

    /// The header as it is, if ``GGUF`` would write another one, and what is behind the last tensor, if that is not the usual
    /// padding.
    public var sourceFacts: [String: [UInt8]] {
        get throws {
            var facts: [String: [UInt8]] = [:]
            let headerEnd = min(dataOffset, byteCount)
            let bytes = try source.bytes(0..<headerEnd, of: version)
            var usual = GGUFHeader()
            usual.alignment = header.alignment
            usual.metadata = header.metadata.withoutLibraryEntries
            usual.tensors = header.tensors
            if try usual.encoded(file: name) != bytes { facts[GGUFFile.headerFact] = bytes }
            let dataEnd = dataOffset + (header.tensors.last.map { $0.offset + $0.layout.byteCount } ?? 0)
            let usualEnd = dataOffset + header.dataSize - dataEnd
            if dataEnd <= byteCount, byteCount - dataEnd <= GGUFFile.maximumEnd {
                let end = try source.bytes(dataEnd..<byteCount, of: version)
                if end.count != usualEnd || end.contains(where: { $0 != 0 }) { facts[GGUFFile.endFact] = end }
            }
            return facts
        }
    }

    /// The metadata, in the order of the file: numbers as typed scalars and arrays, texts as strings.
    public func metadata() -> StateTree { .dictionary(header.metadata.withoutLibraryEntries) }

    /// The tensors by name, over storages that are read when they are used.
    public func state() throws -> StateTree {
        var entries = StateDictionary()
        for tensor in header.tensors {
            var backing: any StorageBacking = FileSpan(
                source, version, start: dataOffset + tensor.offset, byteCount: tensor.layout.byteCount)
            if header.isBigEndian { backing = GGUFFile.swapped(backing, tensor.layout.dtype) }
            entries[tensor.name] = .tensor(try StateTensor(storage: Storage(backing: backing), layout: tensor.layout))
        }
        return .dictionary(entries)
    }

    /// Numbers of the other byte order. Blocks have several inside, and stay what they are.
    static func swapped(_ backing: any StorageBacking, _ dtype: DType) -> any StorageBacking {
        guard dtype.elementsPerBlock == 1, dtype.bytesPerBlock > 1 else { return backing }
        return TransformedBacking(
            base: backing, transform: TransformedBacking.Transform(swappedSize: dtype.bytesPerBlock))
    }
}
