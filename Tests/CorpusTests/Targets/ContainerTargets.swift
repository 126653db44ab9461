@testable import NNStore

enum ContainerTargets {
    private static let limits = ReadLimits(maximumBytesInMemory: 16 << 20)

    /// Opens a container and asks it for everything. What full verification calls sound must load, the same each way.
    static func read(_ bytes: [UInt8]) throws {
        let checkpoint = try Checkpoint.open(MemorySource(bytes, name: "fuzzed"), limits: limits)
        let isSound = try checkpoint.verify(.full, threads: 1).isSound
        do {
            let entries = try checkpoint.tensors
            _ = try checkpoint.metadata
            let all = try checkpoint.readAll(threads: 1)
            guard all.tensors.count == entries.count else {
                throw FuzzTarget.Finding("other tensors in the tree than in the list")
            }
            for entry in entries.prefix(20) where entry.layout.byteCount <= 1 << 20 {
                do {
                    try checkpoint.read(entry.name).forEachPiece { _ in }
                } catch StoreError.ambiguousName {
                    // Two paths may give one name.
                } catch StoreError.notFound {
                    // A name that is no path: keys may have dots in them.
                }
            }
        } catch let error as StoreError {
            if case .limitExceeded = error { return }
            if isSound { throw FuzzTarget.Finding("a container that is sound can't be loaded: \(error)") }
        }
    }

    /// What recovery saves of a damaged container is sound.
    static func recover(_ bytes: [UInt8]) throws {
        let source = try MendedSource(MemorySource(bytes, name: "fuzzed"))
        let sound = try Checkpoint.open(source, limits: limits).soundPart(source)
        for (_, tensor) in sound.state.tensors where tensor.layout.byteCount > 16 << 20 { return }
        let sink = MemorySink()
        try Checkpoint.save(sound.state, metadata: sound.metadata, to: sink, options: SaveOptions(threads: 1))
        let saved = try Checkpoint.open(MemorySource(sink.bytes))
        let report = try saved.verify(threads: 1)
        guard report.isSound else { throw FuzzTarget.Finding("what was saved is damaged: \(report.problems)") }
    }
}
