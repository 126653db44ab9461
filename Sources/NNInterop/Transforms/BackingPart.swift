import NNStore

/// A part of another backing.
struct BackingPart: StorageBacking {
    let base: any StorageBacking
    let range: Range<Int>

    var byteCount: Int { range.count }

    func willLoad() throws { try base.willLoad() }

    func read(_ wanted: Range<Int>, into destination: inout MutableRawSpan) throws {
        try base.read(range.lowerBound + wanted.lowerBound..<range.lowerBound + wanted.upperBound, into: &destination)
    }
}
