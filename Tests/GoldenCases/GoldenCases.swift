import NNInterop
import NNStore
import NNTensor

// The models that PyTorch calculated with; the names of types and properties are those that it printed.

package final class MLP: Module {
    package let hidden = Linear(20, 256)
    package let output = Linear(256, 10)
    package override init() { super.init() }
    package override func forward(_ x: Tensor) throws -> Tensor { try output(relu(hidden(x))) }
}

package final class MyLinear: Module {
    package let weight: Parameter
    package let bias: Parameter
    package init(_ inFeatures: Int, _ units: Int) {
        weight = Parameter(.randn(inFeatures, units))
        bias = Parameter(.randn(units))
    }
    package override func forward(_ x: Tensor) throws -> Tensor { try relu(matmul(x, weight) + bias) }
}

package final class Centered: Module {
    package override init() { super.init() }
    package override func forward(_ x: Tensor) throws -> Tensor { try x - x.mean() }
}

package final class TiedLM: Module {
    package let emb = Embedding(29, 12)
    package let fc = Linear(12, 12)
    package let norm = LayerNorm(12)
    package let head = Linear(12, 29, bias: false)
    package override init() {
        super.init()
        head.weight = emb.weight
    }
    package override func forward(_ x: Tensor) throws -> Tensor { try head(norm(gelu(fc(emb(x))))) }
}

package final class TiedAE: Module {
    package let weight = Parameter(.randn(5, 14))
    package let b1 = Parameter(.zeros(5))
    package let b2 = Parameter(.zeros(14))
    package override init() { super.init() }
    package override func forward(_ x: Tensor) throws -> Tensor {
        try matmul(sigmoid(matmul(x, weight.T) + b1), weight) + b2
    }
}

package final class CNN: Module {
    package let conv = Conv2d(2, 4, kernelSize: 3, stride: 2, padding: 1, bias: false)
    package let bn = BatchNorm2d(4)
    package let pool = MaxPool2d(2)
    package let fc = Linear(16, 3)
    package override init() { super.init() }
    package override func forward(_ x: Tensor) throws -> Tensor { try fc(pool(tanh(bn(conv(x)))).flatten(1)) }
}

package final class Conv: Module {
    package let conv = Conv2d(2, 3, kernelSize: Extent2d(3, 2), stride: Extent2d(2, 1), padding: Extent2d(1, 0))
    package let fc = Linear(84, 2)
    package override init() { super.init() }
    package override func forward(_ x: Tensor) throws -> Tensor { try fc(relu(conv(x)).flatten(1)) }
}

/// One of PyTorch's nine cases: a model, and the numbers that PyTorch got.
package struct GoldenCase {
    package static let names = [
        "mlp", "sequential", "shared", "nested", "custom", "tied_lm", "tied_autoencoder", "cnn", "conv",
    ]
    package static let optimizers = ["sgd", "momentum", "nesterov", "adam", "adamw"]
    /// Where the numbers are in the package's sources.
    package static let folder =
        #filePath.split(separator: "/").dropLast(2).reduce("") { $0 + "/" + $1 }
        + "/NNTensorTests/Goldens"

    package let name: String
    package let numbers: [String: Tensor]

    /// The case of a name, with its numbers from a folder.
    package init(_ name: String, from folder: String = GoldenCase.folder) throws {
        self.name = name
        let file = try CheckpointFiles.open("\(folder)/\(name).safetensors")
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
    package func model() throws -> Module {
        let net = freshModel()
        // Sorted, because a safetensors file can't say what is tied: those entries hold equal numbers.
        for (key, tensor) in net.stateDict().entries {
            try noGrad { try tensor!.copy(from: numbers["init.\(key)"]!) }
        }
        return net
    }

    /// The model with values of its own.
    package func freshModel() -> Module {
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

    package func optimizer(_ name: String, _ net: Module) -> Optimizer {
        let parameters = net.parameters()
        switch name {
        case "sgd": return SGD(parameters, learningRate: 0.1)
        case "momentum": return SGD(parameters, learningRate: 0.05, momentum: 0.9, weightDecay: 1e-3)
        case "nesterov": return SGD(parameters, learningRate: 0.05, momentum: 0.9, nesterov: true)
        case "adam": return Adam(parameters, learningRate: 1e-2)
        default: return AdamW(parameters, learningRate: 1e-2, weightDecay: 0.1)
        }
    }

    /// The loss of an output, against PyTorch's target, or that on another device.
    package func loss(_ y: Tensor, _ other: Tensor? = nil) throws -> Tensor {
        let target = other ?? numbers["target"]!
        switch name {
        case "tied_lm": return try crossEntropy(y.reshape([15, 29]), target.reshape([15]))
        case "cnn": return try crossEntropy(y, target)
        default: return try meanSquaredError(y, target)
        }
    }
}
