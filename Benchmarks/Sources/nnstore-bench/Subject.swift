import Foundation
import NNInterop
import NNStore

/// The state dict that everything is timed on, in memory, and the files that it was written to.
final class Subject {
    let threads: Int
    let logicalBytes: Int
    /// The name of the smallest tensor.
    let smallest: String
    private let state: StateTree
    private let folder: String
    private var buffer: MemorySink?
    private var encoded: MemorySource?
    private var destinations: StateTree?

    init(file: String, folder: String, threads: Int) throws {
        self.threads = threads
        self.folder = folder
        state = try CheckpointFiles.open(file).state()
        var bytes = 0
        var smallest: (name: String, size: Int)?
        for (path, tensor) in state.tensors {
            try tensor.storage.load()
            bytes += tensor.layout.byteCount
            if tensor.layout.byteCount < smallest?.size ?? .max { smallest = (path.flatName, tensor.layout.byteCount) }
        }
        logicalBytes = bytes
        self.smallest = smallest?.name ?? ""
    }

    func path(_ name: String) -> String { folder + "/nnstore-bench-\(name).nnck" }

    func size(_ name: String) -> Int? {
        (try? FileManager.default.attributesOfItem(atPath: path(name))[.size] as? Int) ?? nil
    }

    func remove(_ name: String) { try? FileManager.default.removeItem(atPath: path(name)) }

    func removeFiles() { for compression in Compression.allCases { remove(compression.rawValue) } }

    func save(_ compression: Compression, isDurable: Bool) throws {
        let options = SaveOptions(
            compression: compression, existing: .replace, isDurable: isDurable, threads: threads)
        try Checkpoint.save(state, to: path(compression.rawValue), options: options)
    }

    /// The file of a compression, in the page cache.
    func prepareFile(_ compression: Compression) throws {
        let path = path(compression.rawValue)
        if size(compression.rawValue) == nil { try save(compression, isDurable: true) }
        let handle = try FileHandle(forReadingFrom: URL(fileURLWithPath: path))
        while try autoreleasepool(invoking: { try handle.read(upToCount: 8 << 20)?.isEmpty == false }) {}
    }

    // MARK: In memory

    func prepareBuffer() throws {
        if buffer == nil { buffer = MemorySink(reserving: logicalBytes + logicalBytes / 8 + (64 << 20)) }
        buffer!.removeAll()
    }

    func encode() throws {
        try Checkpoint.save(state, to: buffer!, options: SaveOptions(threads: threads))
    }

    func prepareEncoded() throws {
        if encoded != nil { return }
        try prepareBuffer()
        try encode()
        encoded = MemorySource(buffer!.bytes)
        buffer = nil
        // Memory that is there, as ZipNN has it, whose results are dropped one after another.
        destinations = try Checkpoint.open(encoded!).readAll(threads: threads)
    }

    /// Decodes all tensors into memory that is there already.
    func decode() throws {
        let checkpoint = try Checkpoint.open(encoded!)
        let tensors = destinations!.tensors.map(\.tensor)
        try checkpoint.read(into: Array(zip(checkpoint.tensors, tensors)), threads: threads)
    }

    func printRatio(_ compression: Compression) throws {
        remove(compression.rawValue)
        try save(compression, isDurable: false)
        let bytes = size(compression.rawValue) ?? 0
        try printRow([
            "peer": "nnstore", "op": "ratio", "compression": compression.rawValue, "file_bytes": bytes,
            "ratio": Double(bytes) / Double(logicalBytes), "logical_bytes": logicalBytes, "threads": threads,
        ])
    }
}

#if !canImport(Darwin)
    /// Only Apple's Foundation has pools that need draining.
    private func autoreleasepool<Result>(invoking body: () throws -> Result) rethrows -> Result { try body() }
#endif
