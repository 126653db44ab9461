import NNDevices
import NNTensor

/// How fast operations run on the GPU.
struct SpeedPhase {
    let device: Device

    func run() throws {
        let count = 64 << 20
        let x = Tensor.randn([count], device: device, generator: Generator(seed: 1))
        let y = Tensor.randn([count], device: device, generator: Generator(seed: 2))
        let matrix = try x.reshape([8192, 8192])
        try moved("add", 12 * count) { _ = x + y }
        try moved("exp", 8 * count) { _ = try exp(x) }
        try moved("copy of a transposed matrix", 8 * count) { _ = try matrix.T.contiguous() }
        try moved("sum of all", 4 * count) { _ = try x.sum() }
        try moved("sum of rows", 4 * count) { _ = try matrix.sum(1) }
        try moved("sum of columns", 4 * count) { _ = try matrix.sum(0) }
        try moved("softmax", 8 * count) { _ = try softmax(matrix, dimension: 1) }
        let words = try x.narrow(0, 0..<1024 * 50_257).reshape([1024, 50_257])
        try moved("logSoftmax of 1,024 long rows", 8 * words.count) { _ = try logSoftmax(words, dimension: 1) }
        let attention = try x.reshape([count / 256, 256])
        try moved("softmax of short rows", 8 * count) { _ = try softmax(attention, dimension: 1) }
        let square = try x.narrow(0, 0..<4096 * 4096).reshape([4096, 4096])
        for usesBlas in [true, false] {
            try GPU.$usesBlas.withValue(usesBlas) {
                if try usesBlas && !device.gpu().hasBlas() { return }
                let seconds = try time { _ = try matmul(square, square) }
                Report.print(
                    "speed",
                    [
                        "operation": .text(usesBlas ? "matmul by cuBLAS" : "matmul by own kernel"),
                        "tflop_s": .number(2 * 4096 * 4096 * 4096 / seconds / 1e12),
                    ])
            }
        }
        let table = Parameter(Tensor.randn([50_257, 768], device: device))
        let indices = try Tensor.randint(0..<50_257, [8192]).to(device)
        let rows = try time {
            table.grad = nil
            try embedding(indices, table).sum().backward()
        }
        Report.print(
            "speed", ["operation": .text("embedding, forward and backward"), "milliseconds": .number(rows * 1e3)])
        try training()
    }

    private func training() throws {
        let net = try Sequential(Linear(1024, 4096), ReLU(), Linear(4096, 4096), ReLU(), Linear(4096, 1024)).to(device)
        let optimizer = AdamW(net.parameters())
        let x = Tensor.randn([512, 1024], device: device)
        let seconds = try time {
            optimizer.zeroGrad()
            try meanSquaredError(net(x), x).backward()
            try optimizer.step()
        }
        Report.print(
            "speed",
            ["operation": .text("training step, 25 million parameters"), "milliseconds": .number(seconds * 1e3)])
    }

    private func moved(_ name: String, _ bytes: Int, _ body: () throws -> Void) throws {
        let seconds = try time(body)
        Report.print("speed", ["operation": .text(name), "gb_s": .number(Double(bytes) / seconds / 1e9)])
    }

    /// The seconds of one of ten calls, after two others.
    private func time(_ body: () throws -> Void) throws -> Double {
        for _ in 0..<2 { try body() }
        try device.synchronize()
        let time = try ContinuousClock().measure {
            for _ in 0..<10 { try body() }
            try device.synchronize()
        }
        return time / .seconds(1) / 10
    }
}
