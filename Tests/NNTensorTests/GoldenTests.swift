import Foundation
import GoldenCases
import NNStore
import NNTensor
import Testing

/// The largest difference from PyTorch, as a part of what is allowed: 1e-5 + 1e-5 × |value|.
private func excess(_ found: Tensor, _ expected: Tensor) throws -> Double {
    guard found.shape == expected.shape else { return .infinity }
    return try zip(found.elements(as: Double.self), expected.elements(as: Double.self))
        .reduce(0) { max($0, abs($1.0 - $1.1) / (1e-5 + 1e-5 * abs($1.1))) }
}

@Suite("The numbers of PyTorch")
struct GoldenTests {
    @Test("are those of forward, loss and gradients", arguments: GoldenCase.names)
    func gradients(_ name: String) throws {
        let golden = try GoldenCase(name)
        let net = try golden.model()
        let y = try net(golden.numbers["x"]!)
        let loss = try golden.loss(y)
        try loss.backward()
        var worst = max(try excess(y, golden.numbers["y"]!), try excess(loss, golden.numbers["loss"]!))
        let parameters = net.namedParameters()
        #expect(Set(parameters.map { "grad.\($0.name)" }) == Set(golden.numbers.keys.filter { $0.hasPrefix("grad.") }))
        for (name, parameter) in parameters {
            worst = max(worst, try excess(#require(parameter.grad), golden.numbers["grad.\(name)"]!))
        }
        #expect(worst <= 1, "\(name)")
        if ProcessInfo.processInfo.environment["NNSTORE_SHOW_DIFFERENCES"] != nil { print("gradients", name, worst) }
    }

    @Test("are those of five steps of each optimizer", arguments: GoldenCase.names, GoldenCase.optimizers)
    func steps(_ name: String, _ kind: String) throws {
        let golden = try GoldenCase(name)
        let net = try golden.model()
        let optimizer = golden.optimizer(kind, net)
        var losses: [Double] = []
        for _ in 0..<5 {
            optimizer.zeroGrad()
            let loss = try golden.loss(net(golden.numbers["x"]!))
            try loss.backward()
            try optimizer.step()
            losses.append(try loss.item())
        }
        let expectedLosses = golden.numbers["\(kind).loss"]!
        var worst = try excess(Tensor(losses, shape: expectedLosses.shape, dtype: .f64), expectedLosses)
        for (key, tensor) in net.stateDict().entries {
            worst = max(worst, try excess(#require(tensor), #require(golden.numbers["\(kind).\(key)"])))
        }
        let state = try #require(optimizer.stateDict()["state"])
        var found = 0
        for (number, name) in net.namedParameters().map(\.name).enumerated() {
            for key in ["step", "exp_avg", "exp_avg_sq", "momentum_buffer"] {
                guard let expected = golden.numbers["\(kind).state.\(name).\(key)"] else { continue }
                let kept = try #require(state[.integer(number)]?[key]?.tensor)
                worst = max(worst, try excess(Tensor(storage: kept.storage, layout: kept.layout), expected))
                found += 1
            }
        }
        #expect(found == golden.numbers.keys.filter { $0.hasPrefix("\(kind).state.") }.count)
        #expect(worst <= 1, "\(name), \(kind)")
        if ProcessInfo.processInfo.environment["NNSTORE_SHOW_DIFFERENCES"] != nil { print("steps", name, kind, worst) }
    }

    @Test("stand beside texts that are equal", arguments: GoldenCase.names)
    func texts(_ name: String) throws {
        struct Cases: Decodable {
            struct Case: Decodable { let printed: String }
            let cases: [String: Case]
        }
        let data = try Data(contentsOf: URL(fileURLWithPath: GoldenCase.folder + "/cases.json"))
        let expected = try #require(JSONDecoder().decode(Cases.self, from: data).cases[name]).printed
        #expect(try GoldenCase(name).model().description == expected)
    }
}
