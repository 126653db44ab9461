import NNStore
import NNTensor
import Testing

@Suite("Views")
struct ViewTests {
    /// A view, and what it should be: a shape, and the place in the base of each element.
    private struct Model {
        var view: Tensor
        var shape: [Int]
        var places: [Int]

        /// The position in `places` of an index.
        private func position(_ index: [Int]) -> Int { zip(index, shape).reduce(0) { $0 * $1.1 + $1.0 } }

        private static func indices(_ shape: [Int]) -> [[Int]] {
            shape.reduce([[]]) { indices, extent in indices.flatMap { index in (0..<extent).map { index + [$0] } } }
        }

        /// The model of another shape, each of whose indices stands for one of this one.
        func mapped(_ view: Tensor, _ shape: [Int], _ origin: ([Int]) -> [Int]) -> Model {
            Model(view: view, shape: shape, places: Model.indices(shape).map { places[position(origin($0))] })
        }
    }

    @Test("of views show the elements that they should, and share the memory", arguments: 0..<60)
    func chains(_ seed: UInt64) throws {
        var random = RandomNumbers(seed)
        let base = Tensor.arange(2 * 3 * 4 * 2)
        var model = Model(view: try base.reshape(2, 3, 4, 2), shape: [2, 3, 4, 2], places: Array(0..<48))
        for _ in 0..<8 {
            guard let next = try step(model, &random) else { continue }
            model = next
            #expect(model.view.shape == model.shape)
            #expect(model.view.sharesStorage(with: base))
            #expect(try model.view.elements(as: Int.self) == model.places)
        }
        // Written through the view, and seen in the base.
        guard Set(model.places).count == model.places.count else {
            #expect(throws: TensorError.self) { try model.view.fill(0) }
            return
        }
        try model.view.copy(from: Tensor.arange(1000, 1000 + model.places.count).reshape(model.shape))
        var expected = Array(0..<48)
        for (number, place) in model.places.enumerated() { expected[place] = 1000 + number }
        #expect(try base.elements(as: Int.self) == expected)
    }

    private func step(_ model: Model, _ random: inout RandomNumbers) throws -> Model? {
        let (view, shape) = (model.view, model.shape)
        guard !shape.isEmpty else { return try model.mapped(view.unsqueeze(0), [1]) { _ in [] } }
        let axis = Int.random(in: 0..<shape.count, using: &random)
        switch Int.random(in: 0..<8, using: &random) {
        case 0:
            let order = Array(shape.indices).shuffled(using: &random)
            return try model.mapped(view.permute(order), order.map { shape[$0] }) { index in
                var origin = index
                for (place, axis) in order.enumerated() { origin[axis] = index[place] }
                return origin
            }
        case 1:
            let other = Int.random(in: 0..<shape.count, using: &random)
            var swapped = shape
            swapped.swapAt(axis, other)
            return try model.mapped(view.transpose(axis, other - shape.count), swapped) { index in
                var origin = index
                origin.swapAt(axis, other)
                return origin
            }
        case 2:
            let start = Int.random(in: 0..<max(1, shape[axis]), using: &random)
            let end = Int.random(in: start...shape[axis], using: &random)
            let step = Int.random(in: 1...2, using: &random)
            guard end > start else { return nil }
            var narrowed = shape
            narrowed[axis] = (end - start + step - 1) / step
            return try model.mapped(view.narrow(axis, start..<end, step: step), narrowed) { index in
                var origin = index
                origin[axis] = start + index[axis] * step
                return origin
            }
        case 3:
            let chosen = Int.random(in: 0..<shape[axis], using: &random)
            var smaller = shape
            smaller.remove(at: axis)
            let part =
                try Bool.random(using: &random) ? view.select(axis, chosen) : view.select(axis, chosen - shape[axis])
            return model.mapped(part, smaller) { index in
                var origin = index
                origin.insert(chosen, at: axis)
                return origin
            }
        case 4:
            var larger = shape
            larger.insert(1, at: axis)
            return try model.mapped(view.unsqueeze(axis), larger) { index in
                var origin = index
                origin.remove(at: axis)
                return origin
            }
        case 5:
            guard shape[axis] == 1 else { return nil }
            var expanded = shape
            expanded[axis] = 2
            return try model.mapped(view.expand(expanded), expanded) { index in
                var origin = index
                origin[axis] = 0
                return origin
            }
        case 6:
            guard shape[axis] == 1 else { return nil }
            var smaller = shape
            smaller.remove(at: axis)
            return try model.mapped(view.squeeze(axis), smaller) { index in
                var origin = index
                origin.insert(0, at: axis)
                return origin
            }
        default:
            guard view.isContiguous else { return nil }
            let flat = try view.reshape([-1])
            return Model(view: flat, shape: [model.places.count], places: model.places)
        }
    }

    @Test("are what reshape gives where the strides allow it, and a copy is where they don't")
    func reshaping() throws {
        let x = Tensor.arange(24)
        let cube = try x.reshape(2, 3, 4)
        #expect(cube.sharesStorage(with: x) && cube.strides == [12, 4, 1])
        #expect(try cube.reshape(6, -1).sharesStorage(with: x))
        let permuted = try cube.permute(0, 2, 1)
        #expect(permuted.strides == [12, 1, 4] && !permuted.isContiguous)
        #expect(try !permuted.reshape(2, 12).sharesStorage(with: x))
        // The middle dimension can be split, though the whole is not contiguous.
        #expect(try permuted.reshape(2, 2, 2, 3).strides == [12, 2, 1, 4])
        #expect(try permuted.reshape(2, 2, 2, 3).sharesStorage(with: x))
        #expect(try permuted.reshape(2, 12).elements(as: Int.self) == permuted.elements(as: Int.self))
        #expect(try Tensor.zeros(0, 3).reshape(3, 0).shape == [3, 0])
        #expect(throws: TensorError.self) { try x.reshape(5, 5) }
        #expect(throws: TensorError.self) { try x.reshape(-1, -1) }
        #expect(throws: TensorError.self) { try x.reshape(7, -1) }
    }

    @Test("of parts cover the whole")
    func parts() throws {
        let x = try Tensor.arange(14).reshape(7, 2)
        #expect(try x.chunk(3).map(\.shape) == [[3, 2], [3, 2], [1, 2]])
        #expect(try x.split(2).map { $0.shape[0] } == [2, 2, 2, 1])
        #expect(try concatenate(x.split(3)).elements(as: Int.self) == x.elements(as: Int.self))
        #expect(try x.flatten().shape == [14] && x.T.shape == [2, 7])
        #expect(try x.contiguous() === x && x.T.contiguous() !== x)
    }

    @Test("say which dimension is not there")
    func refusals() {
        let x = Tensor.zeros(2, 3)
        #expect(
            throws: TensorError.invalidArgument(
                operation: "transpose", reason: "dimension 2 of shape [2, 3]; -2 to 1 are there")
        ) { try x.transpose(0, 2) }
        #expect(throws: TensorError.self) { try x.permute(0, 0) }
        #expect(throws: TensorError.self) { try x.squeeze(0) }
        #expect(throws: TensorError.self) { try x.expand(2, 4) }
        #expect(throws: TensorError.self) { try x.narrow(0, 1..<3) }
        #expect(throws: TensorError.self) { try x.select(1, 3) }
        #expect(throws: TensorError.self) { try Tensor(1.0).size(0) }
    }
}
