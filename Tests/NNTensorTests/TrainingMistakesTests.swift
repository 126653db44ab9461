import Foundation
import NNStore
import NNTensor
import Testing

@Suite("Mistakes with checkpoints of trainings")
struct TrainingMistakesTests {
    private func text(_ error: (any Error)?) -> String { error.map { "\($0)" } ?? "" }

    @Test("values that are no dictionary are kept as they are")
    func plainValues() throws {
        let folder = try TemporaryFolder()
        func saved(_ values: StateTree) throws -> StateTree {
            try TrainingCheckpoint.save(to: folder.path("t.nnck"), step: 1, Linear(2, 2), values: values)
            return try TrainingCheckpoint.open(folder.path("t.nnck")).values
        }
        #expect(try saved(3).int == 3)
        #expect(try saved("abc").string == "abc")
        #expect(try saved(Tensor.ones(3).stateTree()).tensor?.shape == [3])
    }

    @Test("a wrong model is said before what its optimizer lacks")
    func wrongModel() throws {
        let folder = try TemporaryFolder()
        let saved = Linear(3, 4)
        try TrainingCheckpoint.save(to: folder.path("t.nnck"), step: 1, saved, Adam(saved.parameters()))
        let net = Sequential(Linear(3, 5))
        let error = #expect(throws: TensorError.self) {
            try TrainingCheckpoint.open(folder.path("t.nnck")).restore(net, Adam(net.parameters()))
        }
        #expect(error?.code == "state-mismatch")
        #expect(text(error).contains("model.0.weight") && text(error).contains("t.nnck"))
    }

    @Test("errors of other parts name the file and the part")
    func wrongOptimizer() throws {
        let folder = try TemporaryFolder()
        let net = Linear(3, 4)
        try TrainingCheckpoint.save(to: folder.path("t.nnck"), step: 1, net, Adam(net.parameters()))
        let error = #expect(throws: TensorError.self) {
            try TrainingCheckpoint.open(folder.path("t.nnck")).restore(net, SGD(net.parameters()))
        }
        #expect(text(error).contains("t.nnck") && text(error).contains("\"optimizer\""))
    }

    @Test("migrateFile leaves out only parts that are there and may be left out")
    func dropping() throws {
        let folder = try TemporaryFolder()
        let net = Linear(3, 4)
        let (path, destination) = (folder.path("t.nnck"), folder.path("m.nnck"))
        try TrainingCheckpoint.save(to: path, step: 1, net, Adam(net.parameters()))
        for name in ["optimiser", "step", "model"] {
            let error = #expect(throws: TensorError.self) {
                try net.migrateFile(path, to: destination, dropping: ["optimizer", name])
            }
            #expect(text(error).contains("\"\(name)\""))
        }
        try net.migrateFile(path, to: destination, dropping: ["optimizer"])
        #expect(try TrainingCheckpoint.open(destination).partNames == ["model"])
    }

    @Test("renaming entries of a training keeps what its optimizer knows of them")
    func renaming() throws {
        final class Before: Module {
            let hidden = Linear(3, 3)
            override func forward(_ x: Tensor) throws -> Tensor { try hidden(x) }
        }
        final class After: Module {
            let inner = Linear(3, 3)
            override func forward(_ x: Tensor) throws -> Tensor { try inner(x) }
        }
        let folder = try TemporaryFolder()
        let (path, destination) = (folder.path("t.nnck"), folder.path("renamed.nnck"))
        let net = Before()
        let optimizer = Adam(net.parameters())
        try net(Tensor.ones(2, 3)).sum().backward()
        try optimizer.step()
        try TrainingCheckpoint.save(to: path, step: 1, net, optimizer)
        func migrate(_ rule: String) throws {
            let options = MigrationOptions(
                version: Library.formatVersion, existing: .replace, renaming: PathRenaming([try .init(rule)]))
            _ = try Checkpoint.open(path).migrate(to: destination, options: options)
        }
        try migrate("model.hidden=model.inner")
        let after = After()
        let adam = Adam(after.parameters())
        try TrainingCheckpoint.open(destination).restore(after, adam)
        #expect(try adam.stateDict()["state"]?.children.count == 2)

        try migrate("model=net")
        let checkpoint = try TrainingCheckpoint.open(destination)
        let again = Before()
        try checkpoint.restore(Adam(again.parameters()), named: ["net": again])

        let error = #expect(throws: StoreError.self) { try migrate("step=stap") }
        #expect(text(error).contains("step"))
    }

    @Test("a prefix without entries says what there is")
    func wrongPrefix() throws {
        let folder = try TemporaryFolder()
        try Sequential(Linear(2, 2)).save(to: folder.path("m.nnck"))
        let error = #expect(throws: TensorError.self) {
            try Linear(2, 2).load(from: folder.path("m.nnck"), prefix: "1")
        }
        #expect(text(error).contains("below \"1\"") && text(error).contains("\"0\""))
    }

    @Test("a single tensor is no model, and no safetensors file")
    func singleTensor() throws {
        let folder = try TemporaryFolder()
        try save(Tensor.ones(2), to: folder.path("x.nnck"))
        let error = #expect(throws: TensorError.self) { try Linear(2, 2).load(from: folder.path("x.nnck")) }
        #expect(error?.code == "unexpected-contents")
        #expect(throws: StoreError.self) { try save(Tensor.ones(2), to: folder.path("x.safetensors")) }
        #expect(throws: StoreError.self) { try save([Tensor.ones(2)], to: folder.path("x.safetensors")) }
    }

    @Test("two managers of one folder do not wait for each other")
    func twoManagers() throws {
        let folder = try TemporaryFolder()
        let net = Linear(8, 8)
        let managers = try (0..<2).map { _ in
            try CheckpointManager(folder: folder.url.path, keep: .newest(2)) { _ in }
        }
        for manager in managers { _ = try manager.newest() }
        for step in 0..<60 { try managers[step % 2].saveAsync(step: step, net) }
        for manager in managers { try manager.wait() }
        #expect(try managers[0].steps.contains(59))
    }

    @Test("folders that the manager's is in are made")
    func nestedFolder() throws {
        let folder = try TemporaryFolder()
        let manager = try CheckpointManager(folder: folder.path("a/b/c"))
        try manager.save(step: 1, Linear(2, 2))
        #expect(try manager.steps == [1])
    }

    @Test("a save in the background through one name is waited for through a link to it")
    func links() throws {
        let folder = try TemporaryFolder()
        try save(Tensor.zeros(1), to: folder.path("real.nnck"))
        try FileManager.default.createSymbolicLink(
            atPath: folder.path("link.nnck"), withDestinationPath: folder.path("real.nnck"))
        for round in 1..<10 {
            let value = Tensor.full([1 << 18], Double(round))
            try AsyncSaver.shared.save(value.stateTree(), to: folder.path("real.nnck"))
            let loaded: Tensor = try load(folder.path("link.nnck"))
            #expect(try loaded.max().item() == Double(round))
        }
    }
}
