import Foundation
import NNInterop
import NNStore
import NNTensor

// The models that PyTorch calculated with; the names of types and properties are those that it printed.

final class MLP: Module {
    let hidden = Linear(20, 256)
    let output = Linear(256, 10)
    override func forward(_ x: Tensor) throws -> Tensor { try output(relu(hidden(x))) }
}

final class MyLinear: Module {
    let weight: Parameter
    let bias: Parameter
    init(_ inFeatures: Int, _ units: Int) {
        weight = Parameter(.randn(inFeatures, units))
        bias = Parameter(.randn(units))
    }
    override func forward(_ x: Tensor) throws -> Tensor { try relu(matmul(x, weight) + bias) }
}

final class Centered: Module {
    override func forward(_ x: Tensor) throws -> Tensor { try x - x.mean() }
}

final class TiedLM: Module {
    let emb = Embedding(29, 12)
    let fc = Linear(12, 12)
    let norm = LayerNorm(12)
    let head = Linear(12, 29, bias: false)
    override init() {
        super.init()
        head.weight = emb.weight
    }
    override func forward(_ x: Tensor) throws -> Tensor { try head(norm(gelu(fc(emb(x))))) }
}

final class TiedAE: Module {
    let weight = Parameter(.randn(5, 14))
    let b1 = Parameter(.zeros(5))
    let b2 = Parameter(.zeros(14))
    override func forward(_ x: Tensor) throws -> Tensor {
        try matmul(sigmoid(matmul(x, weight.T) + b1), weight) + b2
    }
}

final class CNN: Module {
    let conv = Conv2d(2, 4, kernelSize: 3, stride: 2, padding: 1, bias: false)
    let bn = BatchNorm2d(4)
    let pool = MaxPool2d(2)
    let fc = Linear(16, 3)
    override func forward(_ x: Tensor) throws -> Tensor { try fc(pool(tanh(bn(conv(x)))).flatten(1)) }
}

final class Conv: Module {
    let conv = Conv2d(2, 3, kernelSize: Extent2d(3, 2), stride: Extent2d(2, 1), padding: Extent2d(1, 0))
    let fc = Linear(84, 2)
    override func forward(_ x: Tensor) throws -> Tensor { try fc(relu(conv(x)).flatten(1)) }
}

/// One of PyTorch's nine cases: a model, and the numbers that PyTorch got.
struct GoldenCase {
    static let names = [
        "mlp", "sequential", "shared", "nested", "custom", "tied_lm", "tied_autoencoder", "cnn", "conv",
    ]
    static let optimizers = ["sgd", "momentum", "nesterov", "adam", "adamw"]
    static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .appendingPathComponent("Goldens")

    let name: String
    let numbers: [String: Tensor]

    init(_ name: String) throws {
        self.name = name
        let file = try CheckpointFiles.open(GoldenCase.folder.appendingPathComponent("\(name).safetensors").path)
        var numbers: [String: Tensor] = [:]
        guard case .dictionary(let entries) = try file.state() else { throw GoldenError.noDictionary }
        for entry in entries {
            guard case .text(let key) = entry.key, let tensor = entry.value.tensor else {
                throw GoldenError.noDictionary
            }
            numbers[key] = try Tensor(storage: tensor.storage, layout: tensor.layout)
        }
        self.numbers = numbers
    }

    enum GoldenError: Error { case noDictionary }

    /// The model with PyTorch's first parameters.
    func model() throws -> Module {
        let net = freshModel()
        // Sorted, because a safetensors file can't say what is tied: those entries hold equal numbers.
        for (key, tensor) in net.stateDict().entries {
            try noGrad { try tensor!.copy(from: numbers["init.\(key)"]!) }
        }
        return net
    }

    /// The model with values of its own.
    func freshModel() -> Module {
        func block() -> Sequential { Sequential(Linear(4, 8), ReLU(), Linear(8, 4), ReLU()) }
        switch name {
        case "mlp": return MLP()
        case "sequential": return Sequential(Linear(4, 8), ReLU(), Linear(8, 1))
        case "shared":
            let shared = Linear(8, 8)
            return Sequential(Linear(4, 8), ReLU(), shared, ReLU(), shared, ReLU(), Linear(8, 1))
        case "nested":
            let blocks = Sequential()
            for number in 0..<4 { blocks.add("block \(number)", block()) }
            return Sequential(blocks, Linear(4, 1))
        case "custom": return Sequential(MyLinear(9, 7), Centered(), Linear(7, 2))
        case "tied_lm": return TiedLM()
        case "tied_autoencoder": return TiedAE()
        case "cnn": return CNN()
        default: return Conv()
        }
    }

    func optimizer(_ name: String, _ net: Module) -> Optimizer {
        let parameters = net.parameters()
        switch name {
        case "sgd": return SGD(parameters, learningRate: 0.1)
        case "momentum": return SGD(parameters, learningRate: 0.05, momentum: 0.9, weightDecay: 1e-3)
        case "nesterov": return SGD(parameters, learningRate: 0.05, momentum: 0.9, nesterov: true)
        case "adam": return Adam(parameters, learningRate: 1e-2)
        default: return AdamW(parameters, learningRate: 1e-2, weightDecay: 0.1)
        }
    }

    func loss(_ y: Tensor) throws -> Tensor {
        let target = numbers["target"]!
        switch name {
        case "tied_lm": return try crossEntropy(y.reshape([15, 29]), target.reshape([15]))
        case "cnn": return try crossEntropy(y, target)
        default: return try meanSquaredError(y, target)
        }
    }
}
