import GoldenCases
import Foundation
import NNStore
import NNTensor
import Testing

/// A training in which everything counts that a checkpoint has to keep: dropout, batch norm, Adam's moments, a schedule, a
/// generator that shuffles.
private struct Training {
    let net: Module
    let optimizer: AdamW
    let scheduler: LearningRateScheduler
    let shuffling = Generator(seed: 5)
    let x: Tensor
    let classes: Tensor

    init() throws {
        (net, x, classes) = withGenerator(Generator(seed: 17)) {
            let net = Sequential(
                Conv2d(1, 4, kernelSize: 3), BatchNorm2d(4), ReLU(), Dropout(0.3), Flatten(), LazyLinear(20), GELU(),
                Dropout(0.1), Linear(20, 5))
            return (net, .randn(40, 1, 8, 8), .randint(0..<5, [40]))
        }
        _ = try net.eval()(x)
        net.train()
        optimizer = AdamW(net.parameters(), learningRate: 1e-2)
        scheduler = LearningRateScheduler(optimizer, .cosine(over: 12).after(warmUp: 2))
    }

    func step() throws {
        let batch = Tensor.randint(0..<40, [16], generator: shuffling)
        optimizer.zeroGrad()
        try crossEntropy(net(x[batch]), classes[batch]).backward()
        try optimizer.step()
        scheduler.step()
    }

    /// All bits of model and optimizer. FNV-1a (G. Fowler, L. Noll, K. Vo).
    func fingerprint() throws -> String {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        var tensors = net.stateDict().entries.map { $0.tensor! }
        for (_, tensor) in try optimizer.stateDict().tensors {
            tensors.append(try Tensor(storage: tensor.storage, layout: tensor.layout))
        }
        for tensor in tensors {
            for value in try tensor.elements(as: Double.self) { hash = (hash ^ value.bitPattern) &* 0x100_0000_01b3 }
        }
        return String(hash, radix: 16) + " \(scheduler.learningRates) \(Generator.default.state.offset)"
    }

    static func withThreads<Result>(_ count: Int, _ body: () throws -> Result) rethrows -> Result {
        let before = Parallelism.threads
        Parallelism.threads = count
        defer { Parallelism.threads = before }
        return try body()
    }

    static let path = FileManager.default.temporaryDirectory.appendingPathComponent("nnstore-resume.nnck").path
}

@Suite("A training", .serialized)
struct TrainingCheckpointTests {
    private let folder: TemporaryFolder
    init() throws { folder = try TemporaryFolder() }

    @Test("that is resumed in another process, with another number of threads, ends with the same bits")
    func resume() async throws {
        let expected = try Training.withThreads(2) {
            try withGenerator(Generator(seed: 99)) {
                let training = try Training()
                for _ in 0..<5 { try training.step() }
                try TrainingCheckpoint.save(
                    to: Training.path, step: 4, training.net, training.optimizer, training.scheduler,
                    training.shuffling)
                for _ in 0..<5 { try training.step() }
                return try training.fingerprint()
            }
        }
        defer { try? FileManager.default.removeItem(atPath: Training.path) }
        let result = await #expect(processExitsWith: .success, observing: [\.standardOutputContent]) {
            try Training.withThreads(1) {
                // What the checkpoint has replaces all of this.
                try withGenerator(Generator(seed: 1)) {
                    let training = try Training()
                    try training.step()
                    let last = try TrainingCheckpoint.open(Training.path)
                    try last.restore(training.net, training.optimizer, training.scheduler, training.shuffling)
                    for _ in last.step + 1..<10 { try training.step() }
                    print("end", try training.fingerprint())
                }
            }
        }
        let output = String(decoding: result?.standardOutputContent ?? [], as: UTF8.self)
        #expect(output.contains("end \(expected)"), "\(output)")
    }

    @Test(
        "has its step, epoch, values, metrics and where it was saved in the file, and names for several parts of a kind"
    )
    func contents() throws {
        let (actor, critic) = (Linear(2, 3), Linear(3, 1))
        let values: StateTree = ["best": 0.25, "seen": ["a", "b"], "mean": try Tensor.ones(3).stateTree()]
        let metrics = ["loss": 0.5, "accuracy": 0.75]
        try TrainingCheckpoint.save(
            to: folder.path("two.nnck"), step: 7, epoch: 2, named: ["actor": actor, "critic": critic],
            values: values, metrics: metrics)
        let checkpoint = try TrainingCheckpoint.open(folder.path("two.nnck"))
        #expect(checkpoint.step == 7 && checkpoint.epoch == 2 && checkpoint.metrics == metrics)
        #expect(checkpoint.values["best"]?.double == 0.25 && checkpoint.values["seen"]?[1]?.string == "b")
        #expect(checkpoint.values["mean"]?.tensor?.shape == [3])
        #expect(checkpoint.partNames == ["actor", "critic"] && checkpoint.environment == .current)
        let (first, second) = (Linear(2, 3), Linear(3, 1))
        try checkpoint.restore(named: ["critic": second, "actor": first])
        #expect(try first.weight.elements(as: Float.self) == actor.weight.elements(as: Float.self))
        #expect(try second.weight.elements(as: Float.self) == critic.weight.elements(as: Float.self))
        // A module takes its part from a training by its name; a model without being told.
        try second.load(from: folder.path("two.nnck"), prefix: "critic")
        #expect(throws: TensorError.self) { try first.load(folder.path("two.nnck")) }
        try TrainingCheckpoint.save(to: folder.path("one.nnck"), step: 1, actor)
        try first.load(folder.path("one.nnck"))
        let state: StateDict = try load(folder.path("one.nnck"))
        #expect(state.keys == ["weight", "bias"] && state.modules[""]?.type == "Linear")
    }

    @Test("can't be saved with two parts of one name, or with names that are taken")
    func names() throws {
        let path = folder.path("x.nnck")
        #expect(throws: TensorError.self) { try TrainingCheckpoint.save(to: path, step: 1, Linear(1, 1), Linear(1, 1)) }
        #expect(throws: TensorError.self) { try TrainingCheckpoint.save(to: path, step: -1, Linear(1, 1)) }
        for name in ["step", "metrics", "", "a.b", "default_generator"] {
            #expect(throws: TensorError.self, "\(name)") {
                try TrainingCheckpoint.save(to: path, step: 1, named: [name: Linear(1, 1)])
            }
        }
        #expect(folder.names == [])
    }

    @Test("changes nothing when one of its parts does not fit, or is not there, or when the file is none")
    func misfits() throws {
        let (net, path) = (Linear(2, 3), folder.path("x.nnck"))
        let optimizer = SGD(net.parameters(), learningRate: 0.5, momentum: 0.9)
        for parameter in net.parameters() { parameter.grad = .ones(parameter.shape) }
        try optimizer.step()
        try TrainingCheckpoint.save(to: path, step: 1, net, optimizer)
        let checkpoint = try TrainingCheckpoint.open(path)

        let fresh = Linear(2, 3)
        let before = try fresh.weight.elements(as: Float.self)
        let offset = Generator.default.state
        let wrong = SGD([fresh.weight], learningRate: 0.1, momentum: 0.9)
        #expect(throws: TensorError.self) { try checkpoint.restore(fresh, wrong) }
        #expect(throws: TensorError.self) { try checkpoint.restore(fresh, Generator(seed: 1)) }
        // A part that was saved is not forgotten without a word.
        #expect(throws: TensorError.self) { try checkpoint.restore(fresh) }
        #expect(throws: TensorError.self) { try checkpoint.restore(fresh, Adam(fresh.parameters())) }
        #expect(try fresh.weight.elements(as: Float.self) == before && Generator.default.state == offset)
        #expect(wrong.groups[0].learningRate == 0.1)
        do {
            try checkpoint.restore(fresh, Generator(seed: 1))
        } catch {
            #expect("\(error)" == "\(path): holds the parts \"model\", \"optimizer\", not \"generator\"")
        }
        // An optimizer of a lazy model that has no values yet.
        let lazy = LazyLinear(3)
        let late = SGD(lazy.parameters(), learningRate: 0.5, momentum: 0.9)
        try checkpoint.restore(late, lazy)
        #expect(try lazy.weight.elements(as: Float.self) == net.weight.elements(as: Float.self))
        for (one, other) in [(net, optimizer), (lazy, late)] {
            for parameter in one.parameters() { parameter.grad = .ones(parameter.shape) }
            try other.step()
        }
        #expect(try lazy.weight.elements(as: Float.self) == net.weight.elements(as: Float.self))

        try net.save(to: folder.path("model.nnck"))
        do {
            _ = try TrainingCheckpoint.open(folder.path("model.nnck"))
            Issue.record("a model is no training")
        } catch {
            #expect("\(error)".contains("holds something else. To take only a model from it"))
        }
    }

    private final class Pair: Module {
        let one = Parameter(.zeros(2))
        let two = Parameter(.zeros(2))
        let isSwapped: Bool
        init(isSwapped: Bool) { self.isSwapped = isSwapped }
        override var members: [(name: String, member: ModuleMember)] {
            let members: [(name: String, member: ModuleMember)] = [("one", .parameter(one)), ("two", .parameter(two))]
            return isSwapped ? members.reversed() : members
        }
    }

    @Test("gives what an optimizer kept to the parameters of the same names, not to those at the same places")
    func parameterNames() throws {
        let (net, swapped) = (Pair(isSwapped: false), Pair(isSwapped: true))
        let optimizer = SGD(net.parameters(), learningRate: 1, momentum: 0.5)
        net.one.grad = .ones(2)
        net.two.grad = .zeros(2) + 3
        try optimizer.step()
        try TrainingCheckpoint.save(to: folder.path("x.nnck"), step: 1, net, optimizer)
        let other = SGD(swapped.parameters(), learningRate: 1, momentum: 0.5)
        swapped.one.grad = .ones(2)
        try TrainingCheckpoint.open(folder.path("x.nnck")).restore(other, swapped)
        #expect(swapped.one.grad == nil)
        for parameter in swapped.parameters() { parameter.grad = .zeros(2) }
        try other.step()
        #expect(try swapped.one.elements(as: Float.self) == [-1.5, -1.5])
        #expect(try swapped.two.elements(as: Float.self) == [-4.5, -4.5])
    }

    @Test("sees what models share with each other")
    func sharedModels() throws {
        let trunk = Linear(2, 2)
        let (actor, critic) = (Sequential(trunk, Linear(2, 3)), Sequential(trunk, Linear(2, 1)))
        try TrainingCheckpoint.save(to: folder.path("x.nnck"), step: 1, named: ["actor": actor, "critic": critic])
        let checkpoint = try TrainingCheckpoint.open(folder.path("x.nnck"))
        let apart = (Sequential(Linear(2, 2), Linear(2, 3)), Sequential(Linear(2, 2), Linear(2, 1)))
        do {
            try checkpoint.restore(named: ["actor": apart.0, "critic": apart.1])
            Issue.record("what was shared is not")
        } catch TensorError.stateMismatch(let mismatch) {
            #expect(mismatch.sharing.first?.state == ["actor.0.weight", "critic.0.weight"])
        }
        let shared = Linear(2, 2)
        try checkpoint.restore(
            named: ["actor": Sequential(shared, Linear(2, 3)), "critic": Sequential(shared, Linear(2, 1))])
        #expect(try shared.weight.elements(as: Float.self) == trunk.weight.elements(as: Float.self))
        try TrainingCheckpoint.open(folder.path("x.nnck"), options: LoadOptions(ignoresSharing: true))
            .restore(named: ["actor": apart.0, "critic": apart.1])
    }

    @Test("refuses numbers that no training has")
    func hostileNumbers() throws {
        let net = Linear(1, 1)
        let optimizer = Adam(net.parameters())
        for parameter in net.parameters() { parameter.grad = .ones(parameter.shape) }
        try optimizer.step()
        let scheduler = LearningRateScheduler(optimizer, .constant)
        try TrainingCheckpoint.save(to: folder.path("x.nnck"), step: 1, net, optimizer, scheduler)
        let tree: StateTree = try load(folder.path("x.nnck"))
        let metadata = try Checkpoint.open(folder.path("x.nnck")).metadata
        func set(_ node: StateTree, _ path: [StateKey], _ value: StateTree) -> StateTree {
            guard let key = path.first else { return value }
            if case .list(var elements, let tag) = node, case .integer(let index) = key {
                elements[index] = set(elements[index], Array(path.dropFirst()), value)
                return .list(elements, tag: tag)
            }
            guard case .dictionary(var entries) = node else { return node }
            entries[key] = set(entries[key] ?? .null, Array(path.dropFirst()), value)
            return .dictionary(entries)
        }
        let changes: [([StateKey], StateTree)] = [
            (["step"], .integer(.max)), (["step"], .integer(-1)), (["scheduler", "last_epoch"], .integer(.max)),
            (["scheduler", "base_lrs", 0], .double(.nan)), (["scheduler", "base_lrs", 0], .double(-1)),
            (["optimizer", "param_groups", 0, "lr"], .double(.infinity)),
            (["optimizer", "param_groups", 0, "lr"], .double(.nan)),
            (["optimizer", "state", 0, "step"], try Tensor(-1.0).stateTree()),
            (["optimizer", "state", 0, "step"], try Tensor(Double.nan).stateTree()),
            (["optimizer", "param_groups", 0, "param_names", 0], "other"),
            (["optimizer", "param_groups", 0, "param_names", 0], "model.bias"),
            (["default_generator", "seed"], .integer(-1)), (["model", "weight"], 3), (["optimizer"], .null),
        ]
        for (path, value) in changes {
            try save(set(tree, path, value), metadata: metadata, to: folder.path("y.nnck"))
            #expect(throws: TensorError.self, "\(path)") {
                try TrainingCheckpoint.open(folder.path("y.nnck")).restore(net, optimizer, scheduler)
            }
        }
        let versions: StateTree = ["model": ["type": "Linear", "version": .integer(.min)]]
        try save(tree, metadata: set(metadata, ["nnck.modules"], versions), to: folder.path("y.nnck"))
        try TrainingCheckpoint.open(folder.path("y.nnck")).restore(net, optimizer, scheduler)
        #expect(try net(.ones(1, 1)).item().isFinite)
    }

    @Test("that does not know what was tied is resumed if equal values stand where the model has one")
    func unknownSharing() throws {
        let (net, clone) = (TiedLM(), TiedLM())
        var options = SaveOptions(existing: .replace)
        options.keepsSharing = false
        try TrainingCheckpoint.save(to: folder.path("x.nnck"), step: 1, net, options: options)
        try TrainingCheckpoint.open(folder.path("x.nnck")).restore(clone)
        #expect(try clone.head.weight.elements(as: Float.self) == net.emb.weight.elements(as: Float.self))
        for name in ["x.pt", "x.safetensors", "x.npz", "x.gguf", "x.h5"] {
            #expect(throws: (any Error).self) { try TrainingCheckpoint.save(to: folder.path(name), step: 1, net) }
        }
    }

    @Test("does not take more memory for lazy layers, or for an optimizer, than is allowed")
    func limits() throws {
        // A few bytes of zeros that stand for a terabyte.
        let zero = try Storage([0, 0, 0, 0])
        let huge = StateTree.tensor(
            try StateTensor(storage: zero, layout: TensorLayout(.f32, shape: [3, 1 << 38], strides: [0, 0])))
        try save(["weight": huge, "bias": try Tensor.zeros(3).stateTree()] as StateTree, to: folder.path("x.nnck"))
        let lazy = LazyLinear(3)
        #expect(throws: StoreError.self) { try lazy.load(folder.path("x.nnck")) }
        #expect(!lazy.weight.isInitialized)
    }

    @Test("keeps an optimizer as it was when the file is damaged on the way")
    func damage() throws {
        let (net, path) = (Linear(300, 300), folder.path("x.nnck"))
        let optimizer = Adam(net.parameters())
        for parameter in net.parameters() { parameter.grad = .ones(parameter.shape) }
        try optimizer.step()
        try TrainingCheckpoint.save(
            to: path, step: 1, net, optimizer, options: SaveOptions(compression: .none, existing: .replace))
        var offset = 0
        _ = try Checkpoint.open(path).query(
            "SELECT max(c.offset) AS offset FROM chunk c JOIN node n ON n.storage = c.storage WHERE n.key = 'exp_avg_sq'"
        ) { row in if case .integer(let found)? = row["offset"] { offset = found } }
        try #require(offset > 0)
        try folder.flip("x.nnck", at: offset + 3)
        let before = try optimizer.stateDict().tensors.map {
            try Tensor(storage: $0.tensor.storage, layout: $0.tensor.layout).elements(as: Double.self)
        }
        try optimizer.step()
        let after = try optimizer.stateDict().tensors.map {
            try Tensor(storage: $0.tensor.storage, layout: $0.tensor.layout).elements(as: Double.self)
        }
        #expect(throws: TensorError.self) { try TrainingCheckpoint.open(path).restore(net, optimizer) }
        let found = try optimizer.stateDict().tensors.map {
            try Tensor(storage: $0.tensor.storage, layout: $0.tensor.layout).elements(as: Double.self)
        }
        #expect(found == after && found != before)
        #expect(throws: StoreError.self) {
            try TrainingCheckpoint.open(path, options: LoadOptions(verifiesFirst: true))
        }
    }

    private final class Sampler: TrainingPart {
        static var partName: String { "sampler" }
        var position = 0
        func trainingState() throws -> PartState { PartState(.integer(position)) }
        func restoration(from state: PartState, options: LoadOptions) throws -> PartRestoration {
            guard let position = state.tree.int else {
                throw TensorError.invalidArgument(operation: "Sampler", reason: "no position")
            }
            return PartRestoration { self.position = position }
        }
    }

    @Test("keeps what a program makes a part of it, and gathered metrics")
    func ownParts() throws {
        let (sampler, losses) = (Sampler(), MetricAccumulator(capacity: 1))
        sampler.position = 12
        for value in [0.5, 0.25, 0.125] { try losses.add(Tensor(value)) }
        try TrainingCheckpoint.save(to: folder.path("x.nnck"), step: 0, sampler, losses)
        let (other, restored) = (Sampler(), MetricAccumulator())
        try TrainingCheckpoint.open(folder.path("x.nnck")).restore(other, restored)
        try restored.add(Tensor(1))
        #expect(other.position == 12)
        #expect(try restored.take() == [0.5, 0.25, 0.125, 1])
    }
}
