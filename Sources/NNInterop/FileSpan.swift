import NNStore

/// Bytes that lie one after another in a file, as a storage's backing.
struct FileSpan: StorageBacking {
    private let source: any ByteSource
    private let version: SourceVersion
    private let start: Int
    let byteCount: Int

    /// `byteCount` bytes from `start` on, which the caller knows to be inside the file.
    init(_ source: any ByteSource, _ version: SourceVersion, start: Int, byteCount: Int) {
        self.source = source
        self.version = version
        self.start = start
        self.byteCount = byteCount
    }

    func read(_ range: Range<Int>, into destination: inout MutableRawSpan) throws {
        try source.read(start + range.lowerBound..<start + range.upperBound, of: version, into: &destination)
    }
}
