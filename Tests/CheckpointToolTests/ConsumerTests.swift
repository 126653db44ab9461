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

        // The package and the program are the README's, letter by letter but for the address.
        let blocks = try readmeBlocks()
        let consumer = folder.path("consumer")
        try FileManager.default.createDirectory(
            atPath: consumer + "/Sources/example", withIntermediateDirectories: true)
        let manifest = blocks[0].replacingOccurrences(of: "https://example.org/nnstore", with: "file://\(clone)")
        #expect(manifest != blocks[0])
        try manifest.write(toFile: consumer + "/Package.swift", atomically: true, encoding: .utf8)
        try blocks[1].write(toFile: consumer + "/Sources/example/main.swift", atomically: true, encoding: .utf8)
        for _ in 0..<2 {
            let outcome = try run("swift", "run", "--quiet", in: consumer)
            #expect(
                outcome.output == "embedding.weight F32 [1000, 128]\nhead.weight F32 [1000, 128]\n1280 1200\ntrue\n")
        }
        let aliases = try Tool.run("list", consumer + "/again.nnck", "--json").json["aliases"] as? [[String]]
        #expect(aliases == [["embedding.weight", "head.weight"]])

        // The program that trains.
        try blocks[2].write(toFile: consumer + "/Sources/example/main.swift", atomically: true, encoding: .utf8)
        let outcome = try run("swift", "run", "--quiet", in: consumer)
        #expect(
            outcome.output == """
                LanguageModel(
                  (embedding): Embedding(29, 64)
                  (hidden): Linear(in_features=64, out_features=64, bias=True)
                  (head): Linear(in_features=64, out_features=29, bias=False)
                )
                true
                true

                """)
        let tied = try Tool.run("list", consumer + "/letters.nnck", "--json").json["aliases"] as? [[String]]
        #expect(tied == [["embedding.weight", "head.weight"]])
    }

    /// The Swift blocks of the README, in order.
    private func readmeBlocks() throws -> [String] {
        let readme = try String(
            contentsOfFile: Tool.repository.appendingPathComponent("README.md").path, encoding: .utf8)
        let blocks = readme.components(separatedBy: "```swift\n").dropFirst().compactMap {
            $0.components(separatedBy: "```").first
        }
        try #require(blocks.count == 3)
        return blocks
    }
}
