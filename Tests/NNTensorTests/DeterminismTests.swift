import NNStore
import NNTensor
import Testing

@Suite("Training", .serialized)
struct DeterminismTests {
    /// Trains with everything that adds numbers or draws them, and gives all bits of the result.
    private static func train(threads: Int) throws -> String {
        let before = Parallelism.threads
        Parallelism.threads = threads
        defer { Parallelism.threads = before }
        let generator = Generator(seed: 17)
        let net = withGenerator(generator) {
            Sequential(
                Conv2d(3, 16, kernelSize: 3, padding: 1), BatchNorm2d(16), ReLU(), MaxPool2d(2), Dropout(0.2),
                Flatten(),
                LayerNorm(16 * 14 * 14), Linear(16 * 14 * 14, 300), GELU(), Linear(300, 10))
        }
        let optimizer = AdamW(net.parameters())
        try withGenerator(generator) {
            let x = Tensor.randn(64, 3, 28, 28)
            let classes = Tensor.randint(0..<10, [64])
            for _ in 0..<4 {
                optimizer.zeroGrad()
                try crossEntropy(net(x), classes).backward()
                try optimizer.step()
            }
        }
        // FNV-1a (G. Fowler, L. Noll, K. Vo) over the bits of all values.
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for (_, tensor) in net.stateDict().entries {
            for value in try tensor!.elements(as: Double.self) { hash = (hash ^ value.bitPattern) &* 0x100_0000_01b3 }
        }
        return String(hash, radix: 16)
    }

    @Test("gives equal bits with one thread, two and five, and in another process")
    func equalBits() async throws {
        let one = try Self.train(threads: 1)
        #expect(try Self.train(threads: 2) == one)
        #expect(try Self.train(threads: 5) == one)
        let result = await #expect(processExitsWith: .success, observing: [\.standardOutputContent]) {
            print("hash", try DeterminismTests.train(threads: 2))
        }
        let output = String(decoding: result?.standardOutputContent ?? [], as: UTF8.self)
        #expect(output.contains("hash \(one)"))
    }
}
