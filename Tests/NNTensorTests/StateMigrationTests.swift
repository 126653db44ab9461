import Foundation
import NNStore
import NNTensor
import Testing

// One type in three versions, as it stood in three versions of a program.

/// Version 1: query, key and value are one, and there is no bias at the end.
private final class Attention1: Module {
    override var typeName: String { "Attention" }
    let qkv: Parameter
    let out: Linear
    override init() {
        qkv = Parameter(.randn(12, 4))
        out = Linear(4, 4, bias: false)
    }
}

/// Version 3: three layers, another name for the last one, with a bias.
private final class Attention3: Module {
    override var typeName: String { "Attention" }
    override class var stateVersion: Int { 3 }
    override class var stateMigrations: [StateMigration] {
        [
            StateMigration(from: 1) { state in
                try state.split("qkv", into: ["query.weight", "key.weight", "value.weight"])
                try state.set("out.bias", to: .zeros(4))
            },
            StateMigration(from: 2) { state in try state.rename("out", to: "projection") },
        ]
    }
    let query = Linear(4, 4, bias: false)
    let key = Linear(4, 4, bias: false)
    let value = Linear(4, 4, bias: false)
    let projection = Linear(4, 4)
}

private final class Model<Attention: Module>: Module {
    override var typeName: String { "Model" }
    let embedding = Embedding(7, 4)
    let blocks: [Attention]
    let head = Linear(4, 7, bias: false)
    init(_ blocks: [Attention]) {
        self.blocks = blocks
        super.init()
        head.weight = embedding.weight
    }
}

/// Version 2 of a head: the weight lies the other way round, two entries are one, one has another shape.
private final class Head2: Module {
    override var typeName: String { "Head" }
    override class var stateVersion: Int { 2 }
    override class var stateMigrations: [StateMigration] {
        [
            StateMigration(from: 1) { state in
                try state.merge(["upper", "lower"], into: "weight")
                try state.update("weight") { try $0.T.contiguous() }
                try state.reshape("scale", [1, 3])
                try state.remove("unused")
            }
        ]
    }
    let weight = Parameter(.zeros(3, 4))
    let scale = Parameter(.zeros(1, 3))
}

private final class Head1: Module {
    override var typeName: String { "Head" }
    let upper = Parameter(.randn(1, 3))
    let lower = Parameter(.randn(3, 3))
    let scale = Parameter(.randn(3))
    let unused = Parameter(.randn(2))
}

@Suite("Older versions of modules")
struct StateMigrationTests {
    private let folder: TemporaryFolder
    init() throws { folder = try TemporaryFolder() }

    private func values(_ tensor: Tensor) throws -> [Float] { try tensor.elements(as: Float.self) }

    private func check(_ new: Model<Attention3>, _ old: Model<Attention1>) throws {
        #expect(new.head.weight === new.embedding.weight)
        #expect(try values(new.head.weight) == values(old.embedding.weight))
        for (block, from) in zip(new.blocks, old.blocks) {
            for (place, layer) in [block.query, block.key, block.value].enumerated() {
                #expect(try values(layer.weight) == values(from.qkv[(4 * place)..<(4 * place + 4)]))
            }
            #expect(try values(block.projection.weight) == values(from.out.weight))
            #expect(try values(try #require(block.projection.bias)) == [0, 0, 0, 0])
        }
    }

    @Test("are taken through all steps when they are loaded, and what was tied is tied")
    func twoSteps() throws {
        let shared = Attention1()
        let old = Model([Attention1(), shared, shared])
        try old.save(to: folder.path("v1.nnck"))
        let sharedNow = Attention3()
        let new = Model([Attention3(), sharedNow, sharedNow])
        try new.load(folder.path("v1.nnck"))
        try check(new, old)
        // In part as well, and from a training.
        let block = Attention3()
        try block.load(from: folder.path("v1.nnck"), prefix: "blocks.1")
        #expect(try values(block.query.weight) == values(new.blocks[1].query.weight))
        try TrainingCheckpoint.save(to: folder.path("t1.nnck"), step: 3, old)
        let resumed = Model([Attention3(), sharedNow, sharedNow])
        // What an optimizer kept is for other parameters.
        let (optimizer, later) = (SGD(old.parameters()), SGD(resumed.parameters()))
        try TrainingCheckpoint.save(to: folder.path("t2.nnck"), step: 3, old, optimizer)
        #expect(throws: TensorError.self) {
            try TrainingCheckpoint.open(folder.path("t2.nnck")).restore(resumed, later)
        }
        try TrainingCheckpoint.open(folder.path("t2.nnck")).restore(resumed, ignoring: ["optimizer"])
        try TrainingCheckpoint.open(folder.path("t1.nnck")).restore(resumed)
        try check(resumed, old)
    }

    @Test("become a file of the newest version, with everything else as it was")
    func files() throws {
        let shared = Attention1()
        let old = Model([Attention1(), shared, shared])
        try TrainingCheckpoint.save(to: folder.path("v1.nnck"), step: 3, old, values: ["note": "kept"])
        let sharedNow = Attention3()
        let new = Model([Attention3(), sharedNow, sharedNow])
        try new.migrateFile(folder.path("v1.nnck"), to: folder.path("v3.nnck"))
        let migrated = try TrainingCheckpoint.open(folder.path("v3.nnck"))
        #expect(migrated.step == 3 && migrated.values["note"]?.string == "kept")
        let checkpoint = try Checkpoint.open(folder.path("v3.nnck"))
        #expect(try checkpoint.verify().isSound)
        #expect(
            ModuleVersions.read(from: try checkpoint.metadata).filter { $0.type == "Attention" }
                == (0..<3).map { .init(path: "model.blocks.\($0)", type: "Attention", version: 3) })
        let tree = try checkpoint.state()
        #expect(tree["model"]?["head.weight"]?.tensor?.storage === tree["model"]?["embedding.weight"]?.tensor?.storage)
        try migrated.restore(new)
        try check(new, old)
        #expect(throws: StoreError.self) { try new.migrateFile(folder.path("v1.nnck"), to: folder.path("v3.nnck")) }
        // What an optimizer kept is for other parameters.
        try TrainingCheckpoint.save(to: folder.path("o1.nnck"), step: 3, old, SGD(old.parameters()))
        #expect(throws: TensorError.self) { try new.migrateFile(folder.path("o1.nnck"), to: folder.path("o3.nnck")) }
        try new.migrateFile(folder.path("o1.nnck"), to: folder.path("o3.nnck"), dropping: ["optimizer"])
        try TrainingCheckpoint.open(folder.path("o3.nnck")).restore(new)
    }

    @Test("can have entries merged, changed, reshaped and removed, with one result for what is one")
    func operations() throws {
        let one = Head1()
        let old = Sequential(one, one, Head1())
        try old.save(to: folder.path("heads.nnck"))
        let head = Head2()
        let new = Sequential(head, head, Head2())
        try new.load(folder.path("heads.nnck"))
        let expected = try concatenate([one.upper, one.lower]).T.contiguous()
        #expect(try values(head.weight) == values(expected))
        #expect(try values(head.scale) == values(one.scale))
        // Apart in the model, they do not fit a file in which they are one.
        #expect(throws: TensorError.self) { try Sequential(Head2(), Head2(), Head2()).load(folder.path("heads.nnck")) }
    }

    /// Splits a weight that lies the other way round, as GPT-2's do; multiplies by what is not tied.
    private final class Fused: Module {
        override class var stateVersion: Int { 2 }
        override class var stateMigrations: [StateMigration] {
            [
                StateMigration(from: 1) { state in
                    let scale = state["scale"]!
                    try state.update("weight") { $0 * scale }
                    try state.split("fused", into: ["a", "b"], sizes: [1, 2], dimension: 1)
                    try state.set("left", to: .zeros(2))
                    try state.set("right", to: .zeros(2))
                }
            ]
        }
        let weight = Parameter(.zeros(2))
        let scale = Parameter(.zeros(2))
        let a = Parameter(.zeros(2, 1))
        let b = Parameter(.zeros(2, 2))
        let left = Parameter(.zeros(2))
        let right = Parameter(.zeros(2))
    }

    @Test("may be split in any dimension, and are one only where all that they are made of is")
    func partlyTied() throws {
        let weight = Tensor([1.0, 2])
        let fused = Tensor([1.0, 2, 3, 4, 5, 6], shape: [2, 3])
        var state = StateDict([
            ("0.weight", weight), ("0.scale", Tensor([2.0, 2])), ("0.fused", fused),
            ("1.weight", weight), ("1.scale", Tensor([3.0, 3])), ("1.fused", try fused.clone()),
        ])
        for path in ["0", "1"] { state.modules[path] = .init(type: "Fused", version: 1) }
        let net = (Fused(), Fused())
        try Sequential(net.0, net.1).load(stateDict: state)
        #expect(try values(net.0.weight) == [2, 4] && values(net.1.weight) == [3, 6])
        #expect(try values(net.0.a) == [1, 4] && values(net.1.b) == [2, 3, 5, 6])
    }

    private final class Wrong: Module {
        override class var stateVersion: Int { 2 }
        override class var stateMigrations: [StateMigration] {
            [StateMigration(from: 1) { state in try state.rename("wieght", to: "weight2") }]
        }
        let weight2 = Parameter(.zeros(2))
    }

    private final class Right: Module {
        override var typeName: String { "Wrong" }
        let weight = Parameter(.zeros(2))
    }

    private final class Newer: Module {
        override class var stateVersion: Int { 4 }
        let weight = Parameter(.zeros(2))
    }

    @Test("that a step does not fit, and newer ones than the program knows, are named")
    func errors() throws {
        try Sequential(Right()).save(to: folder.path("right.nnck"))
        do {
            try Sequential(Wrong()).load(folder.path("right.nnck"))
            Issue.record("nothing was thrown")
        } catch {
            #expect(
                "\(error)" == "migration: \(folder.path("right.nnck")): from version 1 of Wrong at \"0\": "
                    + "rename: there is no \"wieght\"; there are \"weight\"")
        }
        try Sequential(Newer()).save(to: folder.path("newer.nnck"))
        #expect(
            throws: TensorError.unknownModuleVersion(module: "0", type: "Newer", version: 4, newestKnown: 1)
        ) { try Sequential(Right()).load(folder.path("newer.nnck")) }
        // What does not say its version is taken for the newest.
        try save(Newer().stateDict().stateTree(), to: folder.path("plain.nnck"))
        try Newer().load(folder.path("plain.nnck"))
    }

    @Test("of batch norm get PyTorch's count of batches")
    func batchNorm() throws {
        var state = BatchNorm2d(3).stateDict()
        state["num_batches_tracked"] = nil
        #expect(throws: TensorError.self) { try BatchNorm2d(3).load(stateDict: state) }
        state.modules[""] = .init(type: "BatchNorm2d", version: 1)
        let norm = BatchNorm2d(3)
        norm.batchCount![[]] = 5
        try norm.load(stateDict: state)
        #expect(try norm.batchCount!.item() == 0)
    }
}
