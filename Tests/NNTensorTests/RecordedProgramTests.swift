import NNStore
@testable import NNTensor
import Testing

/// Programs of views and of writes to them, that PyTorch has run.
@Suite("Recorded programs")
struct RecordedProgramTests {
    private struct Program: Decodable {
        let start: [[UInt64]]
        let steps: [Cells]
        /// The last step was refused.
        let refused: Bool?
        /// The walk back was.
        let failed: Bool?
        let loss: UInt64?
        let gradients: [[UInt64]]?
    }

    @Test("have PyTorch's gradients, and are refused where PyTorch refuses them")
    func programs() throws {
        let programs = try Fixture.read("programs", as: [Program].self)
        #expect(programs.count == 300)
        for (number, program) in programs.enumerated() {
            let x = Tensor(program.start[0].doubles, shape: [3, 4], dtype: .f64).requiringGrad()
            let v = Tensor(program.start[1].doubles, dtype: .f64).requiringGrad()
            var values = [x, v, x * 2, v * 1]
            let text =
                "program \(number): \(program.steps.map { step in (0..<step.count).map { $0 == 0 ? step.text(0) : "\(step.number($0))" }.joined(separator: " ") })"
            let done = program.steps.enumerated().allSatisfy { place, step in
                do {
                    try run(step, &values)
                    return true
                } catch {
                    #expect(program.refused == true && place == program.steps.count - 1, "\(text): \(error)")
                    return false
                }
            }
            if program.refused == true {
                #expect(!done, "\(text): should be refused")
                continue
            }
            guard done else { continue }
            do {
                var loss = Tensor(0.0, dtype: .f64)
                for (number, value) in values.enumerated() { loss = try loss + value.sum() * (number + 1) }
                try loss.backward()
                guard let expected = program.gradients else {
                    Issue.record("\(text): the walk back should fail")
                    continue
                }
                #expect(try abs(loss.item() - Double(bitPattern: program.loss!)) < 1e-9, "\(text)")
                for (leaf, gradient) in zip([x, v], expected) {
                    let found = try leaf.grad?.elements(as: Double.self) ?? Array(repeating: 0, count: leaf.count)
                    let isEqual = zip(found, gradient.doubles).allSatisfy { abs($0 - $1) <= 1e-9 * (1 + abs($1)) }
                    #expect(isEqual, "\(text): \(found) instead of \(gradient.doubles)")
                }
            } catch {
                #expect(program.failed == true, "\(text): \(error)")
            }
        }
    }

    private func run(_ step: Cells, _ values: inout [Tensor]) throws {
        let a = values[step.int(1)]
        func other(_ place: Int = 2) -> Tensor { values[step.int(place)] }
        switch step.text(0) {
        case "scale": values.append(a * step.number(2))
        case "multiply": values.append(a * other())
        case "add": values.append(a + other())
        case "tanh": values.append(try tanh(a))
        case "row": values.append(try a.select(0, step.int(2)))
        case "columns": values.append(try a.narrow(1, step.int(2)..<step.int(3)))
        case "transpose": values.append(a.T)
        case "flatten": values.append(try a.reshape([-1]))
        case "detach": values.append(a.detach())
        case "add in place": try a.update(.add, other())
        case "scale in place": try a.update(.multiply, Tensor(floatLiteral: step.number(2)))
        case "multiply in place": try a.update(.multiply, other())
        case "set row": try a.select(0, step.int(2)).copy(from: other(3))
        default: try a.select(0, step.int(2)).fill(step.number(3))
        }
    }
}
