import Foundation
import Testing

/// The package as another package sees it.
@Suite("Used as a library")
struct ConsumerTests {
    @Test("another package depends on this one by URL and version, saves and loads", .timeLimit(.minutes(15)))
    func dependency() throws {
        let folder = try TemporaryFolder()
        let repository = Tool.repository.path
        guard FileManager.default.fileExists(atPath: repository + "/.git") else {
            print("passed over: \(repository) is no git repository, so nothing can depend on it by URL")
            return
        }
        let clone = folder.path("nnstore")
        func run(_ program: String, _ arguments: String..., in place: String? = nil) throws -> Outcome {
            let outcome = try Tool.start("/usr/bin/env", [program] + arguments, in: place)
            try #require(outcome.status == 0, "\(program) \(arguments): \(outcome.output)\(outcome.error)")
            return outcome
        }
        _ = try run("git", "clone", "--quiet", repository, clone)
        _ = try run(
            "git", "-c", "user.name=test", "-c", "user.email=test@localhost", "tag", "--force", "0.1.0", in: clone)

        let consumer = folder.path("consumer")
        try FileManager.default.createDirectory(
            atPath: consumer + "/Sources/consumer", withIntermediateDirectories: true)
        try """
        // swift-tools-version: 6.2
        import PackageDescription
        let package = Package(
            name: "consumer",
            dependencies: [.package(url: "file://\(clone)", from: "0.1.0")],
            targets: [.executableTarget(name: "consumer", dependencies: [.product(name: "NNStore", package: "nnstore")])])
        """.write(toFile: consumer + "/Package.swift", atomically: true, encoding: .utf8)
        try """
        import NNStore

        let weight = try StateTensor([1, 2, 3, 4, 5, 6] as [Float], shape: [2, 3])
        try Checkpoint.save(["weight": .tensor(weight), "tied": .tensor(weight), "step": 3], to: "model.nnck")
        let checkpoint = try Checkpoint.open("model.nnck")
        for tensor in try checkpoint.tensors { print(tensor.name, tensor.dtype, tensor.shape) }
        let tree = try checkpoint.readAll()
        print(tree["weight"]!.tensor!.storage === tree["tied"]!.tensor!.storage)
        """.write(toFile: consumer + "/Sources/consumer/main.swift", atomically: true, encoding: .utf8)
        let outcome = try run("swift", "run", "--quiet", in: consumer)
        #expect(outcome.output == "weight F32 [2, 3]\ntied F32 [2, 3]\ntrue\n")
    }
}
