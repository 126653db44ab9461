import Foundation
import NNStore
import NNTensor
import Synchronization
import Testing

@Suite("The checkpoints of a folder")
struct CheckpointManagerTests {
    private let folder: TemporaryFolder
    init() throws { folder = try TemporaryFolder() }

    /// What was reported.
    private final class Reports: Sendable {
        let lines = Mutex<[String]>([])
        var add: @Sendable (String) -> Void { { line in self.lines.withLock { $0.append(line) } } }
    }

    private func steps(_ manager: CheckpointManager) throws -> [Int] { try manager.steps }

    @Test("are the newest, the best and every so many")
    func rules() throws {
        let losses = [9.0, 3, 7, 2, 8, .nan, 4, 6, 5]
        func run(_ manager: CheckpointManager) throws -> [Int] {
            for (step, loss) in losses.enumerated() {
                try manager.save(step: step * 10, Linear(2, 2), metrics: ["loss": loss])
            }
            return try manager.steps
        }
        let path = folder.path("runs")
        #expect(try run(CheckpointManager(folder: path + "1", keep: .newest(2))) == [70, 80])
        #expect(try run(CheckpointManager(folder: path + "2", keep: .best(2, by: "loss"))) == [10, 30, 80])
        #expect(
            try run(CheckpointManager(folder: path + "3", keep: .best(1, by: "loss", .highest), .newest(1))) == [0, 80])
        #expect(try run(CheckpointManager(folder: path + "4", keep: .every(40), .newest(1))) == [0, 40, 80])
        #expect(try run(CheckpointManager(folder: path + "5")) == [0, 10, 20, 30, 40, 50, 60, 70, 80])
        #expect(try run(CheckpointManager(folder: path + "6", keep: .best(1, by: "nothing"))) == [80])
        // A new manager knows the metrics of what is there.
        let again = try CheckpointManager(folder: path + "2", keep: .best(2, by: "loss"))
        #expect(try again.best(by: "loss")?.step == 30)
        try again.saveAsync(step: 90, Linear(2, 2), metrics: ["loss": 2.5])
        try again.wait()
        #expect(try again.steps == [30, 90])
        #expect(throws: TensorError.self) { try CheckpointManager(folder: path, keep: .newest(0)) }
    }

    @Test("resume from the newest that is whole; damaged ones are reported, passed over and kept")
    func newest() throws {
        let reports = Reports()
        let manager = try CheckpointManager(folder: folder.url.path, keep: .newest(2), report: reports.add)
        #expect(try manager.newest() == nil)
        let net = Linear(40, 40)
        for step in 1...3 {
            noGrad { net.weight[0, 0] = Tensor(Double(step)) }
            try manager.save(step: step, net)
        }
        #expect(try manager.steps == [2, 3])
        try folder.flip("step-3.nnck", at: 5000)
        let other = try #require(try manager.newest())
        #expect(other.step == 2)
        #expect(reports.lines.withLock { $0.count == 1 && $0[0].contains("step-3.nnck: damaged") })
        let clone = Linear(40, 40)
        try other.restore(clone)
        #expect(try clone.weight[0, 0].item() == 2)
        // Half a file, and one that is something else.
        try Data([1, 2, 3]).write(to: folder.url.appendingPathComponent("step-9.nnck"))
        try net.save(to: folder.path("step-8.nnck"))
        for name in [
            "step-08.nnck", "step--1.nnck", "step-x.nnck", "step-99999999999999999999.nnck", "../x", "note.txt",
        ] {
            if !name.contains("/") { try Data().write(to: folder.url.appendingPathComponent(name)) }
        }
        let fresh = try CheckpointManager(folder: folder.url.path, keep: .newest(1), report: reports.add)
        #expect(try fresh.steps == [2, 3, 8, 9])
        #expect(throws: TensorError.self) { try fresh.save(step: 0, net) }
        #expect(try fresh.newest()?.step == 2)
        // What can't be opened as a training counts for nothing, and stays.
        try fresh.save(step: 4, net)
        #expect(try fresh.steps.suffix(2) == [8, 9] && fresh.steps.contains(4))
        #expect(try fresh.newest()?.step == 4)
        // A training that reaches the step again replaces the damaged file.
        try fresh.save(step: 9, net)
        #expect(try fresh.newest()?.step == 9)
    }

    @Test("do not let a training begin anew when all of them are damaged")
    func allDamaged() throws {
        let reports = Reports()
        let manager = try CheckpointManager(folder: folder.url.path, report: reports.add)
        for step in 1...2 {
            try manager.save(step: step, Linear(9, 9))
            try folder.flip("step-\(step).nnck", at: 100)
        }
        do {
            _ = try manager.newest()
            Issue.record("nothing was thrown")
        } catch TensorError.noWholeCheckpoint(_, let damaged) {
            #expect(damaged.count == 2)
        }
    }

    @Test("of a training that went back to an earlier step are those that were saved last")
    func goingBack() throws {
        let manager = try CheckpointManager(folder: folder.url.path, keep: .newest(2))
        let net = Linear(2, 2)
        for step in [100, 200, 300] { try manager.save(step: step, net) }
        let again = try CheckpointManager(folder: folder.url.path, keep: .newest(2))
        try again.checkpoint(step: 200).restore(net)
        try again.save(step: 250, net)
        #expect(try again.newest()?.step == 250 && again.steps == [250, 300])
        try again.save(step: 260, net)
        #expect(try again.newest()?.step == 260 && again.steps == [250, 260])
    }

    @Test("keep the last state from before infinities, and make up for a metric that is not there")
    func infinities() throws {
        let manager = try CheckpointManager(folder: folder.path("a"), keep: .newest(2), .best(1, by: "loss"))
        let losses = [1.0, 2, 3, .nan, .infinity, -.infinity, .nan]
        for (step, loss) in losses.enumerated() { try manager.save(step: step, Linear(1, 1), metrics: ["loss": loss]) }
        #expect(try manager.steps == [0, 2, 5, 6])
        let other = try CheckpointManager(folder: folder.path("b"), keep: .best(3, by: "accuracy", .highest))
        for step in 0..<6 {
            try other.save(step: step, Linear(1, 1), metrics: step == 3 ? ["accuracy": 0.5] : ["loss": 1])
        }
        #expect(try other.steps == [3, 4, 5])
        #expect(throws: TensorError.self) {
            try CheckpointManager(folder: folder.path("c"), options: SaveOptions(isDurable: false))
        }
    }

    @Test("lose what killed saves left behind, and keep what others refer to")
    func leftovers() throws {
        let boot = try String(contentsOfFile: "/proc/sys/kernel/random/boot_id", encoding: .utf8)
            .filter { $0.isHexDigit }
        try Data([1]).write(to: folder.url.appendingPathComponent(".nnstore-\(boot)-999999999-abc.tmp"))
        let manager = try CheckpointManager(
            folder: folder.url.path, keep: .newest(1),
            options: SaveOptions(existing: .replace, isReferencedByOthers: true))
        #expect(folder.names == [])
        for step in 1...3 { try manager.save(step: step, Linear(2, 2)) }
        #expect(try manager.steps == [1, 2, 3])
    }

    @Test("tell of a save that failed at the next call, and keep what was there")
    func failures() throws {
        let manager = try CheckpointManager(folder: folder.path("run"), keep: .newest(1))
        try manager.save(step: 1, Linear(2, 2))
        try FileManager.default.createDirectory(
            atPath: folder.path("run/step-2.nnck"), withIntermediateDirectories: false)
        try manager.saveAsync(step: 2, Linear(2, 2))
        #expect(throws: StoreError.self) { try manager.wait() }
        #expect(FileManager.default.fileExists(atPath: folder.path("run/step-1.nnck")))
        try manager.saveAsync(step: 2, Linear(2, 2))
        #expect(throws: TensorError.self) { try manager.saveAsync(step: 3, Linear(2, 2)) }
        try manager.saveAsync(step: 3, Linear(2, 2))
        try manager.wait()
        #expect(try manager.newest()?.step == 3)
    }
}
