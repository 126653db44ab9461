import GoldenCases
import NNStore
import NNTensor
import Testing

@testable import NNDevices

private func numbers(_ tensor: Tensor) throws -> [Double] { try tensor.elements(as: Double.self) }

extension StagingTests {
    @Suite("Tensors on a GPU, played by the test driver")
    struct DeviceTensorTests {
        @Test("are the same tensor where they are already, and copies elsewhere")
        func moving() throws {
            try TestDriver.with { _ in
                let x = Tensor([1, 2, 3])
                #expect(try x.to(.cpu) === x)
                let there = try x.to(.cuda(0))
                #expect(there.device == .cuda(0))
                #expect(try there.to(.cuda(0)) === there)
                #expect(try there.copy(to: .cuda(0)).sharesStorage(with: there) == false)
                #expect(try numbers(there.to(.cuda(1)).to(.cpu)) == [1, 2, 3])
                // A view takes along what it sees alone.
                let column = try Tensor([[1, 2], [3, 4]]).T.select(0, 1).to(.cuda(0))
                #expect(column.storage.byteCount == 16)
                #expect(try numbers(column) == [2, 4])
            }
        }

        @Test("of a model are moved in place: sharing, views outside, gradients and optimizer state go along")
        func models() throws {
            try TestDriver.with { _ in
                let net = try GoldenCase("tied_lm").model() as! TiedLM
                let golden = try GoldenCase("tied_lm")
                let optimizer = AdamW(net.parameters(), learningRate: 1e-2)
                func step(_ device: Device) throws -> Double {
                    optimizer.zeroGrad()
                    let loss = try golden.loss(
                        net(golden.numbers["x"]!.to(device)), golden.numbers["target"]!.to(device))
                    try loss.backward()
                    try optimizer.step()
                    return try loss.item()
                }
                _ = try step(.cpu)
                let view = net.emb.weight.detach()[0]
                let parameter = net.emb.weight
                try net.to(.cuda(0))
                #expect(net.emb.weight === parameter)
                #expect(net.head.weight.sharesStorage(with: net.emb.weight))
                #expect(view.device == .cuda(0))
                #expect(parameter.grad?.device == .cuda(0))
                _ = try step(.cuda(0))
                try net.to(.cpu)
                let loss = try step(.cpu)
                // As without any moving.
                let other = try golden.model()
                let otherOptimizer = AdamW(other.parameters(), learningRate: 1e-2)
                var expected = 0.0
                for _ in 0..<3 {
                    otherOptimizer.zeroGrad()
                    let loss = try golden.loss(other(golden.numbers["x"]!))
                    try loss.backward()
                    try otherOptimizer.step()
                    expected = try loss.item()
                }
                #expect(abs(loss - expected) < 1e-5)
            }
        }

        @Test("do not go together with others of another device; numbers do")
        func mixing() throws {
            try TestDriver.with { _ in
                let here = Tensor([1, 2])
                let there = try Tensor([3, 4]).to(.cuda(0))
                let error = #expect(throws: TensorError.self) { try maximum(here, there) }
                #expect(error?.code == "wrong-device")
                #expect(error?.description.contains("cpu") == true && error?.description.contains("cuda:0") == true)
                #expect(throws: TensorError.self) { try matmul(Tensor.ones(2, 2), there) }
                #expect(throws: TensorError.self) { try maximum(there, there.to(.cuda(1))) }
                #expect(try numbers(there * 2 + 1) == [7, 9])
                #expect(try numbers(there * Tensor(2.0)) == [6, 8])
                #expect(try numbers(select(there > 3, there, 0)) == [0, 4])
            }
        }

        @Test("say when values are read that an index was not there, and are not saved before somebody heard of it")
        func badIndex() throws {
            try TestDriver.with { _ in
                try StagingTests.withFile { path in
                    let table = try Tensor.randn(4, 3).to(.cuda(0))
                    func takeBadRows() throws -> Tensor {
                        try embedding(Tensor([1, 9] as [Int64]).to(.cuda(0)), table)
                    }
                    let rows = try takeBadRows()
                    for _ in 0..<2 {
                        let error = #expect(throws: DeviceError.self) { try save(table, to: path) }
                        #expect(error?.code == "index-out-of-range")
                    }
                    let error = #expect(throws: DeviceError.self) { try rows.elements(as: Float.self) }
                    #expect(
                        error?.description.contains("index 9") == true
                            && error?.description.contains("0 to 3") == true)
                    // Once.
                    #expect(try rows.elements(as: Float.self).count == 6)
                    try save(table, to: path)
                    let again = try takeBadRows()
                    #expect(throws: DeviceError.self) { try Device.cuda(0).synchronize() }
                    #expect(try again.elements(as: Float.self).count == 6)
                    _ = try takeBadRows()
                    #expect(throws: DeviceError.self) { try table.to(.cpu) }
                    #expect(try table.to(.cpu).count == 12)
                }
            }
        }

        @Test("come from pinned memory without waiting")
        func pinned() throws {
            var configuration = TestDriver.usual
            configuration.delay = 20_000
            try TestDriver.with(configuration) { driver in
                let batch = try Tensor.arange(0, 1000, dtype: .f32).pinMemory()
                #expect(batch.isPinned)
                #expect(try batch.pinMemory() === batch)
                driver.fail(call: 0)
                let there = try batch.to(.cuda(0))
                let doubled = there * 2
                #expect(driver.calls("cuEventSynchronize") == 0)
                #expect(try doubled.sum().item() == 999_000)
            }
        }

        @Test("are saved from where they are, and loaded to where they are")
        func saving() throws {
            try TestDriver.with { _ in
                try StagingTests.withFile { path in
                    let net = try GoldenCase("cnn").model()
                    try net.save(to: path)
                    let expected = try Checkpoint.open(path).contentID
                    try net.to(.cuda(0)).save(to: path)
                    #expect(try Checkpoint.open(path).contentID == expected)

                    let clone = try GoldenCase("cnn").freshModel().to(.cuda(1))
                    try clone.load(from: path)
                    for ((_, left), (_, right)) in zip(net.stateDict().entries, clone.stateDict().entries) {
                        #expect(right?.device == .cuda(1))
                        #expect(try numbers(#require(left)) == numbers(#require(right)))
                    }
                    let state: [String: Tensor] = try load(path, options: LoadOptions(device: .cuda(0)))
                    #expect(state.values.allSatisfy { $0.device == .cuda(0) })
                }
            }
        }

        @Test("that are not contiguous, or of another dtype, are loaded as well")
        func loadingViews() throws {
            final class Transposed: Module {
                let weight: Parameter
                init(_ weight: Tensor) { self.weight = Parameter(weight) }
            }
            try TestDriver.with { _ in
                try StagingTests.withFile { path in
                    let values = Tensor.randn([3, 5])
                    try Transposed(values).save(to: path)
                    let net = Transposed(Tensor.zeros([5, 3], device: .cuda(0)).T)
                    try net.load(from: path)
                    #expect(try numbers(net.weight) == numbers(values))
                    let double = Transposed(.zeros([3, 5], dtype: .f64, device: .cuda(0)))
                    try double.load(from: path, options: LoadOptions(convertsDTypes: true))
                    #expect(try numbers(double.weight) == numbers(values))
                }
            }
        }

        @Test("are saved in the background as they were", arguments: [1 << 30, 8 << 20])
        func savingInBackground(deviceMemory: Int) throws {
            var configuration = TestDriver.usual
            configuration.memory = deviceMemory
            try TestDriver.with(configuration) { driver in
                try StagingTests.withFile { path in
                    let saver = AsyncSaver()
                    // Of 8 MiB there is no room for a second one: then it is copied to the process's memory.
                    let x = Tensor.ones([1 << 20], device: .cuda(0))
                    let expected = try numbers(x.narrow(0, 0..<3))
                    driver.fail(call: 0)
                    let save = try saver.save(x.stateTree(), to: path)
                    let fits = deviceMemory > 8 << 20
                    #expect((driver.calls("cuMemcpyDtoDAsync") > 0) == fits)
                    try x.copy(from: Tensor(7.0))
                    try save.wait()
                    let loaded: Tensor = try load(path)
                    #expect(try numbers(loaded.narrow(0, 0..<3)) == expected)
                    #expect(try loaded.sum().item() == Double(1 << 20))
                }
            }
        }

        @Test("of metrics are read in one transfer")
        func metrics() throws {
            try TestDriver.with { driver in
                let losses = MetricAccumulator(capacity: 4)
                for step in 0..<10 { try losses.add(Tensor.full([], Double(step), device: .cuda(0))) }
                driver.fail(call: 0)
                #expect(try losses.take() == (0..<10).map(Double.init))
                #expect(driver.calls("cuMemcpyDtoHAsync") == 1)
            }
        }

        @Test("are copied between devices by any number of threads, each of which may fill its buffer from a device")
        func fromDeviceToDevice() throws {
            var configuration = TestDriver.usual
            configuration.delay = 1000
            try TestDriver.with(configuration) { _ in
                let tensors = (0..<20).map { Tensor.full([1 << 20], Double($0), device: .cuda(0)) }
                let tree = StateTree.list(try tensors.map { try $0.stateTree() })
                let copies = try tree.copied(to: .cuda(1), threads: 16)
                for (number, copy) in copies.children.enumerated() {
                    let state = try #require(copy.value.tensor)
                    let tensor = try Tensor(storage: state.storage, layout: state.layout)
                    #expect(try tensor.max().item() == Double(number))
                }
            }
        }

        @Test("that were loaded after a forward pass are not taken for the ones that it saw")
        func loadingBeforeBackward() throws {
            try TestDriver.with { _ in
                try StagingTests.withFile { path in
                    let net = Linear(2, 2)
                    try net.save(to: path)
                    try net.to(.cuda(0))
                    let x = Tensor.ones([1, 2], device: .cuda(0))
                    x.requiresGrad = true
                    let y = try net(x).sum()
                    try net.load(from: path)
                    let error = #expect(throws: TensorError.self) { try y.backward() }
                    #expect(error?.code == "overwritten")
                }
            }
        }

        @Test("of leaves get gradients where the leaves are, whatever was moved meanwhile")
        func gradients() throws {
            try TestDriver.with { _ in
                let leaf = Tensor.ones([2], device: .cuda(0))
                leaf.requiresGrad = true
                try (leaf + leaf).backward(Tensor.ones(2))
                #expect(leaf.grad?.device == .cuda(0))
                let net = Linear(2, 2)
                let loss = try net(Tensor.ones(1, 2)).sum()
                try net.to(.cuda(0))
                try loss.backward()
                #expect(net.weight.grad?.device == .cuda(0))
                try SGD(net.parameters(), learningRate: 0.1).step()
            }
        }

        @Test("are initialised, cloned and printed where they are")
        func elsewhere() throws {
            try TestDriver.with { _ in
                for fill in [
                    { try Initializer.orthogonal($0, generator: Generator(seed: 1)) },
                    { try Initializer.truncatedNormal($0, generator: Generator(seed: 1)) },
                    { try Initializer.kaimingUniform($0, generator: Generator(seed: 1)) },
                ] as [(Tensor) throws -> Void] {
                    let (here, there) = (Tensor.zeros(4, 6), Tensor.zeros([4, 6], device: .cuda(0)))
                    try fill(here)
                    try fill(there)
                    #expect(try numbers(there) == numbers(here))
                }
                let layout = try TensorLayout(.f8E4M3, shape: [2, 3])
                let halves = try Tensor(storage: Storage([1, 2, 3, 4, 5, 6]), layout: layout)
                let clone = try halves.to(.cuda(0)).T.clone()
                #expect(clone.device == .cuda(0))
                #expect(try clone.storage.withBytes { $0.array } == [1, 4, 2, 5, 3, 6])
                #expect("\(Tensor.ones([2], device: .cuda(0)))" == "tensor([1., 1.], device='cuda:0')")
            }
        }

        @Test("that nobody reads after a pinned copy keep nothing for ever")
        func unreadPinned() throws {
            try TestDriver.with { _ in _ = try Tensor.ones(8).pinMemory().to(.cuda(0)) }
        }

        @Test("are indexed by masks, and written from other devices")
        func masks() throws {
            try TestDriver.with { _ in
                let x = try Tensor([1, -2, 3]).float().to(.cuda(0))
                #expect(try numbers(x[x > 0]) == [1, 3])
                try x.copy(from: Tensor([4, 5, 6]).float())
                #expect(try numbers(x) == [4, 5, 6])
                let here = Tensor.zeros(3)
                try here.copy(from: x)
                #expect(try numbers(here) == [4, 5, 6])
            }
        }

        @Test("round integers once")
        func integers() throws {
            try TestDriver.with { _ in
                let x = Tensor([1_152_921_573_326_323_713, -1, 0] as [Int64])
                let found = try numbers(x.to(.cuda(0)).to(.f32))
                #expect(try found == numbers(x.to(.f32)))
            }
        }

        @Test("hold the same random numbers as on the CPU")
        func random() throws {
            try TestDriver.with { _ in
                for device in [Device.cpu, .cuda(0)] {
                    let x = Tensor.randn([100], device: device, generator: Generator(seed: 5))
                    #expect(x.device == device)
                    let expected = try numbers(Tensor.randn([100], generator: Generator(seed: 5)))
                    #expect(try numbers(x) == expected)
                }
            }
        }
    }
}
