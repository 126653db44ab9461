import GoldenCases
import Foundation
import NNStore
import NNTensor
import Synchronization
import Testing

@Suite("Saving in the background", .serialized)
struct AsyncSaverTests {
    private let folder: TemporaryFolder
    init() throws { folder = try TemporaryFolder() }

    @Test("saves what the tensors held when it was called, whatever happens to them afterwards")
    func snapshot() throws {
        let net = Sequential(Linear(600, 600), Linear(600, 600))
        let tied = TiedLM()
        let saver = AsyncSaver()
        for round in 0..<5 {
            noGrad {
                for parameter in net.parameters() { orFail { try parameter.fill(Double(round)) } }
            }
            let save = try net.saveAsync(to: folder.path("\(round).nnck"), saver: saver)
            noGrad {
                for parameter in net.parameters() { orFail { try parameter.fill(-1) } }
            }
            if round % 2 == 0 { try save.wait() }
        }
        try saver.wait()
        for round in 0..<5 {
            let state: StateDict = try load(folder.path("\(round).nnck"))
            for (name, tensor) in state.entries {
                let same = try tensor!.elements(as: Double.self).allSatisfy { $0 == Double(round) }
                #expect(same, "\(round) \(name)")
            }
        }
        // The same file as without the background, ties, views and types of modules included.
        try tied.save(to: folder.path("now.nnck"))
        try tied.saveAsync(to: folder.path("later.nnck"), saver: saver).wait()
        let now = try Data(contentsOf: folder.url.appendingPathComponent("now.nnck"))
        #expect(try Data(contentsOf: folder.url.appendingPathComponent("later.nnck")) == now)
    }

    private func orFail(_ body: () throws -> Void) {
        do { try body() } catch { Issue.record("\(error)") }
    }

    @Test("waits for an earlier save, or cancels it, whose destination then stays as it was")
    func busy() throws {
        let saver = AsyncSaver()
        let path = folder.path("x.nnck")
        try Linear(2, 2).save(to: path)
        let before = try Data(contentsOf: folder.url.appendingPathComponent("x.nnck"))
        let large = Linear(1000, 4000)
        let entered = DispatchSemaphore(value: 0)
        let proceed = DispatchSemaphore(value: 0)
        let options = SaveOptions(existing: .replace, threads: 1) { done, _ in
            entered.signal()
            _ = proceed.wait(timeout: .now() + 20)
        }
        // Its progress holds it on its way until the next one has asked for the buffer.
        let first = try large.saveAsync(to: path, options: options, saver: saver)
        entered.wait()
        #expect(!first.isFinished && first.progress.total == 16_016_000)
        let second = Mutex<PendingSave?>(nil)
        let thread = Foundation.Thread {
            let net = Linear(3, 3)
            let save = try? net.saveAsync(to: path + "2", whenBusy: .cancelEarlier, saver: saver)
            second.withLock { $0 = save }
            entered.signal()
        }
        thread.start()
        Foundation.Thread.sleep(forTimeInterval: 0.2)
        for _ in 0..<100 { proceed.signal() }
        #expect(throws: StoreError.cancelled) { try first.wait() }
        while second.withLock({ $0 == nil }) { entered.wait() }
        try second.withLock { $0 }?.wait()
        #expect(try Data(contentsOf: folder.url.appendingPathComponent("x.nnck")) == before)
        try saver.wait()
        #expect(folder.names == ["x.nnck", "x.nnck2"])
    }

    @Test("tells of a failure when it is waited for, else at the next call, once")
    func failures() throws {
        let (net, saver) = (Linear(2, 2), AsyncSaver())
        let missing = folder.path("no-such-folder/x.nnck")
        let save = try net.saveAsync(to: missing, saver: saver)
        #expect(throws: StoreError.self) { try save.wait() }
        try net.saveAsync(to: folder.path("a.nnck"), saver: saver).wait()

        let second = try net.saveAsync(to: missing, saver: saver)
        while !second.isFinished { Foundation.Thread.sleep(forTimeInterval: 0.001) }
        do {
            try net.saveAsync(to: folder.path("b.nnck"), saver: saver)
            Issue.record("the failure was not told")
        } catch TensorError.earlierSaveFailed(let path, let reason) {
            #expect(path == missing && reason.contains("no-such-folder"))
        }
        #expect(!folder.names.contains("b.nnck"))
        try net.saveAsync(to: folder.path("b.nnck"), saver: saver)
        try saver.wait()
        #expect(folder.names == ["a.nnck", "b.nnck"])
        #expect(throws: (any Error).self) { try net.saveAsync(to: folder.path("x.h5"), saver: saver) }
        // One that was cancelled is no failure.
        let cancelled = Cancellation()
        cancelled.cancel()
        try Linear(500, 500).saveAsync(
            to: folder.path("c.nnck"), options: SaveOptions(existing: .replace, cancellation: cancelled), saver: saver)
        try net.saveAsync(to: folder.path("d.nnck"), saver: saver).wait()
        #expect(folder.names == ["a.nnck", "b.nnck", "d.nnck"])
    }

    @Test("is waited for by who reads or saves the same file")
    func samePath() throws {
        let (net, path) = (Linear(700, 700), folder.path("x.nnck"))
        for value in 0..<3 {
            noGrad { orFail { try net.weight.fill(Double(value)) } }
            try net.saveAsync(to: path)
            let state: StateDict = try load(path)
            #expect(try state["weight"]![0, 0].item() == Double(value))
            try net.saveAsync(to: folder.path("./x.nnck"), saver: AsyncSaver())
            noGrad { orFail { try net.weight.fill(-1) } }
            try net.save(to: path)
            #expect(try load(path)["weight"]![0, 0].item() == -1)
        }
    }

    @Test("gets through once in two times however often the next one cancels it")
    func replacing() throws {
        let (net, saver) = (Linear(1500, 1500), AsyncSaver())
        let saves = try (0..<6).map {
            try net.saveAsync(to: folder.path("\($0).nnck"), whenBusy: .cancelEarlier, saver: saver)
        }
        try saver.wait()
        let finished = saves.map { save in (try? save.wait()) != nil }
        for (one, next) in zip(finished, finished.dropFirst()) { #expect(one || next) }
        #expect(finished.last == true)
    }

    private static let exitPath = FileManager.default.temporaryDirectory.appendingPathComponent("nnstore-at-exit.nnck")
        .path

    @Test("is finished before the program ends")
    func atExit() async throws {
        defer { try? FileManager.default.removeItem(atPath: Self.exitPath) }
        await #expect(processExitsWith: .success) {
            try Linear(2000, 2000).saveAsync(to: AsyncSaverTests.exitPath)
            exit(0)
        }
        #expect(try Checkpoint.open(Self.exitPath).verify().isSound)
    }
}
