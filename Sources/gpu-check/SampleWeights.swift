import NNStore

/// A state dict like that of a language model, whose values are spread as trained weights are.
enum SampleWeights {
    /// Layers of eight tensors, together about `byteCount` bytes.
    static func make(_ dtype: DType, byteCount: Int) throws -> StateTree {
        let width = 2048
        let elementSize = dtype.bytesPerBlock
        let layerSize = (4 * width * width + 3 * width * 4 * width + 2 * width) * elementSize
        var entries: [(String, StateTree)] = []
        var seed: UInt64 = 1
        func add(_ name: String, _ shape: [Int]) throws {
            let layout = try TensorLayout(dtype, shape: shape)
            let storage = try Storage(byteCount: layout.byteCount)
            try fill(storage, dtype, seed: seed)
            seed += 1
            entries.append((name, .tensor(try StateTensor(storage: storage, layout: layout))))
        }
        for layer in 0..<max(1, byteCount / layerSize) {
            let prefix = "layers.\(layer)."
            for name in ["query", "key", "value", "output"] {
                try add(prefix + "attention.\(name).weight", [width, width])
            }
            for name in ["gate", "up"] { try add(prefix + "feed.\(name).weight", [4 * width, width]) }
            try add(prefix + "feed.down.weight", [width, 4 * width])
            for name in ["norm1", "norm2"] { try add(prefix + name + ".weight", [width]) }
        }
        return .dictionary(entries)
    }

    private static func fill(_ storage: Storage, _ dtype: DType, seed: UInt64) throws {
        let step = 1 << 20
        let memory = try storage.writableMemory()
        try Workers.forEach(
            (storage.byteCount + step - 1) / step, threads: Workers.defaultCount, context: {}
        ) { number, _ in
            var random = Random(state: seed << 32 | UInt64(number) << 1 | 1)
            let range = number * step..<min((number + 1) * step, storage.byteCount)
            memory.withMutableBytes(in: range) { bytes in
                if dtype == .bf16 {
                    for place in stride(from: 0, to: range.count, by: 2) {
                        bytes.storeBytes(
                            of: UInt16(truncatingIfNeeded: random.normal().bitPattern >> 16), toByteOffset: place,
                            as: UInt16.self)
                    }
                } else {
                    for place in stride(from: 0, to: range.count, by: 4) {
                        bytes.storeBytes(of: random.normal(), toByteOffset: place, as: Float.self)
                    }
                }
            }
        }
    }

    /// Numbers that are normal enough: sums of four uniform ones (Irwin-Hall), scaled to weights.
    private struct Random {
        var state: UInt64

        mutating func next() -> UInt64 {
            // splitmix64 (Steele, Lea and Flood, 2014)
            state &+= 0x9E37_79B9_7F4A_7C15
            var value = state
            value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
            value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
            return value ^ (value >> 31)
        }

        mutating func normal() -> Float {
            let bits = next()
            var sum: Float = -2
            for part in 0..<4 { sum += Float((bits >> UInt64(16 * part)) & 0xFFFF) / 65536 }
            return sum * 0.035
        }
    }
}
