import NNStore

/// A NumPy array (`.npy`) that is open for reading: its state is one tensor.
///
/// Arrays of numbers are read, of either byte order; those in Fortran's order keep it, as strides. Bytes of which NumPy does not
/// know what they are (`V2` may be bfloat16) become an opaque dtype of that name, unless ``OpenOptions/dtypes`` says what they
/// are.
public struct NumPyFile: CheckpointFile {
    private let source: any ByteSource
    private let version: SourceVersion
    private let header: NumPyHeader

    /// Opens the file at `path`.
    ///
    /// - Throws: ``InteropError`` if it is no NumPy array of numbers; ``NNStore/StoreError`` if it can't be read.
    public static func open(_ path: String, options: OpenOptions = OpenOptions()) throws -> NumPyFile {
        try open(FileSource(path: path), options: options)
    }

    /// Opens the file that `source` holds.
    ///
    /// - Throws: as ``open(_:options:)-(String,_)`` does.
    public static func open(_ source: any ByteSource, options: OpenOptions = OpenOptions()) throws -> NumPyFile {
        try NumPyFile(source, options)
    }

    private init(_ source: any ByteSource, _ options: OpenOptions) throws {
        self.source = source
        (_, version) = try source.readEnd(0)
        let start = try source.bytes(0..<min(NumPyHeader.maximumStart, version.byteCount), of: version)
        header = try NumPyHeader(start, file: source.name, dtype: options.dtypes[""])
        try NumPyHeader.checkUsed(options.dtypes, of: [("", header)], file: source.name)
        let available = version.byteCount - header.dataOffset
        guard header.layout.byteCount <= available else {
            throw InteropError.invalidNumPy(
                file: source.name, .cut(expected: header.layout.byteCount, found: available))
        }
    }

    /// The path.
    public var name: String { source.name }
    /// `npy`
    public var formatName: String { "npy" }
    /// The version of the array's header: 1, 2 or 3.
    public var formatVersion: Int? { header.version }
    /// `NumPy array`
    public var formatDescription: String { "NumPy array" }
    /// The size of the file in bytes.
    public var byteCount: Int { version.byteCount }
    /// Unknown: the format can't express it.
    public var sharing: Sharing { .unknown }
    /// Nothing: another file would be written.
    public var sourceFacts: [String: [UInt8]] { [:] }

    /// None: the format has no metadata.
    public func metadata() -> StateTree { [:] }

    /// The array, over a storage that is read when it is used.
    public func state() throws -> StateTree {
        let bytes = FileSpan(source, version, start: header.dataOffset, byteCount: header.layout.byteCount)
        return .tensor(try header.tensor(over: bytes))
    }
}

extension NumPyHeader {
    /// Refuses a dtype that was given for an array that is not there, or that has one: a slip of the pen would pass for success.
    static func checkUsed(
        _ dtypes: [String: DType], of arrays: [(name: String, header: NumPyHeader)], file: String
    ) throws(InteropError) {
        let open = arrays.filter { if case .void = $0.header.element.kind { true } else { false } }.map(\.name)
        for (name, dtype) in dtypes.sorted(by: { $0.key < $1.key }) where !open.contains(name) {
            throw .unsupported(
                file: file, what: "no array \(quoted(name)) is there to be read as \(dtype)",
                advice: open.isEmpty
                    ? "all arrays in it have types of their own"
                    : "those whose type NumPy does not know are \(open.prefix(8).map(quoted).joined(separator: ", "))")
        }
    }

    /// The array whose elements `bytes` has.
    func tensor(over bytes: any StorageBacking) throws -> StateTensor {
        var backing = bytes
        if element.isBigEndian, case .number(_, let componentSize) = element.kind, componentSize > 1 {
            backing = TransformedBacking(
                base: bytes, transform: TransformedBacking.Transform(swappedSize: componentSize))
        }
        return try StateTensor(storage: Storage(backing: backing), layout: layout)
    }
}
