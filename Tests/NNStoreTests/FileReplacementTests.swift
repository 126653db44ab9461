import Foundation
import NNStore
import Testing

@Suite("Replacing files")
struct FileReplacementTests {
    private let folder: TemporaryFolder
    private let path: String
    private let tree: StateTree = ["a": 1]

    init() throws {
        folder = try TemporaryFolder()
        path = folder.path("model.nnck")
    }

    private func temporaryName(boot: String? = nil, process: Int = 1) throws -> String {
        let text = try String(contentsOfFile: "/proc/sys/kernel/random/boot_id", encoding: .utf8)
        let boot = boot ?? text.filter { $0.isLetter || $0.isNumber }
        return folder.path(".nnstore-\(boot)-\(process)-\(UInt64.random(in: 0...UInt64.max)).tmp")
    }

    @Test("an existing destination is refused unless it may be replaced")
    func existing() throws {
        try Checkpoint.save(tree, to: path)
        #expect(throws: StoreError.destinationExists(path: path)) { try Checkpoint.save(["b": 2], to: path) }
        #expect(try Checkpoint.open(path).readAll()["a"] != nil)
        try Checkpoint.save(["b": 2], to: path, options: SaveOptions(existing: .replace))
        #expect(try Checkpoint.open(path).readAll()["b"] != nil)
        #expect(folder.names == ["model.nnck"])
    }

    @Test("a destination that appears while the file is written is refused at the end")
    func appearsMeanwhile() throws {
        let writer = try ContainerWriter(path: path)
        try Data("mine".utf8).write(to: URL(fileURLWithPath: path))
        #expect(throws: StoreError.destinationExists(path: path)) { try writer.finish([:]) }
        #expect(try String(contentsOfFile: path, encoding: .utf8) == "mine")
    }

    @Test("replacing keeps the permissions of the old file")
    func permissions() throws {
        try Checkpoint.save(tree, to: path)
        try FileManager.default.setAttributes([.posixPermissions: 0o640], ofItemAtPath: path)
        try Checkpoint.save(tree, to: path, options: SaveOptions(existing: .replace))
        let attributes = try FileManager.default.attributesOfItem(atPath: path)
        #expect(attributes[.posixPermissions] as? Int == 0o640)
    }

    @Test("what is being written is no more open to others than what it replaces")
    func permissionsMeanwhile() throws {
        try Checkpoint.save(tree, to: path)
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: path)
        let writer = try ContainerWriter(path: path, options: SaveOptions(existing: .replace))
        let temporary = try #require(folder.names.first { $0.hasPrefix(".nnstore-") })
        let attributes = try FileManager.default.attributesOfItem(atPath: folder.path(temporary))
        #expect(attributes[.posixPermissions] as? Int == 0o600)
        try writer.finish([:])
    }

    @Test("a file that others refer to is known even where nothing else of it is")
    func referencedByUnknown() throws {
        var forger = Forger(try containerBytes(tree, options: SaveOptions(isReferencedByOthers: true)))
        forger.tail[24] = 32
        try Data(forger.container()).write(to: URL(fileURLWithPath: path))
        #expect(throws: StoreError.destinationReferenced(path: path)) {
            try Checkpoint.save(tree, to: path, options: SaveOptions(existing: .replace))
        }
    }

    @Test("impossible names are refused before anything is written")
    func impossibleNames() throws {
        for name in ["", folder.url.path + "/a\0b", folder.url.path + "/new/"] {
            #expect(throws: StoreError.self) { try Checkpoint.save(tree, to: name) }
        }
        #expect(folder.names == [])
    }

    @Test("replacing through a symbolic link replaces the file and keeps the link")
    func symbolicLink() throws {
        let other = try TemporaryFolder()
        let target = other.path("real.nnck")
        try Checkpoint.save(tree, to: target)
        try FileManager.default.createSymbolicLink(atPath: path, withDestinationPath: target)
        #expect(throws: StoreError.destinationExists(path: path)) { try Checkpoint.save(tree, to: path) }
        try Checkpoint.save(["b": 2], to: path, options: SaveOptions(existing: .replace))
        #expect(try FileManager.default.destinationOfSymbolicLink(atPath: path) == target)
        #expect(try Checkpoint.open(target).readAll()["b"] != nil)
        #expect(other.names == ["real.nnck"])
        // A link that points nowhere is something, too.
        try FileManager.default.removeItem(atPath: target)
        #expect(throws: StoreError.destinationExists(path: path)) { try Checkpoint.save(tree, to: path) }
    }

    @Test("a folder, or a name in a folder that is not there, is refused by name")
    func impossibleDestinations() throws {
        let missing = folder.path("no/such/x.nnck")
        let error = #expect(throws: StoreError.self) { try Checkpoint.save(tree, to: missing) }
        #expect(error?.description.contains(missing) == true)
        #expect(error?.description.contains("No such file") == true)
        let isFolder = #expect(throws: StoreError.self) { try Checkpoint.save(tree, to: folder.url.path) }
        #expect(isFolder?.description.contains("directory") == true)
        #expect(folder.names == [])
    }

    @Test("what a killed save left is removed by the next one, and nobody else's file is")
    func leftovers() throws {
        let killed = try temporaryName()
        let foreign = try temporaryName(boot: "0123456789abcdef0123456789abcdef")
        let foreignOld = try temporaryName(boot: "fedcba9876543210fedcba9876543210")
        for name in [killed, foreign, foreignOld] { try Data("half".utf8).write(to: URL(fileURLWithPath: name)) }
        try FileManager.default.setAttributes(
            [.modificationDate: Date(timeIntervalSinceNow: -2 * 86_400)], ofItemAtPath: foreignOld)
        // One that is being written to, by this very process.
        let writer = try ContainerWriter(path: folder.path("other.nnck"))
        let unfinished = folder.names.filter { $0.hasPrefix(".nnstore-") }
        #expect(!folder.names.contains(URL(fileURLWithPath: killed).lastPathComponent))
        try Checkpoint.save(tree, to: path)
        #expect(folder.names == (unfinished + ["model.nnck"]).sorted())
        #expect(unfinished.count == 2, "the foreign one and the one in hand")
        #expect(unfinished.contains(URL(fileURLWithPath: foreign).lastPathComponent))
        try writer.finish([:])
        #expect(try Checkpoint.open(folder.path("other.nnck")).verify().isSound)
    }

    @Test("two savers to one name: without replacing, one wins and the others are refused")
    func race() throws {
        let writers = try (0..<4).map { _ in try ContainerWriter(path: path) }
        var refused = 0
        for (number, writer) in writers.enumerated() {
            do { try writer.finish(["n": .integer(number)]) } catch StoreError.destinationExists { refused += 1 }
        }
        #expect(refused == 3)
        #expect(folder.names == ["model.nnck"])
    }
}
