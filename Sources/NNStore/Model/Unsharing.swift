import Synchronization

extension StateTree {
    /// A copy in which every tensor is contiguous and has a storage of its own with just its elements: what an
    /// expanded view stands for is written out, and nothing is shared any more.
    ///
    /// The bytes are gathered when they are read; this alone reads nothing.
    public func withoutSharing() throws(StoreError) -> StateTree {
        try mapTensors { (tensor) throws(StoreError) in
            var own = tensor
            own.layout = try TensorLayout(tensor.dtype, shape: tensor.shape)
            own.storage = Storage(backing: ElementsBacking(tensor))
            return own
        }
    }
}

/// The elements of a tensor in row-major order, as a storage of their own.
private struct ElementsBacking: StorageBacking {
    private let tensor: StateTensor
    private let gathered = Gathered()

    /// The elements of a tensor with gaps or another order, once they were gathered: they can't be found by ranges.
    private final class Gathered: Sendable {
        let memory = Mutex<Memory?>(nil)
    }

    init(_ tensor: StateTensor) { self.tensor = tensor }

    var byteCount: Int { tensor.layout.byteCount }

    func read(_ range: Range<Int>, into destination: inout MutableRawSpan) throws {
        if range.isEmpty { return }
        if tensor.layout.isContiguous {
            let start = tensor.layout.byteRange.lowerBound
            return try tensor.storage.read(start + range.lowerBound..<start + range.upperBound, into: &destination)
        }
        let memory = try gathered.memory.withLock { gathered throws in
            if let memory = gathered { return memory }
            // An expanded tensor of a small file may stand for any number of bytes.
            try ReadLimits().checkMemory(byteCount, file: "a tensor of shape \(tensor.shape) without sharing")
            let memory = try Memory.allocate(byteCount)
            try memory.withMutableBytes(in: 0..<byteCount) { try tensor.copyElements(to: &$0) }
            gathered = memory
            return memory
        }
        memory.withBytes(in: range) { destination.copy($0) }
    }
}
