import NNStore

/// What has to be done to take over what was saved, after everything has been checked and before anything is changed.
struct LoadingWork {
    /// Copies of tensors, done all at once; the name of what each changes, if that is in use.
    private(set) var copies: [(copy: TensorTransfer.Copy, name: String?)] = []
    /// Values that have to be converted or rearranged on the way, done after the copies.
    private var conversions: [(value: Tensor, tensor: Tensor, name: String?)] = []
    /// What comes last, when all values are there.
    var finishing: [() throws -> Void] = []

    /// Adds a value and where it goes.
    ///
    /// - Parameter name: what the tensor is called, if it is in use.
    mutating func add(_ value: Tensor, to tensor: Tensor, name: String?) throws {
        if value.dtype == tensor.dtype {
            try add(value.stateTensor(), to: tensor, name: name)
        } else {
            conversions.append((value, tensor, name))
        }
    }

    /// Adds a value of the tensor's dtype.
    mutating func add(_ value: StateTensor, to tensor: Tensor, name: String?) throws {
        // Of tensors on a GPU only whole runs of bytes can be written from here.
        if tensor.device.isGPU && !(tensor.isContiguous && value.layout.isContiguous) {
            conversions.append((try Tensor(storage: value.storage, layout: value.layout), tensor, name))
            return
        }
        let copy = TensorTransfer.Copy(
            name: name.map { "\"\($0)\"" } ?? "a tensor", source: value, destination: try tensor.stateTensor())
        copies.append((copy, name))
    }

    /// Adds other work, whose names get `prefix` in front of them.
    mutating func add(_ other: LoadingWork, prefix: String) {
        copies += other.copies.map { ($0.copy, $0.name.map { prefix.joined($0) }) }
        conversions += other.conversions.map { ($0.value, $0.tensor, $0.name.map { prefix.joined($0) }) }
        finishing += other.finishing
    }

    /// Does it.
    ///
    /// - Throws: ``TensorError/partlyLoaded(file:changed:reason:)`` if something fails after something in use may have
    ///   changed.
    func run(_ file: String?, _ options: LoadOptions) throws {
        var changed: [String] = []
        do {
            do {
                try TensorTransfer(copies.map(\.copy)).run(threads: options.threads, cancellation: options.cancellation)
            } catch let interruption as TensorTransfer.Interruption {
                changed = interruption.begun.compactMap { copies[$0].name }
                throw interruption.reason
            }
            changed = copies.compactMap(\.name)
            for (value, tensor, name) in conversions {
                let loaded = try value.stateTensor().loadedAlone()
                if let name { changed.append(name) }
                try noGrad {
                    let value = try Tensor(storage: loaded.storage, layout: loaded.layout)
                    try tensor.writeValues(of: value.copied(to: tensor.device), "load")
                }
            }
            for finish in finishing { try finish() }
        } catch {
            if changed.isEmpty { throw error }
            throw TensorError.partlyLoaded(file: file ?? "the state dict", changed: changed, reason: "\(error)")
        }
    }
}
