import Foundation
import NNStore
import NNTensor

func files() throws {
    let name = "builders-guide-\(ProcessInfo.processInfo.processIdentifier)"
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent(name)
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let options = SaveOptions(existing: .replace)

    section("Loading and saving tensors")
    let x = Tensor.arange(4)
    let file = folder.appendingPathComponent("x.nnck").path
    let values: StateTree = ["x": .tensor(try x.stateTensor()), "y": [.tensor(try Tensor.zeros(4).stateTensor())]]
    try Checkpoint.save(values, to: file, options: options)
    let tree = try Checkpoint.open(file).readAll()
    print(tree["x"]?.tensor?.shape ?? [], tree["y"]?[0]?.tensor?.dtype.name ?? "")

    section("Loading and saving model parameters")
    let net = MLP()
    let batch = Tensor.randn(2, 20)
    let y = try net(batch)
    let parameters = folder.appendingPathComponent("mlp.nnck").path
    try Checkpoint.save(net.stateDict().stateTree(), to: parameters, options: options)
    let clone = MLP()
    try clone.load(stateDict: StateDict(Checkpoint.open(parameters).readAll()))
    clone.eval()
    print(try (clone(batch) .== y).all().item() == 1)
}
