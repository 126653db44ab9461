import Crypto
import Foundation
import NNInterop
import NNStore
import Testing

@Suite("Files that other libraries wrote")
struct ForeignFixtureTests {
    private let folder: TemporaryFolder
    init() throws { folder = try TemporaryFolder() }

    private static let names = [
        "arrays.npz", "arrays_deflate.npz", "dtypes.pt", "dtypes.safetensors", "legacy_tied.pth", "list.pt",
        "lpips_alex.pth",
        "model.gguf", "tied_state_dict.pt", "training.pt", "views.pt", "x-file.pt",
    ]

    private func expected(_ name: String) throws -> [String: Any] {
        let json = try JSONSerialization.jsonObject(with: Data(fileBytes(fixture("expected.json")))) as? [String: Any]
        return try #require(json?[name] as? [String: Any])
    }

    /// Compares what a file holds with what the library that wrote it says.
    private func check(_ path: String, _ name: String) throws {
        let facts = try expected(name)
        let tensors = try #require(facts["tensors"] as? [String: [String: Any]])
        let file = try CheckpointFiles.open(path)
        let listing = CheckpointListing(try file.state())
        #expect(Set(listing.tensors.map(\.name)) == Set(tensors.keys))
        for tensor in listing.tensors {
            let fact = try #require(tensors[tensor.name])
            #expect(tensor.layout.dtype.name == fact["dtype"] as? String, "\(tensor.name)")
            #expect(tensor.layout.shape == fact["shape"] as? [Int], "\(tensor.name)")
            if let strides = fact["stride"] as? [Int], !tensor.layout.isEmpty {
                for (dimension, extent) in tensor.layout.shape.enumerated() where extent > 1 {
                    #expect(tensor.layout.strides[dimension] == strides[dimension], "\(tensor.name)")
                }
            }
            if let wants = fact["requires_grad"] as? Bool { #expect(tensor.tensor.requiresGrad == wants) }
            let digest = SHA256.hash(data: Data(try elements(tensor.tensor)))
                .map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
            #expect(digest == fact["sha256"] as? String, "\(tensor.name)")
        }
        let groups = listing.aliasGroups.map { $0.map { listing.tensors[$0].name }.sorted() }.sorted { $0[0] < $1[0] }
        #expect(groups == facts["aliases"] as? [[String]] ?? [])
        if let metadata = facts["metadata"] as? [String: Any] {
            #expect(try Set(file.metadata().children.map(\.key.description)) == Set(metadata.keys))
        }
    }

    @Test("are read, imported and exported again without a difference", arguments: names)
    func roundTrip(_ name: String) throws {
        let original = try fixture(name)
        try check(original, name)
        for compression in [Compression.fast, .none] {
            let container = folder.path("\(compression).nnck")
            try CheckpointFiles.open(original).saveAsContainer(
                to: container, options: SaveOptions(compression: compression))
            try check(container, name)
            let file = try CheckpointFiles.open(container)
            let path = folder.path("\(compression)-\(name)")
            switch try #require(WritableFormat(ending: name)) {
            case .safetensors:
                #expect(try file.saveAsSafetensors(to: path).isEmpty)
                #expect(try fileBytes(path) == fileBytes(original))
            case .gguf:
                #expect(try file.saveAsGGUF(to: path).isEmpty)
                #expect(try fileBytes(path) == fileBytes(original))
            case .pytorch: #expect(try file.saveAsPyTorch(to: path).isEmpty)
            case .npz: #expect(try file.saveAsNumPy(to: path).isEmpty)
            case .npy, .nnck: Issue.record("no fixture is of these")
            }
            try check(path, name)
        }
    }

    @Test("the plain values of a training checkpoint survive")
    func training() throws {
        let container = folder.path("t.nnck")
        try CheckpointFiles.open(fixture("training.pt")).saveAsContainer(to: container)
        let exported = folder.path("t.pt")
        try CheckpointFiles.open(container).saveAsPyTorch(to: exported)
        for path in [try fixture("training.pt"), container, exported] {
            let state = try CheckpointFiles.open(path).state()
            #expect(state["epoch"]?.int == 4 && state["step"]?.int == 1234 && state["lr"]?.double == 3e-4)
            #expect(state["name"]?.string == "run-α" && state["best"]?.isNull == true)
            #expect(state["flags"]?[0]?.bool == true)
            #expect(state["optimizer"]?["param_groups"]?[0]?["betas"]?[0]?.double == 0.9)
            #expect(state["model"]?.dictionaryTag == "collections.OrderedDict")
            #expect(
                try ModuleVersions.read(from: CheckpointFiles.open(path).metadata()).map(\.path) == [
                    "model", "model.0", "model.1", "model.2",
                ])
        }
    }
}
