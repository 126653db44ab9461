import NNDevices
import NNStore
import NNTensor

/// What moving to a GPU keeps and what it refuses, on a real one.
struct SemanticsPhase {
    let device: Device
    let folder: String

    /// - Returns: whether all is as it should be.
    func run() -> Bool {
        let checks: [(String, () throws -> Bool)] = [
            ("sharing stays when a model moves", sharing), ("views outside follow", views),
            ("devices do not mix", mixing), ("a bad index is an error when values are read", badIndex),
            ("too much memory is an error, and the device works on", outOfMemory),
            ("pinned copies arrive", pinned), ("a model is saved from the device and loaded to it", saving),
            ("a save in the background holds the values of its moment", background),
            ("random numbers are those of the CPU", random),
            ("a bad index keeps saves from going on", badIndexSave),
            ("layer norm is exact far from zero", farFromZero),
            ("products of batches in any order are those of the CPU", batches),
            ("loading goes on beside a save", together),
        ]
        var isGood = true
        for (name, check) in checks {
            var problem: String?
            var isRight = false
            do { isRight = try check() } catch { problem = "\(error)" }
            isGood = isGood && isRight
            if let problem {
                Report.print("semantics", ["check": .text(name), "ok": .flag(false), "error": .text(problem)])
            } else {
                Report.print("semantics", ["check": .text(name), "ok": .flag(isRight)])
            }
        }
        return isGood
    }

    private final class Tied: Module {
        let embedding = Embedding(10, 4)
        let head = Linear(4, 10, bias: false)

        override init() {
            super.init()
            head.weight = embedding.weight
        }

        override func forward(_ x: Tensor) throws -> Tensor { try head(embedding(x)) }
    }

    private func values(_ tensor: Tensor) throws -> [Double] { try tensor.elements(as: Double.self) }

    private func throwsCode(_ code: String, _ body: () throws -> Void) -> Bool {
        do {
            try body()
            return false
        } catch let error as TensorError {
            return error.code == code
        } catch let error as DeviceError {
            return error.code == code
        } catch {
            return false
        }
    }

    private func sharing() throws -> Bool {
        let net = try Tied().to(device)
        try noGrad { try net.embedding.weight.copy(from: Tensor(3.0)) }
        return try net.head.weight === net.embedding.weight && net.head.weight.device == device
            && values(net.head.weight) == [Double](repeating: 3, count: 40)
    }

    private func views() throws -> Bool {
        let net = Tied()
        let view = net.embedding.weight.detach()[2]
        try net.to(device)
        try noGrad { try net.embedding.weight.copy(from: Tensor(5.0)) }
        return try view.device == device && values(view) == [5, 5, 5, 5]
    }

    private func mixing() throws -> Bool {
        let there = Tensor.ones([3], device: device)
        let isRefused = throwsCode("wrong-device") { _ = try maximum(there, Tensor.ones(3)) }
        return try isRefused && values(there * 2 + 1) == [3, 3, 3]
    }

    private func badIndex() throws -> Bool {
        let table = Tensor.ones([4, 3], device: device)
        let rows = try embedding(Tensor([1, 9] as [Int64]).to(device), table)
        return try throwsCode("index-out-of-range") { _ = try values(rows) } && values(table).count == 12
    }

    private func outOfMemory() throws -> Bool {
        let total = try device.memory().total
        let isRefused = throwsCode("out-of-device-memory") {
            _ = try StateTree.tensor(
                StateTensor(
                    storage: Storage(backing: Endless(byteCount: 2 * total)),
                    layout: TensorLayout(.u8, shape: [2 * total]))
            ).copied(to: device)
        }
        return try isRefused && values(Tensor.ones([3], device: device) + 1) == [2, 2, 2]
    }

    /// Bytes that nobody will come to read.
    private struct Endless: StorageBacking {
        let byteCount: Int
        func read(_ range: Range<Int>, into destination: inout MutableRawSpan) throws {}
    }

    private func pinned() throws -> Bool {
        let batch = try Tensor.arange(0, 1 << 20, dtype: .f64).pinMemory()
        let sums = try (0..<8).map { _ in try batch.to(device).sum() }
        return try batch.isPinned && sums.allSatisfy { try $0.item() == 549_755_289_600 }
    }

    private func saving() throws -> Bool {
        let path = folder + "/gpu-check-model.nnck"
        defer { System.remove(path) }
        let net = Tied()
        let expected = try values(net.embedding.weight)
        try net.to(device).save(to: path)
        let other = try Tied().to(device)
        try other.load(from: path)
        return try values(other.head.weight) == expected && other.head.weight === other.embedding.weight
    }

    private func background() throws -> Bool {
        let path = folder + "/gpu-check-background.nnck"
        defer { System.remove(path) }
        let x = Tensor.ones([64 << 20], device: device)
        let save = try AsyncSaver().save(x.stateTree(), to: path)
        for _ in 0..<10 { try x.copy(from: x * 2) }
        try save.wait()
        let saved: Tensor = try load(path)
        return try saved.sum().item() == Double(64 << 20) && x.max().item() == 1024
    }

    private func badIndexSave() throws -> Bool {
        let path = folder + "/gpu-check-bad.nnck"
        defer { System.remove(path) }
        let table = Tensor.ones([4, 3], device: device)
        _ = try embedding(Tensor([9] as [Int64]).to(device), table)
        let code = "index-out-of-range"
        let isRefused = throwsCode(code) { try save(["table": table], to: path) }
        // Until somebody has heard of it.
        let isTold = throwsCode(code) { try device.synchronize() }
        try save(["table": table], to: path)
        let saved: [String: Tensor] = try load(path)
        return try isRefused && isTold && saved["table"].map(values) == [Double](repeating: 1, count: 12)
    }

    private func farFromZero() throws -> Bool {
        let x = Tensor.randn([64, 1024], generator: Generator(seed: 4)) + 10_000
        let exact = try layerNorm(x.to(.f64), [1024])
        return try largestDifference(layerNorm(x.to(device), [1024]), exact) < 1e-4
    }

    private func batches() throws -> Bool {
        let left = Tensor.randn([3, 2, 5, 7, 8], generator: Generator(seed: 5))
        let right = Tensor.randn([2, 1, 5, 8, 6], generator: Generator(seed: 6))
        func product(_ left: Tensor, _ right: Tensor) throws -> Tensor {
            try matmul(left.transpose(0, 1), right)
        }
        return try [true, false].allSatisfy { usesBlas in
            try GPU.$usesBlas.withValue(usesBlas) {
                try largestDifference(product(left.to(device), right.to(device)), product(left, right)) < 1e-4
            }
        }
    }

    private func largestDifference(_ here: Tensor, _ there: Tensor) throws -> Double {
        try zip(values(here), values(there)).map { abs($0 - $1) }.max() ?? 0
    }

    private func together() throws -> Bool {
        let (first, second) = (folder + "/gpu-check-first.nnck", folder + "/gpu-check-second.nnck")
        defer { for path in [first, second] { System.remove(path) } }
        let x = Tensor.randn([16 << 20], device: device)
        try save(["x": x], to: first)
        let tree = StateTree.dictionary(StateDictionary([("x", try x.stateTree())]))
        let saves = try [first, second].map { try AsyncSaver().save(tree, to: $0 + ".new") }
        defer { for path in [first, second] { System.remove(path + ".new") } }
        let sums = try (0..<4).map { _ in
            let loaded: [String: Tensor] = try load(first, options: LoadOptions(device: device))
            return try loaded["x"].map { try ($0 - x).abs().max().item() }
        }
        for save in saves { try save.wait() }
        let saved: [Tensor?] = try [first, second].map { path in
            let loaded: [String: Tensor] = try load(path + ".new")
            return loaded["x"]
        }
        return try sums.allSatisfy { $0 == 0 }
            && saved.allSatisfy { try $0.map { try values($0) == values(x) } == true }
    }

    private func random() throws -> Bool {
        let here = Tensor.randn([1000], generator: Generator(seed: 3))
        let there = Tensor.randn([1000], device: device, generator: Generator(seed: 3))
        return try values(here) == values(there)
    }
}
