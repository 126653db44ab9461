import NNStore
import NNTensor

extension GoldenCase {
    /// The numbers on a device.
    package func moved(to device: Device) throws -> [String: Tensor] { try numbers.mapValues { try $0.to(device) } }

    /// The largest difference of forward, loss and gradients on a device from PyTorch's, as a part of what is allowed.
    package func gradientDifference(on device: Device) throws -> Double {
        let net = try model().to(device)
        let here = try moved(to: device)
        let y = try net(here["x"]!)
        let loss = try loss(y, here["target"]!)
        try loss.backward()
        var worst = max(try difference(y, "y"), try difference(loss, "loss"))
        for (name, parameter) in net.namedParameters() {
            guard let gradient = parameter.grad else { return .infinity }
            worst = max(worst, try difference(gradient, "grad.\(name)"))
        }
        return worst
    }

    /// The same after five steps of an optimizer: losses, parameters, buffers, and what the optimizer keeps.
    package func stepDifference(_ kind: String, on device: Device) throws -> Double {
        let net = try model().to(device)
        let here = try moved(to: device)
        let optimizer = optimizer(kind, net)
        var losses: [Double] = []
        for _ in 0..<5 {
            optimizer.zeroGrad()
            let loss = try loss(net(here["x"]!), here["target"]!)
            try loss.backward()
            try optimizer.step()
            losses.append(try loss.item())
        }
        var worst = try difference(Tensor(losses, dtype: .f64).reshape(numbers["\(kind).loss"]!.shape), "\(kind).loss")
        for (key, tensor) in net.stateDict().entries {
            guard let tensor else { return .infinity }
            worst = max(worst, try difference(tensor, "\(kind).\(key)"))
        }
        guard let state = try optimizer.stateDict()["state"] else { return .infinity }
        for (number, name) in net.namedParameters().map(\.name).enumerated() {
            for key in ["step", "exp_avg", "exp_avg_sq", "momentum_buffer"] {
                guard numbers["\(kind).state.\(name).\(key)"] != nil else { continue }
                guard let kept = state[.integer(number)]?[key]?.tensor else { return .infinity }
                let tensor = try Tensor(storage: kept.storage, layout: kept.layout)
                worst = max(worst, try difference(tensor, "\(kind).state.\(name).\(key)"))
            }
        }
        return worst
    }

    /// The largest difference from PyTorch's number of a name, as a part of 1e-4 + 1e-4 × |value|.
    private func difference(_ found: Tensor, _ name: String) throws -> Double {
        guard let expected = numbers[name], found.shape == expected.shape else { return .infinity }
        return try zip(found.elements(as: Double.self), expected.elements(as: Double.self))
            .reduce(0) { max($0, abs($1.0 - $1.1) / (1e-4 + 1e-4 * abs($1.1))) }
    }
}
