import SystemPackage

/// A source whose unreadable blocks are zeros: a disk's bad sectors, which the system reports as input/output errors.
///
/// For recovery alone: what was zeroed has another checksum than it should have, so what it hits counts as damaged.
struct SectorTolerantSource: ByteSource {
    private let base: any ByteSource
    var name: String { base.name }

    init(_ base: any ByteSource) { self.base = base }

    func readEnd(_ count: Int) throws(StoreError) -> (bytes: [UInt8], version: SourceVersion) {
        let (_, version) = try base.readEnd(0)
        return (try bytes(max(0, version.byteCount - max(0, count))..<version.byteCount, of: version), version)
    }

    func read(
        _ ranges: [Range<Int>], of version: SourceVersion, into destination: inout MutableRawSpan
    ) throws(StoreError) {
        try readEach(ranges, into: &destination) { (range, target) throws(StoreError) in
            if try isRead(range, of: version, into: &target) { return }
            // Block by block, so that one bad sector costs one block.
            var start = range.lowerBound
            while start < range.upperBound {
                let end = min(range.upperBound, (start / FileLayout.block + 1) * FileLayout.block)
                let place = start - range.lowerBound..<end - range.lowerBound
                try target.withBytes(in: place) { (block) throws(StoreError) in
                    if try !isRead(start..<end, of: version, into: &block) { block.zero() }
                }
                start = end
            }
        }
    }

    /// Reads a range, and returns false if the device can't.
    private func isRead(
        _ range: Range<Int>, of version: SourceVersion, into destination: inout MutableRawSpan
    ) throws(StoreError) -> Bool {
        do throws(StoreError) {
            try base.read([range], of: version, into: &destination)
            return true
        } catch {
            guard case .system(_, _, Errno.ioError.rawValue) = error else { throw error }
            return false
        }
    }
}
