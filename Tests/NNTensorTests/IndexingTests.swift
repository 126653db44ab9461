import NNStore
import NNTensor
import Testing

@Suite("Indexing")
struct IndexingTests {
    private func matrix() -> Tensor { Tensor([[0.0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]]) }

    @Test("reads views of elements, ranges, strides and whole dimensions")
    func reading() throws {
        let w = matrix()
        #expect(try w[1, 2].item() == 5 && w[-1, -1].item() == 11)
        #expect(try w[1].elements(as: Float.self) == [3, 4, 5])
        #expect(
            w[1...2].shape == [2, 3] && w[2...].shape == [2, 3] && w[..<3].shape == [3, 3] && w[...1].shape == [2, 3])
        #expect(w[..<(-1)].shape == [3, 3])
        #expect(try w[stride(from: 0, to: 4, by: 2), 1].elements(as: Float.self) == [1, 7])
        #expect(try w[0..., 1..<3].elements(as: Float.self) == [1, 2, 4, 5, 7, 8, 10, 11])
        #expect(
            w[.newAxis, 0].shape == [1, 3] && w[.ellipsis, 0].shape == [4] && w[.ellipsis, .newAxis].shape == [4, 3, 1])
        #expect(w[...] === w && w[1].sharesStorage(with: w))
        let cube = try Tensor.arange(24).reshape(2, 3, 4)
        #expect(try cube[1, .ellipsis, 2].elements(as: Int.self) == [14, 18, 22])
        #expect(try cube[0, 1, 2].item() == 6)
        #expect(cube[[.index(0), .remaining, .range(lower: 0, upper: 4, step: 2)]].shape == [3, 2])
    }

    @Test("reads copies of what other tensors choose")
    func choosing() throws {
        let w = matrix()
        #expect(try w[Tensor([2, 0, -1])].elements(as: Float.self) == [6, 7, 8, 0, 1, 2, 9, 10, 11])
        #expect(w[0..., Tensor([1])].shape == [4, 1])
        #expect(w[Tensor([[0, 1], [2, 3]])].shape == [2, 2, 3])
        #expect(try w[w > 7].elements(as: Float.self) == [8, 9, 10, 11])
        #expect(try w[Tensor([true, false, false, true])].elements(as: Float.self) == [0, 1, 2, 9, 10, 11])
        #expect(w[w > 100].shape == [0])
    }

    @Test("writes into the tensor's memory, and through views")
    func writing() throws {
        let w = matrix()
        let row = w[0]
        w[0, 0] = 42
        #expect(try row[0].item() == 42)
        w[1] = Tensor([1.0, 1, 1])
        w[2..<4, 1] = 7
        w[0..., 2] *= 10
        w[...] += 1
        #expect(try w.elements(as: Float.self) == [43, 2, 21, 2, 2, 11, 7, 8, 81, 10, 8, 111])
        w[w > 40] = 0
        #expect(try w.elements(as: Float.self) == [0, 2, 21, 2, 2, 11, 7, 8, 0, 10, 8, 0])
        w[0..<2] = w[2..<4]
        #expect(try w[0..<2].elements(as: Float.self) == [7, 8, 0, 10, 8, 0])
        // Overlapping: read before it is written.
        w[1..<4] = w[0..<3]
        #expect(try w.elements(as: Float.self) == [7, 8, 0, 7, 8, 0, 10, 8, 0, 7, 8, 0])
        let integers = Tensor([1, 2, 3])
        integers[1] = 2.9
        #expect(try integers.elements(as: Int.self) == [1, 2, 3])
    }

    @Test("stops with index and shape where nothing is there")
    func refusals() async {
        func check(_ result: ExitTest.Result?, _ text: String) {
            let message = String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
            #expect(message.contains(text))
        }
        check(
            await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
                _ = Tensor.zeros(2)[0, 0]
            },
            "2 indices for the 1 dimensions of shape [2]")
        check(
            await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
                _ = Tensor.zeros(2)[1..<3]
            },
            "1..<3 of dimension 0 of shape [2]; only 0..<2 is there")
        check(
            await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
                _ = Tensor.zeros(2)[Tensor([2])]
            },
            "index 2 in dimension 0 of shape [2]; only 0 to 1 are there")
        check(
            await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
                Tensor.zeros(2, 3)[0] = Tensor.zeros(2)
            },
            "copy: shapes [3] and [2] do not fit")
    }
}
