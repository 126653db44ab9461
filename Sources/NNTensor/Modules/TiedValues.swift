import NNStore

/// Whether values that are to go to the same memory are the same.
enum TiedValues {
    static func agree(_ entries: [(name: String, tensor: Tensor, value: Tensor)]) throws -> Bool {
        guard let first = entries.first else { return true }
        guard entries.allSatisfy({ $0.value.dtype == first.value.dtype }) else { return false }
        if entries.allSatisfy({ $0.tensor.layout == first.tensor.layout }) {
            let value = try first.value.stateTensor()
            return try entries.dropFirst().allSatisfy { try equal(value, $0.value.stateTensor()) }
        }
        // Different views of one memory: written to a copy of it, each has to leave the others' values as they are.
        guard first.value.dtype == first.tensor.dtype else { return false }
        let scratch = try Storage(byteCount: first.tensor.storage.byteCount)
        let views = try entries.map { try StateTensor(storage: scratch, layout: $0.tensor.layout) }
        for (entry, view) in zip(entries, views) {
            let copy = TensorTransfer.Copy(name: entry.name, source: try entry.value.stateTensor(), destination: view)
            try TensorTransfer([copy]).run()
        }
        return try zip(entries, views).allSatisfy { try equal($0.value.stateTensor(), $1) }
    }

    /// How many bytes are compared at a time.
    private static let stepSize = 1 << 20

    /// Whether the bytes of all elements are equal.
    static func equal(_ left: StateTensor, _ right: StateTensor) throws -> Bool {
        guard left.layout.isContiguous && right.layout.isContiguous else {
            return try elements(left.loadedAlone()) == elements(right.loadedAlone())
        }
        func bytes(_ tensor: StateTensor, _ range: Range<Int>) throws -> [UInt8] {
            var bytes = [UInt8](repeating: 0, count: range.count)
            let start = tensor.layout.byteRange.lowerBound
            try bytes.withMutableRawSpan {
                try tensor.storage.read(start + range.lowerBound..<start + range.upperBound, into: &$0)
            }
            return bytes
        }
        let count = left.layout.byteCount
        for start in stride(from: 0, to: count, by: stepSize) {
            let range = start..<min(start + stepSize, count)
            if try bytes(left, range) != bytes(right, range) { return false }
        }
        return true
    }

    private static func elements(_ tensor: StateTensor) throws -> [UInt8] {
        var elements = [UInt8](repeating: 0, count: tensor.layout.byteCount)
        try elements.withMutableRawSpan { try tensor.copyElements(to: &$0) }
        return elements
    }
}
