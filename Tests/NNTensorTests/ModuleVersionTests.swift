import Foundation
import NNStore
import NNTensor
import Testing

/// A module of which the first version had the entries `first` and `second`; the second one calls the first `primary` and wants
/// `second` doubled.
private enum Old {
    final class Scaled: Module {
        let first = Parameter(.ones(2))
        let second = Parameter(.ones(2))
    }
}

private enum New {
    final class Scaled: Module {
        let primary = Parameter(.zeros(2))
        let second = Parameter(.zeros(2))

        override class var stateVersion: Int { 2 }
        override class var stateMigrations: [StateMigration] {
            [StateMigration(from: 1) { try $0.update("second") { $0 * 2 } }]
        }
    }

    final class Failing: Module {
        struct Oops: Error {}
        let first = Parameter(.zeros(2))
        let second = Parameter(.zeros(2))
        override class var stateVersion: Int { 2 }
        override class var stateMigrations: [StateMigration] { [StateMigration(from: 1) { _ in throw Oops() }] }
    }
}

@Suite("Versions of modules")
struct ModuleVersionTests {
    private func second(_ module: New.Scaled) throws -> [Double] { try module.second.elements(as: Double.self) }

    @Test("stay when the first entry of a module gets another name", arguments: ["nnck", "safetensors"])
    func renaming(format: String) throws {
        let folder = try TemporaryFolder()
        let path = folder.path("old.\(format)")
        try Old.Scaled().save(to: path)
        let module = New.Scaled()
        try module.load(from: path) { $0 == "first" ? "primary" : $0 }
        #expect(try second(module) == [2, 2])

        try Sequential(Old.Scaled()).save(to: path)
        let inner = New.Scaled()
        try Sequential(inner).load(from: path) { $0.replacing("first", with: "primary") }
        #expect(try second(inner) == [2, 2])

        // All of its entries get other names, inside of it.
        let renamed = try Sequential(Old.Scaled()).stateDict().renamed { $0 + "_old" }
        #expect(Array(renamed.modules.keys) == ["", "0"])
    }

    @Test("are named, with the file, by the error of a migration that throws")
    func throwing() throws {
        let folder = try TemporaryFolder()
        let path = folder.path("old.nnck")
        try Sequential(Old.Scaled()).save(to: path)
        let error = #expect(throws: TensorError.self) { try Sequential(New.Failing()).load(from: path) }
        let text = error?.description ?? ""
        #expect(text.contains(path) && text.contains("version 1") && text.contains("\"0\"") && text.contains("Oops"))
    }

    @Test("that are too new do not matter where nothing of them is wanted")
    func unwanted() throws {
        let folder = try TemporaryFolder()
        let path = folder.path("new.nnck")
        try Sequential(New.Scaled(), Linear(2, 2)).save(to: path)
        let net = Sequential(Old.Scaled(), Linear(2, 2))
        #expect(throws: TensorError.self) { try net.load(from: path) }
        try net.load(from: path, options: LoadOptions(only: { $0.hasPrefix("1.") }))
    }
}
