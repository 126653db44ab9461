import Foundation
import NNInterop
import NNStore
import NNTensor
import TestSupport

/// Random operations on a folder of checkpoints, each compared with what should be there.
struct SoakRun {
    /// Something that is not as it should be.
    struct Mismatch: Error, CustomStringConvertible {
        let description: String
    }

    private let folder: String
    private var generator: SeededGenerator
    private var model = SoakModel()
    /// What each file should hold.
    private var files: [String: SoakModel] = [:]
    private var manager: CheckpointManager
    private var managed: [Int: SoakModel] = [:]
    private var step = 0
    private(set) var counts: [String: Int] = [:]

    private static let kept = 3

    init(folder: String, seed: UInt64) throws {
        self.folder = folder
        generator = SeededGenerator(seed: seed)
        manager = try SoakRun.manager(folder)
    }

    private static func manager(_ folder: String) throws -> CheckpointManager {
        try CheckpointManager(folder: folder + "/run", keep: .newest(kept))
    }

    private func require(_ condition: Bool, _ what: @autoclosure () throws -> String) throws {
        if !condition { throw Mismatch(description: try what()) }
    }

    private func check(
        _ tree: StateTree, _ expected: SoakModel, _ what: String, lost: Set<String> = [], keepsSharing: Bool = true
    ) throws {
        if let difference = try expected.difference(from: tree, lost: lost, keepsSharing: keepsSharing) {
            throw Mismatch(description: "\(what): \(difference)")
        }
    }

    /// One operation.
    mutating func perform() throws {
        for _ in 0..<Int.random(in: 1...4, using: &generator) { model.change(using: &generator) }
        let operations: [(String, (inout SoakRun) throws -> Void)] = [
            ("save", { try $0.save() }), ("save", { try $0.save() }), ("load", { try $0.load() }),
            ("load", { try $0.load() }), ("load in parts", { try $0.loadInParts() }), ("migrate", { try $0.migrate() }),
            ("diff", { try $0.diff() }), ("rotate", { try $0.rotate() }), ("rotate", { try $0.rotate() }),
            ("resume", { try $0.resume() }), ("convert", { try $0.convert() }), ("recover", { try $0.recover() }),
        ]
        let (name, operation) = operations.randomElement(using: &generator)!
        try operation(&self)
        counts[name, default: 0] += 1
    }

    // MARK: Operations

    private mutating func saveOptions() -> SaveOptions {
        SaveOptions(
            compression: Compression.allCases.randomElement(using: &generator)!, existing: .replace,
            isDurable: Int.random(in: 0..<4, using: &generator) == 0, verifies: Bool.random(using: &generator),
            formatVersion: Library.writtenFormatVersions.randomElement(using: &generator)!,
            threads: Int.random(in: 1...4, using: &generator))
    }

    private mutating func save() throws {
        let path = folder + "/\(Int.random(in: 0..<6, using: &generator)).nnck"
        let options = saveOptions()
        try Checkpoint.save(model.tree(), metadata: ["kept": 1], to: path, options: options)
        files[path] = model
        // The same bytes, whatever the number of threads.
        let sink = MemorySink()
        var other = options
        other.threads = Int.random(in: 1...4, using: &generator)
        try Checkpoint.save(model.tree(), metadata: ["kept": 1], to: sink, options: other)
        try require(
            try Data(contentsOf: URL(fileURLWithPath: path)) == Data(sink.bytes), "\(path): other bytes in memory")
    }

    private mutating func anyFile() -> (path: String, model: SoakModel)? {
        files.sorted { $0.key < $1.key }.randomElement(using: &generator).map { ($0.key, $0.value) }
    }

    private mutating func load() throws {
        guard let (path, expected) = anyFile() else { return }
        let checkpoint = try Checkpoint.open(path)
        try check(checkpoint.readAll(threads: Int.random(in: 1...4, using: &generator)), expected, path)
        try check(checkpoint.state(), expected, path + ", lazily")
        let report = try checkpoint.verify(VerificationLevel.allCases.randomElement(using: &generator)!)
        try require(report.isSound, "\(path): \(report.problems)")
    }

    private mutating func loadInParts() throws {
        guard let (path, expected) = anyFile() else { return }
        let checkpoint = try Checkpoint.open(path)
        for entry in expected.entries.shuffled(using: &generator).prefix(5) {
            let whole = expected.elements(of: entry)
            var bytes: [UInt8] = []
            try checkpoint.read(entry.name).forEachPiece { piece in piece.withUnsafeBytes { bytes += $0 } }
            try require(bytes == whole, "\(path): \(entry.name) read alone")
            guard let rows = entry.shape.first, rows > 0 else { continue }
            let start = Int.random(in: 0..<rows, using: &generator)
            let end = Int.random(in: start...rows, using: &generator)
            bytes = []
            try checkpoint.read(entry.name, rows: start..<end).forEachPiece { piece in
                piece.withUnsafeBytes { bytes += $0 }
            }
            let size = whole.count / rows
            try require(
                bytes == Array(whole[start * size..<end * size]), "\(path): rows \(start)..<\(end) of \(entry.name)")
        }
    }

    private mutating func migrate() throws {
        guard let (path, expected) = anyFile() else { return }
        let version = Library.writtenFormatVersions.randomElement(using: &generator)!
        let before = try Checkpoint.open(path)
        let options = MigrationOptions(
            version: version, existing: .replace, isDurable: false, threads: Int.random(in: 1...3, using: &generator))
        try before.migrate(to: path, options: options)
        let after = try Checkpoint.open(path)
        try require(
            after.version == version && after.contentID == before.contentID, "\(path): migrated to something else")
        try check(after.readAll(), expected, path + ", migrated")
    }

    private mutating func diff() throws {
        guard let (path, expected) = anyFile() else { return }
        let other = folder + "/other.nnck"
        try Checkpoint.save(model.tree(), metadata: ["kept": 1], to: other, options: saveOptions())
        let comparison = try CheckpointComparison(CheckpointFiles.open(path), CheckpointFiles.open(other))
        if expected == model { try require(comparison.isEqual, "\(path): differs from an equal one") }
        let mine = Dictionary(uniqueKeysWithValues: model.entries.map { ($0.name, model.elements(of: $0)) })
        let isOther =
            expected.entries.contains { mine[$0.name] != expected.elements(of: $0) }
            || expected.values != model.values || expected.entries.count != model.entries.count
        if isOther { try require(!comparison.isEqual, "\(path): equals a different one") }
    }

    private mutating func rotate() throws {
        step += 1
        let values: StateTree = try ["state": model.tree()]
        if Bool.random(using: &generator) {
            try manager.save(step: step, values: values)
        } else {
            _ = try manager.saveAsync(step: step, values: values)
            if Bool.random(using: &generator) { try manager.wait() }
        }
        managed[step] = model
        managed[step - SoakRun.kept] = nil
    }

    private mutating func resume() throws {
        try manager.wait()
        if Bool.random(using: &generator) { manager = try SoakRun.manager(folder) }
        try require(try manager.steps == managed.keys.sorted(), "the folder has steps \(try manager.steps)")
        guard let newest = try manager.newest() else { return }
        try require(newest.step == step, "the newest is step \(newest.step)")
        try check(newest.values["state"]!, managed[step]!, "step \(step)")
    }

    private mutating func convert() throws {
        guard let (path, expected) = anyFile() else { return }
        let file = try CheckpointFiles.open(path)
        let options = ExportOptions(existing: .replace)
        let (foreign, back) = (folder + "/foreign", folder + "/back.nnck")
        let format = [WritableFormat.safetensors, .pytorch].randomElement(using: &generator)!
        if format == .safetensors {
            try file.saveAsSafetensors(to: foreign, options: options)
        } else {
            try file.saveAsPyTorch(to: foreign, options: options)
        }
        try CheckpointFiles.open(foreign).saveAsContainer(to: back, options: saveOptions())
        // Safetensors has no values but strings.
        var converted = expected
        if format == .safetensors { converted.values = [:] }
        try check(Checkpoint.open(back).readAll(), converted, "\(path) as \(format)", keepsSharing: format == .pytorch)
    }

    private mutating func recover() throws {
        guard let (path, expected) = anyFile() else { return }
        let (damaged, saved) = (folder + "/damaged.nnck", folder + "/saved.nnck")
        var bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
        let version = try Checkpoint.open(path).version
        let place = Int.random(in: bytes.indices, using: &generator)
        bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
        try Data(bytes).write(to: URL(fileURLWithPath: damaged))
        do {
            let report = try Checkpoint.recover(
                damaged, to: saved, options: SaveOptions(existing: .replace, isDurable: false))
            let lost = Set(report.lost.map(\.name))
            try check(Checkpoint.open(saved).readAll(), expected, "\(path) with byte \(place) wrong", lost: lost)
        } catch let error as StoreError {
            // Versions before 2.1 have one index alone; and the only tensor may be the one that is hit.
            let isExpected =
                version < FormatVersion(2, 1) || "\(error)".contains("is sound, so there is nothing to save")
            try require(isExpected, "\(path) with byte \(place) wrong: \(error)")
        }
    }
}
