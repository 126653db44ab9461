import NNStore
import Synchronization

/// Reads the bytes of one entry of an archive.
struct ZipEntryReader: Sendable {
    let source: any ByteSource
    let version: SourceVersion
    let entry: ZipArchive.Entry
    let hasChecksum: Bool

    private static let pieceSize = 1 << 20

    private func error(_ problem: ArchiveProblem) -> InteropError { .invalidArchive(file: source.name, problem) }

    /// Reads all bytes and checks them.
    func readAll(into destination: inout MutableRawSpan) throws {
        switch entry.method {
        case .stored: try source.read(entry.extent, of: version, into: &destination)
        case .deflated: try inflate(into: &destination, all: true)
        }
        if hasChecksum { try check(Checksum32.appending(destination.bytes)) }
    }

    /// Reads as many bytes from the start as `destination` takes.
    func readStart(into destination: inout MutableRawSpan) throws {
        switch entry.method {
        case .stored:
            let start = entry.extent.lowerBound
            try source.read(start..<start + destination.byteCount, of: version, into: &destination)
        case .deflated: try inflate(into: &destination, all: false)
        }
    }

    /// Reads some bytes of a stored entry.
    func readStored(_ range: Range<Int>, into destination: inout MutableRawSpan) throws {
        let start = entry.extent.lowerBound
        try source.read(start + range.lowerBound..<start + range.upperBound, of: version, into: &destination)
    }

    /// Reads a stored entry to check it.
    func checkStored() throws {
        if !hasChecksum { return }
        let memory = try Memory.allocate(min(ZipEntryReader.pieceSize, max(1, entry.byteCount)))
        var checksum: UInt32 = 0
        for start in stride(from: 0, to: entry.byteCount, by: ZipEntryReader.pieceSize) {
            let range = start..<min(entry.byteCount, start + ZipEntryReader.pieceSize)
            try memory.withMutableBytes(in: 0..<range.count) { try readStored(range, into: &$0) }
            memory.withBytes(in: 0..<range.count) { checksum = Checksum32.appending($0, to: checksum) }
        }
        try check(checksum)
    }

    func check(_ checksum: UInt32) throws {
        guard checksum == entry.crc else {
            throw error(
                .checksum(
                    entry: entry.name, offset: entry.extent.lowerBound, expected: entry.crc, found: checksum))
        }
    }

    /// - Parameter all: whether the stream has to end where the destination does.
    private func inflate(into destination: inout MutableRawSpan, all: Bool) throws {
        func fail(_ problem: String) -> InteropError {
            error(.deflate(entry: entry.name, offset: entry.extent.lowerBound, problem: problem))
        }
        let memory = try Memory.allocate(min(ZipEntryReader.pieceSize, max(1, entry.extent.count)))
        var filled = 0
        do {
            let inflater = try Inflater()
            // What is asked for is full before the stream ends: it has to be seen that nothing more comes.
            var extra: [UInt8] = [0]
            for start in stride(from: entry.extent.lowerBound, to: entry.extent.upperBound, by: memory.byteCount) {
                let range = start..<min(entry.extent.upperBound, start + memory.byteCount)
                try memory.withMutableBytes(in: 0..<range.count) { try source.read(range, of: version, into: &$0) }
                var taken = 0
                while taken < range.count {
                    if !all, filled == destination.byteCount { return }
                    let step = try memory.withBytes(in: taken..<range.count) { input in
                        if filled < destination.byteCount {
                            return try destination.withBytes(in: filled..<destination.byteCount) { output in
                                try inflater.inflate(input, into: &output)
                            }
                        }
                        let step = try extra.withMutableRawSpan { try inflater.inflate(input, into: &$0) }
                        guard step.given == 0 else { throw fail("give more than \(entry.byteCount) bytes") }
                        return step
                    }
                    taken += step.taken
                    filled += step.given
                    if step.isAtEnd {
                        guard taken == range.count, range.upperBound == entry.extent.upperBound else {
                            throw fail("end before the entry does")
                        }
                        guard filled == destination.byteCount || !all else {
                            throw fail("give \(filled) bytes, not \(entry.byteCount)")
                        }
                        if filled < destination.byteCount { throw fail("give \(filled) bytes, not \(entry.byteCount)") }
                        return
                    }
                    if step.taken == 0 && step.given == 0 { break }
                }
            }
        } catch Inflater.Failure.invalid {
            throw fail("are no deflate stream behind \(filled) bytes")
        } catch Inflater.Failure.memory {
            throw StoreError.limitExceeded(file: source.name, what: "memory", limit: 0, found: "more")
        }
        if !all, filled == destination.byteCount { return }
        throw fail("end in the middle")
    }
}

/// A stored entry: its bytes are read where they are. The first time, all of them are compared with their checksum.
final class StoredRecord: StorageBacking {
    private let reader: ZipEntryReader
    private let state: Mutex<State>

    private struct State {
        var isChecked: Bool
        /// The checksums of the pieces that were read by one who reads all, by where they begin.
        var pieces: [Int: (end: Int, checksum: UInt32)] = [:]
        var byteCount = 0
    }

    init(_ reader: ZipEntryReader) {
        self.reader = reader
        state = Mutex(State(isChecked: !reader.hasChecksum))
    }

    var byteCount: Int { reader.entry.byteCount }

    func read(_ range: Range<Int>, into destination: inout MutableRawSpan) throws {
        if range == 0..<byteCount { return try readAll(into: &destination) }
        // Others wait: what they would read may be damaged.
        try state.withLock { state throws in
            if state.isChecked { return }
            try reader.checkStored()
            state.isChecked = true
        }
        try reader.readStored(range, into: &destination)
    }

    func readAll(into destination: inout MutableRawSpan) throws {
        try reader.readAll(into: &destination)
        state.withLock { $0.isChecked = true }
    }

    func readPiece(_ range: Range<Int>, into destination: inout MutableRawSpan) throws {
        try reader.readStored(range, into: &destination)
        if range.isEmpty || state.withLock({ $0.isChecked }) { return }
        let checksum = Checksum32.appending(destination.bytes)
        let all: [Int: (end: Int, checksum: UInt32)]? = state.withLock { state in
            guard !state.isChecked,
                state.pieces.updateValue((range.upperBound, checksum), forKey: range.lowerBound) == nil
            else { return nil }
            state.byteCount += range.count
            return state.byteCount == byteCount ? state.pieces : nil
        }
        guard let all else { return }
        var end = 0
        var whole: UInt32 = 0
        while end < byteCount {
            // Whoever reads pieces that overlap did not read all of them once.
            guard let piece = all[end] else { return try reader.checkStored() }
            whole = Checksum32.joining(whole, piece.checksum, byteCount: piece.end - end)
            end = piece.end
        }
        try reader.check(whole)
        state.withLock { state in
            state.isChecked = true
            state.pieces = [:]
        }
    }
}

/// A compressed entry: it can only be decoded as a whole, which is done when its first byte is read, and kept.
final class DeflatedRecord: StorageBacking {
    private let reader: ZipEntryReader
    private let limits: ReadLimits
    private let decoded = Mutex<Memory?>(nil)

    init(_ reader: ZipEntryReader, _ limits: ReadLimits) {
        self.reader = reader
        self.limits = limits
    }

    var byteCount: Int { reader.entry.byteCount }

    func willLoad() throws { try limits.checkMemory(byteCount, file: reader.source.name) }

    func read(_ range: Range<Int>, into destination: inout MutableRawSpan) throws {
        let memory = try decoded.withLock { decoded throws in
            if let decoded { return decoded }
            try willLoad()
            let memory = try Memory.allocate(byteCount)
            try memory.withMutableBytes(in: 0..<byteCount) { try reader.readAll(into: &$0) }
            decoded = memory
            return memory
        }
        memory.withBytes(in: range) { destination.copy($0) }
    }

    func readAll(into destination: inout MutableRawSpan) throws {
        if let memory = decoded.withLock({ $0 }) {
            return memory.withBytes(in: 0..<byteCount) { destination.copy($0) }
        }
        try reader.readAll(into: &destination)
    }
}
