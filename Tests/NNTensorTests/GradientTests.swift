import Foundation
import NNStore
import NNTensor
import Testing

@Suite("Gradients")
struct GradientTests {
    @Test("of every operation are those of finite differences", arguments: OperationGradients.checks.indices)
    func operation(_ index: Int) throws { try OperationGradients.checks[index].run(12) }

    @Test("of every module are those of finite differences", arguments: ModuleGradients.checks.indices)
    func module(_ index: Int) throws { try ModuleGradients.checks[index].run(4) }

    @Test("are checked for every public operation that has one")
    func operationsAreComplete() throws {
        let operations = try names(
            in: ["Operations", "Autograd/InPlace.swift", "Tensor/Values.swift", "Tensor/Indexing.swift"],
            matching: #/public (?:static )?(?:prefix )?func ([A-Za-z0-9]+|[-+*\/.<>=!&|^]+)[ <(]/#)
        let checked = Set(OperationGradients.checks.map(\.name))
        let without = Set(OperationGradients.without.keys)
        #expect(operations.subtracting(checked).subtracting(without) == [], "these have no check and no reason")
        #expect(checked.union(without).subtracting(operations) == ["T", "subscript", "subscript set"])
        #expect(checked.intersection(without) == [])
    }

    @Test("are checked for every public module")
    func modulesAreComplete() throws {
        let modules = try names(
            in: ["Modules"],
            matching: #/(?:public|open) (?:final )?class ([A-Za-z0-9]+): (?:Module|Linear|Conv2d|BatchNorm)\b/#)
        let checked = Set(ModuleGradients.checks.map(\.name))
        #expect(modules.subtracting(checked) == ["ModuleDict"], "it has no forward of its own")
        #expect(checked.subtracting(modules) == [])
    }

    private func names(in places: [String], matching pattern: Regex<(Substring, Substring)>) throws -> Set<String> {
        let sources = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appendingPathComponent("Sources/NNTensor")
        var names = Set<String>()
        for place in places {
            let url = sources.appendingPathComponent(place)
            let files =
                place.hasSuffix(".swift")
                ? [url] : try FileManager.default.contentsOfDirectory(at: url, includingPropertiesForKeys: nil)
            for file in files {
                for match in try String(contentsOf: file, encoding: .utf8).matches(of: pattern) {
                    names.insert(String(match.1))
                }
            }
        }
        return names
    }
}

/// A check for each public module: the gradients of its argument and of all its parameters.
enum ModuleGradients {
    static let checks: [GradientCheck] = [
        module("Linear", [4, 3]) { Linear(3, 5, dtype: .f64, generator: $0) },
        module("LazyLinear", [4, 3]) { LazyLinear(5, dtype: .f64, generator: $0) },
        module("Conv2d", [2, 2, 5, 4]) {
            Conv2d(2, 3, kernelSize: 3, stride: 2, padding: 1, dtype: .f64, generator: $0)
        },
        module("LazyConv2d", [2, 2, 5, 4]) { LazyConv2d(3, kernelSize: 2, dtype: .f64, generator: $0) },
        module("BatchNorm", [4, 3, 2, 1, 2]) { _ in BatchNorm(3, dtype: .f64) },
        module("BatchNorm1d", [4, 3]) { _ in BatchNorm1d(3, dtype: .f64) },
        module("BatchNorm2d", [2, 3, 2, 2]) { _ in BatchNorm2d(3, dtype: .f64) },
        module("BatchNorm2d", [2, 3, 2, 2]) { _ in BatchNorm2d(3, dtype: .f64).eval() },
        module("LayerNorm", [3, 2, 4]) { _ in LayerNorm([2, 4], dtype: .f64) },
        module("ReLU", [3, 4]) { _ in ReLU() },
        module("GELU", [3, 4]) { _ in GELU() },
        module("Sigmoid", [3, 4]) { _ in Sigmoid() },
        module("Tanh", [3, 4]) { _ in Tanh() },
        module("Softmax", [3, 4]) { _ in Softmax(dimension: 1) },
        module("Identity", [3, 4]) { _ in Identity() },
        module("Flatten", [3, 2, 2]) { _ in Flatten() },
        module("MaxPool2d", [2, 2, 4, 5]) { _ in MaxPool2d(2, stride: 1) },
        module("Dropout", [3, 4]) { _ in SameDropout() },
        module("Sequential", [3, 4]) {
            Sequential(Linear(4, 5, dtype: .f64, generator: $0), Tanh(), Linear(5, 2, dtype: .f64, generator: $0))
        },
        GradientCheck("Embedding") { random in
            let table = Embedding(weight: Parameter(random.tensor([5, 3])))
            let indices = Tensor([[0, 4], [4, 2]])
            return ([table.weight], { _ in try table(indices) * 2 })
        },
    ]

    private static func module(
        _ name: String, _ shape: [Int], _ make: @escaping @Sendable (Generator) -> Module
    ) -> GradientCheck {
        GradientCheck(name) { random in
            let net = make(Generator(seed: random.next()))
            let x = random.distinct(shape)
            _ = try noGrad { try net(x) }
            return ([x] + net.parameters(), { try net($0[0]) })
        }
    }

    /// A ``Dropout`` that drops the same elements each time.
    private final class SameDropout: Module {
        let generator = Generator(seed: 5)
        lazy var dropout = Dropout(0.3, generator: generator)
        override func forward(_ x: Tensor) throws -> Tensor {
            generator.manualSeed(5)
            return try dropout(x)
        }
    }
}
