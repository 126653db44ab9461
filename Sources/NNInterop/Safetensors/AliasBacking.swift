import NNStore
import Synchronization

/// A storage that is put together from the data of all tensors over it.
///
/// Each tensor's elements are in the file once for each name, so where tensors overlap the file could contradict
/// itself. What is read was compared before: no read gives out bytes that another tensor has otherwise. Bytes that no tensor sees are
/// zero.
///
/// Tensors without holes (ties, slices of rows) are read range by range. A strided one has its elements all over the
/// storage, so then the storage is put together as a whole when its first byte is read, and kept.
final class AliasBacking: StorageBacking {
    struct Member: Sendable {
        let name: String
        let layout: TensorLayout
        /// Where its elements begin in the file.
        let start: Int
    }

    let byteCount: Int
    private let source: any ByteSource
    private let version: SourceVersion
    /// By their first byte in the storage; without the empty ones.
    private let members: [Member]
    private let isContiguous: Bool
    private let limit: Int
    private let assembled = Mutex<Memory?>(nil)
    /// The pieces (of ``pieceSize``) in which all tensors were found to agree: each is compared once, so that many
    /// names for the same bytes do not cost their square.
    private let agreed = Mutex<Set<Int>>([])

    private static let pieceSize = 1 << 20

    /// - Parameters:
    ///   - members: the tensors, whose layouts lie inside `byteCount`.
    ///   - limit: the most bytes that may be put into memory.
    init(_ source: any ByteSource, _ version: SourceVersion, _ members: [Member], byteCount: Int, limit: Int) {
        self.source = source
        self.version = version
        self.byteCount = byteCount
        self.limit = limit
        self.members = members.filter { !$0.layout.isEmpty }.sorted {
            $0.layout.byteRange.lowerBound < $1.layout.byteRange.lowerBound
        }
        isContiguous = members.allSatisfy(\.layout.isContiguous)
    }

    func willLoad() throws {
        guard byteCount <= limit else {
            throw InteropError.limitExceeded(
                file: source.name, what: "memory for shared storages, in bytes,", limit: limit, found: "\(byteCount)")
        }
    }

    func read(_ range: Range<Int>, into destination: inout MutableRawSpan) throws {
        if isContiguous {
            try compare(range)
            return try assemble(range, into: &destination, comparing: false)
        }
        let memory = try assembled.withLock { assembled throws in
            if let assembled { return assembled }
            try willLoad()
            let memory = try Memory.allocate(byteCount)
            try memory.withMutableBytes(in: 0..<byteCount) { all throws in try assembleAll(into: &all) }
            assembled = memory
            return memory
        }
        memory.withBytes(in: range) { destination.copy($0) }
    }

    func readAll(into destination: inout MutableRawSpan) throws {
        if !isContiguous { return try assembleAll(into: &destination) }
        for start in stride(from: 0, to: byteCount, by: AliasBacking.pieceSize) {
            let piece = start..<min(byteCount, start + AliasBacking.pieceSize)
            try destination.withBytes(in: piece) { destination throws in
                try assemble(piece, into: &destination, comparing: true)
            }
        }
    }

    // MARK: Tensors without holes

    /// Compares what the tensors have for a range, where that was not done yet.
    private func compare(_ range: Range<Int>) throws {
        if range.isEmpty { return }
        let size = AliasBacking.pieceSize
        for number in range.lowerBound / size...(range.upperBound - 1) / size
        where !agreed.withLock({ $0.contains(number) }) {
            let piece = number * size..<min(byteCount, (number + 1) * size)
            let memory = try Memory.allocate(piece.count)
            try memory.withMutableBytes(in: 0..<piece.count) { bytes throws in
                try assemble(piece, into: &bytes, comparing: true)
            }
            agreed.withLock { _ = $0.insert(number) }
        }
    }

    /// Puts a range together. Only the data under the range are read.
    private func assemble(_ range: Range<Int>, into destination: inout MutableRawSpan, comparing: Bool) throws {
        destination.zero()
        var scratch: Memory?
        // In the order of their beginnings, what is covered behind a beginning reaches without holes to `end`.
        var end = range.lowerBound
        for member in members {
            let own = member.layout.byteRange
            if own.lowerBound >= range.upperBound || !comparing && end >= range.upperBound { break }
            let part = own.clamped(to: range)
            if part.isEmpty { continue }
            let fresh = max(part.lowerBound, end)..<max(part.upperBound, end)
            if !fresh.isEmpty {
                try destination.withBytes(in: shifted(fresh, by: range.lowerBound)) { destination throws in
                    try read(fresh, of: member, into: &destination)
                }
            }
            end = max(end, part.upperBound)
            if !comparing { continue }
            let seen = part.lowerBound..<min(part.upperBound, fresh.lowerBound)
            for start in stride(from: seen.lowerBound, to: seen.upperBound, by: AliasBacking.pieceSize) {
                let piece = start..<min(seen.upperBound, start + AliasBacking.pieceSize)
                let memory = try scratch ?? Memory.allocate(AliasBacking.pieceSize)
                scratch = memory
                try memory.withMutableBytes(in: 0..<piece.count) { bytes throws in
                    try read(piece, of: member, into: &bytes)
                    let present = destination.bytes.extracting(shifted(piece, by: range.lowerBound))
                    if let place = bytes.bytes.firstDifference(from: present) {
                        throw contradiction(member, members, at: start + place)
                    }
                }
            }
        }
    }

    private func shifted(_ range: Range<Int>, by distance: Int) -> Range<Int> {
        range.lowerBound - distance..<range.upperBound - distance
    }

    private func read(_ range: Range<Int>, of member: Member, into destination: inout MutableRawSpan) throws {
        let distance = member.start - member.layout.byteRange.lowerBound
        try source.read(range.lowerBound + distance..<range.upperBound + distance, of: version, into: &destination)
    }

    // MARK: Any tensors

    /// Puts the whole storage together.
    private func assembleAll(into destination: inout MutableRawSpan) throws {
        destination.zero()
        let scratch = try Memory.allocate(AliasBacking.pieceSize)
        for member in members {
            try forEachRun(of: member, scratch) { run, bytes in
                destination.withBytes(in: run) { $0.copy(bytes) }
            }
        }
        // Whatever a later tensor wrote over differently is found by looking at all of them again.
        for member in members {
            try forEachRun(of: member, scratch) { run, bytes in
                if let place = bytes.firstDifference(from: destination.bytes.extracting(run)) {
                    throw contradiction(member, members.reversed(), at: run.lowerBound + place)
                }
            }
        }
    }

    /// Calls `body` with the pieces of a member's data and their places in the storage.
    private func forEachRun(
        of member: Member, _ scratch: Memory, _ body: (Range<Int>, RawSpan) throws -> Void
    ) throws {
        let size = member.layout.byteCount
        var runs = RowMajorRuns(member.layout)
        var run = 0..<0
        for start in stride(from: 0, to: size, by: scratch.byteCount) {
            let piece = min(scratch.byteCount, size - start)
            try scratch.withMutableBytes(in: 0..<piece) { bytes throws in
                let place = member.start + start
                try source.read(place..<place + piece, of: version, into: &bytes)
                var position = 0
                while position < piece {
                    if run.isEmpty {
                        guard let next = runs.next() else { return }
                        run = next
                    }
                    let count = min(run.count, piece - position)
                    try body(
                        run.lowerBound..<run.lowerBound + count,
                        bytes.bytes.extracting(position..<position + count))
                    position += count
                    run = run.lowerBound + count..<run.upperBound
                }
            }
        }
    }

    // MARK: Errors

    /// What is wrong if `member` has another value for a byte of the storage than was put there: by the first of
    /// `candidates` that covers it.
    private func contradiction(
        _ member: Member, _ candidates: some Sequence<Member>, at byte: Int
    ) -> InteropError {
        let other = candidates.first { $0.covers(byte) } ?? member
        return .contradictingAliases(file: source.name, first: other.name, second: member.name, byte: byte)
    }
}

extension AliasBacking.Member {
    fileprivate func covers(_ byte: Int) -> Bool {
        guard layout.byteRange.contains(byte) else { return false }
        var runs = RowMajorRuns(layout)
        while let run = runs.next() {
            if run.contains(byte) { return true }
        }
        return false
    }
}

extension RawSpan {
    /// The first position at which the bytes of two spans of one size differ.
    func firstDifference(from other: RawSpan) -> Int? {
        precondition(byteCount == other.byteCount)
        // Whole words first: this runs over all shared data.
        var position = 0
        while position + 8 <= byteCount,
            littleEndian(at: position, as: UInt64.self) == other.littleEndian(at: position, as: UInt64.self)
        {
            position += 8
        }
        while position < byteCount {
            if littleEndian(at: position, as: UInt8.self) != other.littleEndian(at: position, as: UInt8.self) {
                return position
            }
            position += 1
        }
        return nil
    }
}
