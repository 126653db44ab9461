import NNInterop
import NNStore

/// What libFuzzer calls with each input: a file of any format, opened and read as the tool would.
///
/// Everything that a reader throws is fine; traps, endless work and memory without bounds are not.
@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let bytes = Array(UnsafeBufferPointer(start: start, count: count))
    // The last byte chooses what is asked for, so that it does not move what formats have at their start.
    let choice = bytes.last ?? 0
    var options = OpenOptions()
    options.limits.maximumBytesInMemory = 64 << 20
    options.maximumLogicalByteCount = 16 << 20
    options.keepsUnknownTypes = choice & 1 != 0
    options.skipsUnsupported = choice & 2 != 0
    do {
        let file = try CheckpointFiles.open(MemorySource(bytes, name: "fuzzed"), options: options)
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
    } catch {
        // Messages are made of what a file says, too.
        _ = "\(error)"
    }
    return 0
}
