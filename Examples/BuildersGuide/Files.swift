import Foundation
import NNTensor

func files() throws {
    let name = "builders-guide-\(ProcessInfo.processInfo.processIdentifier)"
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent(name)
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }

    section("Loading and saving tensors")
    let x = Tensor.arange(4)
    let file = folder.appendingPathComponent("x.nnck").path
    try save(x, to: file)
    let x2: Tensor = try load(file)
    print(x2)
    let y = Tensor.zeros(4)
    try save([x, y], to: file)
    let both: [Tensor] = try load(file)
    print(both)
    try save(["x": x, "y": y], to: file)
    let named: [String: Tensor] = try load(file)
    print(named.sorted { $0.key < $1.key })

    section("Loading and saving model parameters")
    let net = MLP()
    let batch = Tensor.randn(2, 20)
    let expected = try net(batch)
    let parameters = folder.appendingPathComponent("mlp.params").path
    try save(net.stateDict(), to: parameters)
    let clone = MLP()
    try clone.load(parameters)
    clone.eval()
    print(clone)
    print(try (clone(batch) .== expected).all().item() == 1)
}
