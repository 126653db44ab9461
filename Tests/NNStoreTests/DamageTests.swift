import Foundation
import Synchronization
import Testing

@testable import NNStore

/// Cuts and flipped bits: never wrong data, and full verification always finds them.
@Suite("Damage")
struct DamageTests {
    /// Small containers that have everything: nesting, a tie, metadata, several chunks.
    private static func containers() throws -> [(name: String, bytes: [UInt8])] {
        var generator = SeededGenerator(seed: 11)
        // Chunks are a mebibyte; the second one is a few bytes.
        let large = try Storage([UInt8](repeating: 3, count: 1 << 20) + generator.bytes(40))
        let small = try Storage(generator.bytes(64))
        let tree: StateTree = [
            "model": [
                "large": .tensor(try StateTensor(storage: large, layout: TensorLayout(.u8, shape: [1 << 20 + 40]))),
                "small": .tensor(try StateTensor(storage: small, layout: TensorLayout(.f32, shape: [4, 4]))),
                "tied": .tensor(
                    try StateTensor(storage: small, layout: TensorLayout(.f32, shape: [4, 4], strides: [1, 4]))),
            ], "list": [1, "two"],
        ]
        let smallTree: StateTree = [
            "model": tree["model"]!["small"]!, "tied": tree["model"]!["tied"]!, "list": tree["list"]!,
        ]
        // Exponents that are worth a frame, mantissas that are stored, and a plane that is constant.
        let planes: StateTree = .tensor(
            try StateTensor((0..<700).map { _ in Float(Int.random(in: -100...100, using: &generator)) }, shape: [700]))
        return try FileLayout.writtenVersions.flatMap { version in
            func container(_ tree: StateTree, _ compression: Compression) throws -> [UInt8] {
                try containerBytes(
                    tree, metadata: ["m": "x"],
                    options: SaveOptions(compression: compression, formatVersion: version))
            }
            return try [
                ("format \(version), fast", container(["tree": tree, "planes": planes], .fast)),
                ("format \(version), none", container(smallTree, Compression.none)),
            ]
        }
    }

    /// What a container holds, as one value.
    private struct Contents: Equatable {
        var names: [String] = []
        var elements: [[UInt8]] = []
        var values = ""
    }

    private func contents(_ bytes: [UInt8]) throws -> Contents {
        let checkpoint = try Checkpoint.open(MemorySource(bytes))
        let state = try checkpoint.readAll(threads: 1)
        var contents = Contents()
        for (path, tensor) in state.tensors {
            contents.names.append("\(path) \(tensor.layout)")
            contents.elements.append(try tensor.elementBytes)
        }
        state.forEachNode { path, node in
            if node.tensor == nil, !node.kind.isInner { contents.values += "\(path) \(node) " }
        }
        contents.values += "\(try checkpoint.metadata)"
        return contents
    }

    /// Whether a damaged container is handled: verification reports it, and loading throws or gives what was saved.
    private func isHandled(_ damaged: [UInt8], _ expected: Contents) throws -> Bool {
        do {
            let checkpoint = try Checkpoint.open(MemorySource(damaged))
            if try checkpoint.verify(threads: 1).isSound { return false }
        } catch is StoreError {
            // Refused on opening; nothing else can be asked of it.
            return true
        }
        do {
            return try contents(damaged) == expected
        } catch is StoreError {
            return true
        }
    }

    @Test("a container cut at any length is refused")
    func truncation() throws {
        for (name, bytes) in try DamageTests.containers() {
            let lengths =
                isExhaustive
                ? Array(0..<bytes.count) : Array(stride(from: 0, to: bytes.count, by: 211)) + [bytes.count - 1]
            let failures = try countUnhandled(lengths.count) { index in
                let length = lengths[index]
                do {
                    _ = try Checkpoint.open(MemorySource(Array(bytes.prefix(length))))
                    return false
                } catch is StoreError {
                    return true
                }
            }
            print("\(name): cut at \(lengths.count) lengths of \(bytes.count)")
            #expect(failures == 0)
        }
    }

    @Test("any flipped bit is found by full verification, and loading never gives wrong data")
    func bitFlips() throws {
        let seed = testSeed
        print("seed \(seed) (set NNSTORE_TEST_SEED to repeat)")
        var generator = SeededGenerator(seed: seed)
        for (name, bytes) in try DamageTests.containers() {
            let expected = try contents(bytes)
            var bits = Array(0..<bytes.count * 8)
            if !isExhaustive { bits = (0..<400).map { _ in Int.random(in: 0..<bytes.count * 8, using: &generator) } }
            let all = bits
            let failures = try countUnhandled(all.count) { index in
                var damaged = bytes
                damaged[all[index] / 8] ^= 1 << (all[index] % 8)
                return try isHandled(damaged, expected)
            }
            print("\(name): \(all.count) of \(bytes.count * 8) bits flipped")
            #expect(failures == 0)
        }
    }

    /// Runs `isHandled` for every index on all cores and counts where it is false.
    private func countUnhandled(_ count: Int, _ isHandled: @escaping @Sendable (Int) throws -> Bool) throws -> Int {
        let unhandled = Mutex(0)
        try Workers.forEach(count, threads: Workers.defaultCount, context: {}) { index, _ in
            if try !isHandled(index) { unhandled.withLock { $0 += 1 } }
        }
        return unhandled.withLock { $0 }
    }
}
