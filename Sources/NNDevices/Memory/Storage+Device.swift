import NNStore

extension Storage {
    /// Where the bytes are.
    package var device: Device { (deviceBacking as? DeviceStorage)?.gpu.device ?? .cpu }

    /// Whether the bytes are in pinned memory, which devices copy from by themselves.
    package var isPinned: Bool { withMemory { $0.isPinned } ?? false }

    /// A storage with the same bytes in pinned memory.
    ///
    /// - Throws: ``DeviceError/noDriver(reason:)`` if there is no GPU that it could be pinned for.
    package func pinned() throws -> Storage {
        guard let device = Device.gpus.first else { throw Device.whyNoGPU ?? .noDriver(reason: "there is no device") }
        if byteCount == 0 { return try Storage(byteCount: 0) }
        let memory = try PinnedMemory.allocate(byteCount, device.gpu().context())
        try memory.withMutableBytes(in: 0..<byteCount) { try read(0..<byteCount, into: &$0) }
        return Storage(memory: memory)
    }

    /// Begins to copy the bytes, which are pinned, to a device, and does not wait: work that is begun there afterwards does.
    /// Nobody writes to them meanwhile.
    ///
    /// - Returns: whether they are pinned; nothing is begun if not.
    package func beginCopy(to destination: DeviceStorage) throws -> Bool {
        guard byteCount > 0, destination.byteCount == byteCount,
            let memory = withMemory({ $0.isPinned ? $0 : nil }) ?? nil
        else { return false }
        try destination.gpu.copies.begin(memory, to: destination.address, destination.gpu.context())
        return true
    }
}
