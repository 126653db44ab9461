import NNStore

/// A zip archive that is open for reading: PyTorch's and NumPy's files are such archives.
///
/// Opening reads the directory and the header of every entry, and refuses archives in which they disagree: those look different to
/// different readers. Source: PKWARE's APPNOTE.TXT 6.3.
struct ZipArchive: Sendable {
    enum Method: Sendable, Hashable {
        case stored
        case deflated
    }

    struct Entry: Sendable {
        let name: String
        let method: Method
        let crc: UInt32
        /// How many bytes it has, decoded.
        let byteCount: Int
        /// Where the bytes are in the file, encoded.
        let extent: Range<Int>
    }

    /// In the order of the directory, without folders.
    let entries: [Entry]
    /// Whether there are checksums: if every entry's is 0, none was computed.
    let hasChecksums: Bool
    private let byName: [StateKey: Int]
    private let source: any ByteSource
    private let version: SourceVersion
    private let limits: ReadLimits

    /// Opens the archive that `source` holds.
    ///
    /// - Throws: ``InteropError/invalidArchive(file:_:)``; ``InteropError/limitExceeded(file:what:limit:found:)`` if its entries
    ///   would become too large when they are decoded; what reading throws.
    init(_ source: any ByteSource, _ version: SourceVersion, options: OpenOptions) throws {
        self.source = source
        self.version = version
        limits = options.limits
        var directory = ZipDirectory(source, version)
        let entries = try directory.entries()
        self.entries = entries
        hasChecksums = entries.contains { $0.crc != 0 }
        var byName: [StateKey: Int] = [:]
        byName.reserveCapacity(entries.count)
        for (number, entry) in entries.enumerated() {
            guard byName.updateValue(number, forKey: .text(entry.name)) == nil else {
                throw InteropError.invalidArchive(file: source.name, .duplicate(entry: entry.name))
            }
        }
        self.byName = byName
        let decoded = entries.reduce(0) { sum, entry in
            entry.method == .stored
                ? sum : sum.addingReportingOverflow(entry.byteCount).overflow ? .max : sum + entry.byteCount
        }
        let limit = options.maximumDecodedByteCount(fileSize: version.byteCount)
        guard decoded <= limit else {
            throw InteropError.limitExceeded(
                file: source.name, what: "the bytes that compressed entries decode to (ckpt-tool: --max-decoded-bytes)",
                limit: limit, found: decoded == .max ? "more than 2^63" : "\(decoded)")
        }
    }

    /// The entry of a name.
    func entry(named name: String) -> Entry? { byName[.text(name)].map { entries[$0] } }

    /// The bytes of an entry, decoded and checked.
    func bytes(of entry: Entry) throws -> [UInt8] {
        try limits.checkMemory(entry.byteCount, file: source.name)
        var bytes = [UInt8](repeating: 0, count: entry.byteCount)
        try bytes.withMutableRawSpan { try reader(of: entry).readAll(into: &$0) }
        return bytes
    }

    /// The first bytes of an entry, `count` or all if there are fewer; not checked, since the checksum is one of all.
    func bytes(of entry: Entry, upTo count: Int) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: min(count, entry.byteCount))
        try bytes.withMutableRawSpan { try reader(of: entry).readStart(into: &$0) }
        return bytes
    }

    /// The bytes of an entry, read and checked when they are used.
    func backing(of entry: Entry) -> any StorageBacking {
        switch entry.method {
        case .stored: StoredRecord(reader(of: entry))
        case .deflated: DeflatedRecord(reader(of: entry), limits)
        }
    }

    private func reader(of entry: Entry) -> ZipEntryReader {
        ZipEntryReader(source: source, version: version, entry: entry, hasChecksum: hasChecksums)
    }
}
