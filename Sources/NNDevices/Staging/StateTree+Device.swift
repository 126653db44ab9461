import NNStore

extension StateTree {
    /// The same tree with its tensors on a device: over new storages, which share what these share. Tensors that are on the
    /// device are copied as well.
    ///
    /// Storages that are in containers are decoded into pinned memory and copied from there, on all cores; no more memory of
    /// the process is used than the ring of pinned buffers has (at most 128 MiB), however large the checkpoint.
    ///
    /// - Parameters:
    ///   - device: where to.
    ///   - threads: how many threads read; all processors' if `nil`.
    ///   - cancellation: stops between pieces.
    /// - Throws: ``DeviceError``; `StoreError`, and what reading throws. Nothing stays allocated on the device then.
    public func copied(
        to device: Device, threads: Int? = nil, cancellation: Cancellation? = nil
    ) throws -> StateTree {
        try copied(to: device.isGPU ? device.gpu() : nil, threads: threads, cancellation: cancellation)
    }

    /// The same for a GPU of any driver, or for the CPU.
    func copied(to gpu: GPU?, threads: Int? = nil, cancellation: Cancellation? = nil) throws -> StateTree {
        var numbers: [Storage: Int] = [:]
        var storages: [Storage] = []
        for (_, tensor) in tensors where numbers[tensor.storage] == nil {
            numbers[tensor.storage] = storages.count
            storages.append(tensor.storage)
        }
        let copies = try storages.copied(to: gpu, threads: threads, cancellation: cancellation)
        return try mapTensors { (tensor) throws(StoreError) in
            var copy = tensor
            copy.storage = copies[numbers[tensor.storage]!]
            return copy
        }
    }
}

extension [Storage] {
    /// Storages on a device with the same bytes.
    package func copied(
        to device: Device, threads: Int? = nil, cancellation: Cancellation? = nil
    ) throws -> [Storage] {
        try copied(to: device.isGPU ? device.gpu() : nil, threads: threads, cancellation: cancellation)
    }

    /// Storages on a GPU, or on the CPU, with the same bytes.
    fileprivate func copied(to gpu: GPU?, threads: Int?, cancellation: Cancellation?) throws -> [Storage] {
        let sizes = map(\.byteCount)
        let copies =
            if let gpu { try DeviceStorage.allocate(sizes, on: gpu).map { Storage(on: $0) } } else {
                try Memory.allocate(sizes).map { Storage(memory: $0) }
            }
        try copyBytes(to: copies, threads: threads, cancellation: cancellation)
        return copies
    }

    /// Moves the bytes to a device; the storages stay the same. Either all are moved or none.
    package func move(to device: Device) throws {
        let copies = try copied(to: device)
        for (storage, copy) in zip(self, copies) { storage.takeContents(of: copy) }
    }

    /// Copies all bytes to other storages, which have the same sizes.
    package func copyBytes(to others: [Storage], threads: Int? = nil, cancellation: Cancellation? = nil) throws {
        func bytes(_ storage: Storage) throws(StoreError) -> StateTensor {
            try StateTensor(storage: storage, layout: try TensorLayout(.u8, shape: [storage.byteCount]))
        }
        let copies = try zip(self, others).enumerated().map { number, pair in
            TensorTransfer.Copy(
                name: "storage \(number)", source: try bytes(pair.0), destination: try bytes(pair.1))
        }
        do {
            try TensorTransfer(copies).run(threads: threads, cancellation: cancellation)
        } catch let interruption as TensorTransfer.Interruption {
            if case DeviceError.indexOutOfRange = interruption.reason {
                // Whoever asks for values has heard of it now.
                for storage in self { (storage.deviceBacking as? DeviceStorage)?.forgetIndexProblem() }
            }
            throw interruption.reason
        }
    }
}
