import Foundation
import NNStore
import NNTensor
import TestSupport
import Testing

/// What a power cut may leave of a folder of checkpoints at any moment of their rotation.
@Suite("Power cuts while checkpoints rotate")
struct ManagerCrashTests {
    @Test(
        "leave a whole checkpoint of the last step that was saved, or of the one that is being saved",
        arguments: [false, true])
    func rotation(isAsynchronous: Bool) throws {
        let folder = try TemporaryFolder()
        let path = folder.url.path
        let recorder = CrashRecorder(files: [:])
        // After how many events each save had returned.
        var returned: [(moment: Int, step: Int)] = []
        try SystemCall.observing(path, with: recorder) {
            let manager = try CheckpointManager(folder: path, keep: .newest(2))
            for step in 1...5 {
                let values: StateTree = ["step": .integer(step)]
                if isAsynchronous {
                    _ = try manager.saveAsync(step: step, values: values)
                    try manager.wait()
                } else {
                    try manager.save(step: step, values: values)
                }
                returned.append((recorder.momentCount - 1, step))
            }
        }
        var generator = SeededGenerator(seed: 1)
        var states = 0
        try recorder.forEachState(samples: 2, using: &generator) { moment, files in
            let after = try TemporaryFolder()
            for (name, bytes) in files {
                try Data(bytes).write(
                    to: after.url.appendingPathComponent(URL(fileURLWithPath: name).lastPathComponent))
            }
            let durable = returned.last { $0.moment <= moment }?.step ?? 0
            let manager = try CheckpointManager(folder: after.url.path, keep: .newest(2), report: { _ in })
            let newest = try manager.newest()
            let step = newest?.step ?? 0
            #expect(step == durable || step == durable + 1, "moment \(moment)")
            if let newest { #expect(newest.values["step"]?.int == step) }
            states += 1
        }
        print("\(states) states")
        #expect(states > 50)
    }
}
