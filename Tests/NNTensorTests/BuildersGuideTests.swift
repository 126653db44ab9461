import Foundation
import Testing

@Suite("The builders' guide")
struct BuildersGuideTests {
    @Test("runs through all of its sections, and says what it should")
    func run() throws {
        // It lies beside the test bundle.
        let bundle = CommandLine.arguments.first { $0.hasSuffix(".xctest") } ?? CommandLine.arguments[0]
        let process = Process()
        process.executableURL = URL(fileURLWithPath: bundle).deletingLastPathComponent().appendingPathComponent(
            "BuildersGuide")
        let pipe = Pipe()
        process.standardOutput = pipe
        try process.run()
        let output = String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        try #require(process.terminationStatus == 0, "\(output)")
        let lines = output.split(separator: "\n").map(String.init)
        #expect(
            lines.filter { $0.hasPrefix("== ") } == [
                "== Layers and modules", "== Parameter access", "== Tied parameters", "== Built-in initialization",
                "== Custom initialization", "== Lazy initialization", "== Layers without parameters",
                "== Layers with parameters",
                "== Loading and saving tensors", "== Loading and saving model parameters", "== Devices",
            ])
        for line in [
            "Sequential: [2, 10]", "code in forward: true", "all of them together: []", "no gradient yet: true",
            "0.weight [8, 4]", "100.0", "true 6", "normal: true 0.0", "constant: [1.0, 1.0, 1.0, 1.0]", "42.0",
            "<UninitializedParameter> false", "  (0): Linear(in_features=20, out_features=256, bias=True)",
            "tensor([-2., -1.,  0.,  1.,  2.])", "the mean is small: true", "[5, 3] [2, 3]",
            "[tensor([0, 1, 2, 3]), tensor([0., 0., 0., 0.])]", "true",
            "cpu cpu",
        ] {
            #expect(lines.contains(line), "\(line)")
        }
    }
}
