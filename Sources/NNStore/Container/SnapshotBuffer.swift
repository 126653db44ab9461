import Synchronization

/// Memory for a copy of a state tree, used again for the next one: what a tree holds now can be saved while the tensors
/// change. What is on a device is copied there, if there is room.
package final class SnapshotBuffer: Sendable {
    private let kept = Mutex<Memory?>(nil)

    /// An empty buffer.
    package init() {}

    /// How many bytes are copied at a time.
    private static let stepSize = 4 << 20

    /// The tree over copies of what its tensors see of their storages. What is shared is shared in the copy.
    ///
    /// The copy is good until the next one is made. Copies on a device are begun in the order of its work, and not waited for.
    ///
    /// - Throws: ``StoreError`` if there is not enough memory; what reading a storage throws.
    package func snapshot(of state: StateTree, threads: Int? = nil) throws -> StateTree {
        let plan = SavePlan(state)
        // Of each storage: its copy on the device, or else where in the buffer it is.
        let onDevices = try plan.storages.map { storage in
            try storage.storage.deviceBacking?.snapshot(of: storage.visibility.range)
        }
        var ranges: [Range<Int>] = []
        var size = 0
        for (number, storage) in plan.storages.enumerated() {
            if onDevices[number] != nil {
                ranges.append(size..<size)
                continue
            }
            ranges.append(size..<size + storage.byteCount)
            let (end, overflow) = size.addingReportingOverflow(storage.byteCount)
            // Cache lines of their own; above all, elements of any dtype are aligned.
            size = (end + 63) / 64 * 64
            guard !overflow, size >= end else {
                throw StoreError.invalidArgument(reason: "a snapshot of all tensors would take more than 2^63 bytes")
            }
        }
        let memory = try memory(of: size)
        var steps: [(storage: Int, range: Range<Int>)] = []
        for (number, storage) in plan.storages.enumerated() where onDevices[number] == nil {
            for start in stride(from: 0, to: storage.byteCount, by: SnapshotBuffer.stepSize) {
                steps.append((number, start..<min(start + SnapshotBuffer.stepSize, storage.byteCount)))
            }
        }
        let (all, places) = (steps, ranges)
        try Workers.forEach(all.count, threads: Workers.count(threads), context: {}) { number, _ in
            let (storage, range) = all[number]
            let visible = plan.storages[storage]
            let place = places[storage].lowerBound
            let start = visible.visibility.range.lowerBound
            try memory.withMutableBytes(in: place + range.lowerBound..<place + range.upperBound) {
                try visible.storage.read(start + range.lowerBound..<start + range.upperBound, into: &$0)
            }
        }
        let copies = zip(onDevices, ranges).map { onDevice, range in
            onDevice.map { Storage(on: $0) } ?? Storage(memory: memory.part(in: range))
        }
        return try plan.rebased(state).mapTensors { (tensor) throws(StoreError) in
            var tensor = tensor
            tensor.storage = copies[plan.ids[tensor.storage]! - 1]
            return tensor
        }
    }

    /// The memory that is kept, if it has about the size; otherwise fresh memory, after the old one is gone.
    private func memory(of size: Int) throws -> Memory {
        try kept.withLock { kept in
            if let kept, kept.byteCount >= size, kept.byteCount / 2 <= size { return kept }
            kept = nil
            let memory = try Memory.allocate(size)
            kept = memory
            return memory
        }
    }
}
