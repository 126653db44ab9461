import Foundation
import NNStore
import NNTensor
import Testing

@testable import NNDevices

extension StagingTests {
    /// The kernels' sources, compiled as C++, beside the CPU's loops.
    @Suite("Kernels")
    struct KernelTests {
        /// A tensor with strides that are not contiguous, of a shape.
        private static func strided(_ shape: [Int], _ dtype: DType, _ generator: inout SystemRandomNumberGenerator)
            throws
            -> Tensor
        {
            let order = Array(shape.indices).shuffled(using: &generator)
            let whole = Tensor.randn(order.map { shape[$0] + 1 })
            var part = try (dtype.isFloatingPoint ? whole : whole * 5).to(dtype)
            for (dimension, axis) in order.enumerated() { part = try part.narrow(dimension, 1..<shape[axis] + 1) }
            return try part.permute(order.indices.map { place in order.firstIndex(of: place)! })
        }

        /// The same view of memory on the GPU.
        private static func moved(_ tensor: Tensor) throws -> Tensor {
            let storages = try [tensor.storage].copied(to: .cuda(0))
            return try Tensor(storage: storages[0], layout: tensor.layout)
        }

        private static func areClose(_ left: Tensor, _ right: Tensor, _ tolerance: Double) throws -> Bool {
            guard left.shape == right.shape, left.dtype == right.dtype else { return false }
            return try zip(left.elements(as: Double.self), right.elements(as: Double.self)).allSatisfy {
                $0 == $1 || $0.isNaN && $1.isNaN || abs($0 - $1) <= tolerance * (1 + abs($1))
            }
        }

        private static let shapes = [[], [7], [3, 5], [2, 1, 4], [3, 2, 2, 3], [0, 3]]
        private static let dtypes: [DType] = [.f32, .f64, .f16, .bf16, .i64, .i32, .u8, .bool]

        private static let unary: [(String, @Sendable (Tensor) throws -> Tensor)] = [
            ("abs", { try $0.abs() }), ("exp", exp), ("log", { try log($0.abs() + 1) }),
            ("sqrt", { try sqrt($0.abs()) }),
            ("tanh", tanh), ("sigmoid", sigmoid), ("relu", relu), ("gelu", gelu), ("sin", sin), ("cos", cos),
        ]

        @Test("calculate elements as the CPU does, for any strides and dtypes")
        func elements() throws {
            var random = SystemRandomNumberGenerator()
            try TestDriver.with { _ in
                for shape in KernelTests.shapes {
                    for dtype in KernelTests.dtypes {
                        let x = try KernelTests.strided(shape, dtype, &random)
                        let there = try KernelTests.moved(x)
                        let tolerance = dtype == .f64 ? 1e-13 : dtype == .f16 ? 2e-3 : dtype == .bf16 ? 1e-2 : 1e-6
                        for (name, operation) in KernelTests.unary where dtype.isFloatingPoint {
                            #expect(
                                try KernelTests.areClose(operation(there).to(.cpu), operation(x), tolerance),
                                "\(name) of \(dtype) \(shape)")
                        }
                        for other in KernelTests.dtypes {
                            let y = try KernelTests.strided(Array(shape.suffix(2)), other, &random)
                            let otherThere = try KernelTests.moved(y)
                            for (name, operation) in [
                                ("add", { $0 + $1 }), ("multiply", { $0 * $1 }), ("maximum", maximum),
                            ] as [(String, (Tensor, Tensor) throws -> Tensor)] {
                                let expected = try operation(x, y)
                                #expect(
                                    try KernelTests.areClose(operation(there, otherThere).to(.cpu), expected, 1e-2),
                                    "\(name) of \(dtype) \(shape) and \(other)")
                            }
                            #expect(
                                try KernelTests.areClose((there < otherThere).to(.cpu), x < y, 0),
                                "\(dtype) \(shape) < \(other)")
                            #expect(
                                try KernelTests.areClose(there.to(other).to(.cpu), x.to(other), 0),
                                "\(dtype) to \(other)")
                        }
                    }
                }
            }
        }

        @Test("convert all halves as the CPU does", arguments: [DType.f16, .bf16])
        func halves(_ dtype: DType) throws {
            try TestDriver.with { _ in
                let bits = (0...UInt16.max).map { $0 }
                let layout = try TensorLayout(dtype, shape: [bits.count])
                let all = try Tensor(storage: Storage(copying: bits), layout: layout)
                let there = try all.to(.cuda(0))
                #expect(try KernelTests.areClose(there.to(.f32).to(.cpu), all.to(.f32), 0))
                // Numbers around and between halves, both ways round.
                let between = Tensor(
                    (0..<200_000).map { Float(bitPattern: UInt32($0) &* 21_473) }, shape: [200_000])
                #expect(try KernelTests.areClose(between.to(.cuda(0)).to(dtype).to(.cpu), between.to(dtype), 0))
            }
        }

        @Test("add up and choose over any dimensions as the CPU does")
        func reductions() throws {
            var random = SystemRandomNumberGenerator()
            try TestDriver.with { _ in
                for shape in [[5], [40, 33], [3, 4, 5], [1000, 70], [2, 3, 4, 5]] {
                    for dtype in [DType.f32, .f64, .bf16, .i64, .bool] {
                        let x = try KernelTests.strided(shape, dtype, &random)
                        let there = try KernelTests.moved(x)
                        for axes in [[0], [shape.count - 1], Array(shape.indices)] {
                            #expect(
                                try KernelTests.areClose(there.sum(axes).to(.cpu), x.sum(axes), 1e-5),
                                "sum of \(dtype) \(shape) over \(axes)")
                        }
                        let (found, expected) = (try there.max(0), try x.max(0))
                        #expect(try KernelTests.areClose(found.values.to(.cpu), expected.values, 0))
                        #expect(try KernelTests.areClose(found.indices.to(.cpu), expected.indices, 0))
                        #expect(try KernelTests.areClose(there.argmin().to(.cpu), x.argmin(), 0))
                    }
                }
            }
        }

        @Test("multiply matrices of any strides as the CPU does")
        func products() throws {
            var random = SystemRandomNumberGenerator()
            try TestDriver.with { _ in
                for (left, right) in [
                    ([3, 4], [4, 5]), ([17, 9], [9, 6]), ([2, 5, 3], [2, 3, 7]), ([4, 1, 2, 3], [5, 3, 2]),
                ] {
                    for dtype in [DType.f32, .f64, .i64, .f16] {
                        let (a, b) = (
                            try KernelTests.strided(left, dtype, &random),
                            try KernelTests.strided(right, dtype, &random)
                        )
                        let product = try matmul(KernelTests.moved(a), KernelTests.moved(b)).to(.cpu)
                        #expect(
                            try KernelTests.areClose(product, matmul(a, b), dtype == .f16 ? 1e-2 : 1e-5),
                            "\(dtype) \(left) by \(right)")
                    }
                }
            }
        }

        @Test("walk through twelve dimensions, if those that follow each other can be joined, and say so if not")
        func manyDimensions() throws {
            try TestDriver.with { _ in
                let x = Tensor.randn([Int](repeating: 2, count: 12))
                let there = try x.to(.cuda(0))
                #expect(try KernelTests.areClose(matmul(there, there).to(.cpu), matmul(x, x), 1e-5))
                let error = #expect(throws: TensorError.self) {
                    try there.permute(Array((0..<12).reversed())).contiguous()
                }
                #expect(error?.description.contains("to(.cpu)") == true)
            }
        }

        @Test("find rows, layers and probabilities as the CPU does, and their gradients")
        func functions() throws {
            try TestDriver.with { _ in
                func both(_ body: (Tensor, (Tensor) throws -> Tensor) throws -> Tensor) throws {
                    let values = Tensor.randn([4, 6, 8])
                    let weights = Tensor.randn([4, 6, 8])
                    var results: [[Double]] = []
                    for device in [Device.cpu, .cuda(0)] {
                        let x = try values.to(device).copy(to: device)
                        x.requiresGrad = true
                        let y = try body(x) { try $0.to(device) }
                        try (y * weights.to(device).reshape(y.shape)).sum().backward()
                        results.append(try y.elements(as: Double.self) + x.grad!.elements(as: Double.self))
                    }
                    for (found, expected) in zip(results[1], results[0]) { #expect(abs(found - expected) < 1e-4) }
                }
                try both { x, _ in try softmax(x, dimension: 1) }
                try both { x, _ in try logSoftmax(x, dimension: -1) }
                try both { x, _ in try layerNorm(x + 10_000, [8]) }
                try both { x, move in try layerNorm(x, [6, 8], weight: move(.ones(6, 8)), bias: move(.zeros(6, 8))) }
                try both { x, move in
                    try x.indexSelect(1, move(Tensor([5, 0, 5, 2, 2, 1] as [Int64])))
                }
                try both { x, move in
                    try x.gather(2, move(Tensor((0..<192).map { Int64($0 * 5 % 8) }, shape: [4, 6, 8])))
                }
            }
        }

        @Test(
            "give the probabilities of rows of any length, with masks, NaN and infinity as on the CPU",
            arguments: [1, 5, 33, 1_500])
        func probabilities(length: Int) throws {
            try TestDriver.with { _ in
                for dtype in [DType.f32, .f64, .bf16] {
                    let x = try (Tensor.randn([5, length]) * 10).to(dtype)
                    // Some masked, a last one, all of a row, one NaN, one infinity.
                    try x[0].narrow(0, 0..<length / 2).fill(-Double.infinity)
                    try x[1].narrow(0, length - 1..<length).fill(-Double.infinity)
                    try x[2].fill(-Double.infinity)
                    try x[3].narrow(0, length / 2..<length / 2 + 1).fill(Double.nan)
                    try x[4].narrow(0, 0..<1).fill(Double.infinity)
                    for function in [softmax, logSoftmax] {
                        let expected = try function(x, 1).elements(as: Double.self)
                        let found = try function(x.to(.cuda(0)), 1).elements(as: Double.self)
                        for (found, expected) in zip(found, expected) {
                            #expect(
                                found == expected || found.isNaN && expected.isNaN
                                    || abs(found - expected) <= 1e-5 + abs(expected) * (dtype == .bf16 ? 0.01 : 1e-5))
                        }
                    }
                }
            }
        }

        @Test("are the ones that were compiled: each PTX says what it was made of")
        func sources() throws {
            #expect(try KernelTests.compile("--check-sources") == 0, "run scripts/compile-kernels")
        }

        @Test("are what the pinned compiler makes of the sources")
        func recompiled() throws {
            let result = try KernelTests.compile("--check")
            // The script says so when it can't have the compiler.
            if result == 75 { return }
            #expect(result == 0, "run scripts/compile-kernels")
        }

        private static func compile(_ option: String) throws -> Int32 {
            let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
                .deletingLastPathComponent()
            let python = root.appendingPathComponent(".venv/bin/python3").path
            let process = Process()
            process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
            process.arguments = [
                FileManager.default.isExecutableFile(atPath: python) ? python : "python3",
                root.appendingPathComponent("scripts/compile-kernels").path, option,
            ]
            try process.run()
            process.waitUntilExit()
            return process.terminationStatus
        }
    }
}
