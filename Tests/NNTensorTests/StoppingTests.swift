import NNStore
import NNTensor
import Testing

/// What can't throw stops the program with a message that says what to do.
@Suite("What stops the program")
struct StoppingTests {
    private func message(_ result: ExitTest.Result?) -> String {
        String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
    }

    @Test("operators name both shapes")
    func operators() async {
        let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
            _ = Tensor.ones(2, 3) + Tensor.ones(4)
        }
        #expect(message(result).contains("add: shapes [2, 3] and [4] do not fit: in dimension 1 3 meets 4"))
    }

    @Test("subscripts name index and shape")
    func subscripts() async {
        let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
            _ = Tensor.ones(2, 3)[0, 3]
        }
        #expect(message(result).contains("index 3 of dimension 0 of shape [3]; -3 to 2 are there"))
    }

    @Test("changing a leaf in place names noGrad")
    func leaves() async {
        let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
            let weight = Tensor.ones(2).requiringGrad()
            weight += 1
        }
        #expect(message(result).contains("can't be changed while operations are recorded. Use noGrad { }, or its data"))
    }

    @Test("the shape of a parameter without a value")
    func uninitialized() async {
        let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
            _ = LazyLinear(3).weight.shape
        }
        #expect(message(result).contains("this parameter has no value yet: call the model on a batch once"))
    }

    @Test("a parameter that a module does not have")
    func missingParameter() async {
        let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
            _ = Sequential(ReLU())[0].weight
        }
        #expect(message(result).contains("there is no parameter \"weight\"; there are none"))
    }

    @Test("an optimizer that gets a parameter twice")
    func twice() async {
        let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
            let parameter = Parameter(.ones(1))
            _ = SGD([parameter, parameter])
        }
        #expect(message(result).contains("a parameter is there twice"))
    }
}
