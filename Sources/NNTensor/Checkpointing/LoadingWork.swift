import NNStore
import OrderedCollections

/// What has to be done to take over what was saved, after everything has been checked and before anything is changed.
struct LoadingWork {
    /// Copies of tensors, done all at once; the names of what each changes, of those that are in use.
    private(set) var copies: [(copy: TensorTransfer.Copy, names: [String])] = []
    /// Values that have to be converted or rearranged on the way, done after the copies.
    private var conversions: [(value: Tensor, tensor: Tensor, names: [String])] = []
    /// What comes last, when all values are there.
    var finishing: [() throws -> Void] = []

    /// Adds a value and where it goes.
    ///
    /// - Parameter names: what the tensor is called, if it is in use, and others that see what is written.
    mutating func add(_ value: Tensor, to tensor: Tensor, names: [String]) throws {
        if value.dtype == tensor.dtype {
            try add(value.stateTensor(), to: tensor, names: names)
        } else {
            conversions.append((value, tensor, names))
        }
    }

    /// Adds a value of the tensor's dtype.
    mutating func add(_ value: StateTensor, to tensor: Tensor, names: [String]) throws {
        // Of tensors on a GPU only whole runs of bytes can be written from here.
        if tensor.device.isGPU && !(tensor.isContiguous && value.layout.isContiguous) {
            conversions.append((try Tensor(storage: value.storage, layout: value.layout), tensor, names))
            return
        }
        let copy = TensorTransfer.Copy(
            name: names.first.map { "\"\($0)\"" } ?? "a tensor", source: value, destination: try tensor.stateTensor())
        copies.append((copy, names))
    }

    /// Adds other work, whose names get `prefix` in front of them.
    mutating func add(_ other: LoadingWork, prefix: String) {
        copies += other.copies.map { ($0.copy, $0.names.map { prefix.joined($0) }) }
        conversions += other.conversions.map { ($0.value, $0.tensor, $0.names.map { prefix.joined($0) }) }
        finishing += other.finishing
    }

    /// Does it.
    ///
    /// - Throws: ``TensorError/partlyLoaded(file:changed:reason:)`` if something fails after something in use may have
    ///   changed.
    func run(_ file: String?, _ options: LoadOptions) throws {
        var changed: OrderedSet<String> = []
        do {
            do {
                try TensorTransfer(copies.map(\.copy)).run(threads: options.threads, cancellation: options.cancellation)
            } catch let interruption as TensorTransfer.Interruption {
                changed = OrderedSet(interruption.begun.flatMap { copies[$0].names })
                throw interruption.reason
            }
            changed = OrderedSet(copies.flatMap(\.names))
            for (value, tensor, names) in conversions {
                let loaded = try value.stateTensor().loadedAlone()
                changed.append(contentsOf: names)
                try noGrad {
                    let value = try Tensor(storage: loaded.storage, layout: loaded.layout)
                    try tensor.writeValues(of: value.copied(to: tensor.device), "load")
                }
            }
            for finish in finishing { try finish() }
        } catch {
            if changed.isEmpty { throw error }
            throw TensorError.partlyLoaded(file: file ?? "the state dict", changed: Array(changed), reason: "\(error)")
        }
    }
}
