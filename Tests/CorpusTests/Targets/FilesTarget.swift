import NNInterop
import NNStore

/// A file of any format, opened and read as the tool would.
enum FilesTarget {
    static func run(_ bytes: [UInt8]) throws {
        // The last byte chooses what is asked for, so that it does not move what formats have at their start.
        let choice = bytes.last ?? 0
        let file = try CheckpointFiles.open(MemorySource(bytes, name: "fuzzed"), options: options(choice))
        _ = try file.metadata()
        let state = try file.state()
        var read = 0
        for tensor in CheckpointListing(state).tensors where tensor.layout.byteCount <= 1 << 20 {
            read += tensor.layout.byteCount
            if read > 16 << 20 { break }
            try tensor.tensor.forEachPiece { _ in }
        }
        if choice & 4 != 0, let container = file as? ContainerFile { _ = try container.checkpoint.verify() }
        if choice & 8 != 0 { try PyTorch.save(state, metadata: file.metadata(), to: MemorySink()) }
        if choice & 16 != 0 { try NumPy.save(state, metadata: file.metadata(), to: MemorySink()) }
        if choice & 32 != 0 { try file.saveAsGGUF(to: MemorySink()) }
        if choice & 64 != 0 { try file.saveAsContainer(to: MemorySink()) }
    }

    /// Small limits: what is asked to be in memory is none of the reader's.
    static func options(_ choice: UInt8) -> OpenOptions {
        var options = OpenOptions()
        options.limits.maximumBytesInMemory = 16 << 20
        options.maximumLogicalByteCount = 16 << 20
        options.keepsUnknownTypes = choice & 1 != 0
        options.skipsUnsupported = choice & 2 != 0
        return options
    }
}
