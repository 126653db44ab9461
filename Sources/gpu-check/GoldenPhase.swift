import GoldenCases
import NNDevices
import NNTensor

/// PyTorch's numbers, calculated on the GPU: that they are within 1e-4 + 1e-4 × |value|.
struct GoldenPhase {
    let device: Device
    let folder: String

    /// - Returns: whether all were.
    func run() throws -> Bool {
        var isGood = true
        for usesBlas in [true, false] {
            try GPU.$usesBlas.withValue(usesBlas) {
                if try !usesBlas || device.gpu().hasBlas() { isGood = try run(usesBlas: usesBlas) && isGood }
            }
        }
        return isGood
    }

    private func run(usesBlas: Bool) throws -> Bool {
        var isGood = true
        for name in GoldenCase.names {
            let golden = try GoldenCase(name, from: folder)
            var differences = [("gradients", try golden.gradientDifference(on: device))]
            for kind in GoldenCase.optimizers {
                differences.append((kind, try golden.stepDifference(kind, on: device)))
            }
            let worst = differences.max { $0.1 < $1.1 }!
            isGood = isGood && worst.1 <= 1
            Report.print(
                "goldens",
                [
                    "case": .text(name), "products": .text(usesBlas ? "cuBLAS" : "own kernel"), "worst": .text(worst.0),
                    "of_allowed": .number(worst.1),
                    "ok": .flag(worst.1 <= 1),
                ])
        }
        return isGood
    }
}
