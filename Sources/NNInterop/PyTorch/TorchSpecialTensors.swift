import NNStore

/// Tensors that are made of several: quantised, sparse and nested ones become records of what they are made of.
extension TorchInterpreter {
    /// (storage, offset, size, strides, quantizer, requires_grad, hooks).
    mutating func quantisedTensor(
        _ number: Int, _ type: String, _ arguments: [PickleValue], _ path: StatePath
    ) throws -> StateTree {
        guard case .node(let index) = arguments[0], case .persistent(let identity) = graph.nodes[index].kind,
            let element = try TorchStorageReference(identity, graph, at: index, file: name).element
        else { throw fail(number, type, "it has something else for a storage") }
        let shape = try integers(arguments[2], "size", number, type)
        let data = try quantisedData(number, type, arguments, element, shape)
        let quantizer = try sequence(arguments[4], number, type)
        guard let scheme = quantizer.first.flatMap({ global($0) }), scheme.module == "torch" else {
            throw fail(number, type, "it does not say how it is quantised")
        }
        var parts = StateDictionary([
            ("data", data), ("dtype", .string(element.name)), ("scheme", .string(scheme.name)),
        ])
        if element.elementsPerByte > 1 { parts["shape"] = .tuple(shape.map { .integer($0) }, tag: "torch.Size") }
        switch scheme.name {
        case "per_tensor_affine", "per_tensor_symmetric":
            guard quantizer.count == 3 else {
                throw fail(number, type, "\(scheme.name) wants a scale and a zero point")
            }
            parts["scale"] = try tree(quantizer[1], path.appending("scale"))
            parts["zero_point"] = try tree(quantizer[2], path.appending("zero_point"))
            guard parts["scale"]?.double != nil, parts["zero_point"]?.int != nil else {
                throw fail(number, type, "its scale or zero point is no number")
            }
        case "per_channel_affine", "per_channel_symmetric", "per_channel_affine_float_qparams":
            guard quantizer.count == 4, case .integer(let axis) = quantizer[3], let axis = axis.int,
                shape.indices.contains(axis)
            else { throw fail(number, type, "\(scheme.name) wants scales, zero points and one of its dimensions") }
            for (key, value) in [("scales", quantizer[1]), ("zero_points", quantizer[2])] {
                let values = try tree(value, path.appending(.text(key)))
                // Before PyTorch 1.5 they were lists.
                guard values.tensor?.shape == [shape[axis]] || values.numberCount == shape[axis] else {
                    throw fail(number, type, "its \(key) are not one for each of \(shape[axis]) channels")
                }
                parts[.text(key)] = values
            }
            parts["axis"] = .integer(axis)
        default: throw fail(number, type, "\(scheme.name) is no scheme of quantisation that is known")
        }
        return .record(type: type, parts)
    }

    /// The integers of a quantised tensor; of one that is packed its bytes, in which the elements follow each other whatever the
    /// shape is.
    private mutating func quantisedData(
        _ number: Int, _ type: String, _ arguments: [PickleValue], _ element: TorchDType, _ shape: [Int]
    ) throws -> StateTree {
        guard element.elementsPerByte > 1 else {
            return try tensor(number, type, arguments, dtype: nil, requiresGrad: arguments[5], metadata: nil)
        }
        let whole = try layoutOf(element, shape, number, type)
        guard try integers(arguments[3], "strides", number, type) == whole.strides,
            case .integer(let offset) = arguments[1], offset.int == 0
        else { throw fail(number, type, "it is packed, and is no whole storage in its order") }
        guard case .record(_, let storage) = try bareStorage(arguments[0].node ?? number),
            let data = storage["data"]?.tensor,
            data.shape == [(whole.elementCount + element.elementsPerByte - 1) / element.elementsPerByte]
        else { throw fail(number, type, "its storage has not the bytes for \(shape)") }
        return .tensor(data)
    }

    private func layoutOf(
        _ element: TorchDType, _ shape: [Int], _ number: Int, _ type: String
    ) throws -> TensorLayout {
        do {
            return try TensorLayout(element.dtype, shape: shape)
        } catch {
            guard case .invalidLayout(let reason) = error else { throw error }
            throw fail(number, type, reason)
        }
    }

    /// (layout, (indices, values, size, ...)).
    mutating func sparseTensor(
        _ number: Int, _ type: String, _ arguments: [PickleValue], _ path: StatePath
    ) throws -> StateTree {
        guard case .record(_, let layout) = try tree(arguments[0], path), let layout = layout["name"]?.string else {
            throw fail(number, type, "it does not say how it is laid out")
        }
        let data = try sequence(arguments[1], number, type)
        let isCoordinates = layout == "torch.sparse_coo"
        let names = isCoordinates ? ["indices", "values"] : ["compressed_indices", "plain_indices", "values"]
        let known = [
            "torch.sparse_coo", "torch.sparse_csr", "torch.sparse_csc", "torch.sparse_bsr", "torch.sparse_bsc",
        ]
        guard known.contains(layout), (names.count + 1...names.count + 2).contains(data.count) else {
            throw fail(number, type, "\(quoted(layout)) with \(data.count) parts is no layout that is known")
        }
        var parts = StateDictionary()
        for (name, value) in zip(names, data) {
            let tree = try tree(value, path.appending(.text(name)))
            guard tree.tensor != nil else { throw fail(number, type, "its \(name) are no tensor") }
            parts[.text(name)] = tree
        }
        let shape = try integers(data[names.count], "size", number, type)
        guard shape.allSatisfy({ $0 <= TensorLayout.maximumSize }) else {
            throw fail(number, type, "its size has an extent of more than 2^60")
        }
        parts["shape"] = .tuple(shape.map { .integer($0) }, tag: "torch.Size")
        if data.count > names.count + 1 {
            parts["is_coalesced"] = try tree(data[names.count + 1], path.appending("is_coalesced"))
        }
        let (name, offset) = (name, graph.nodes[number].offset)
        let check = SparseIndices(shape: shape) {
            .invalidPickle(file: name, .value(offset: offset, type: type, problem: $0))
        }
        let values = parts["values"]!.tensor!
        if isCoordinates {
            try check.checkCoordinates(parts["indices"]!.tensor!, values)
        } else {
            try check.checkCompressed(
                parts["compressed_indices"]!.tensor!, parts["plain_indices"]!.tensor!, values, layout: layout)
        }
        return .record(type: layout, parts)
    }

    mutating func tensorParts(
        _ type: String, _ names: [String], _ arguments: [PickleValue], _ number: Int, _ path: StatePath
    ) throws -> StateTree {
        var parts = StateDictionary()
        for (name, value) in zip(names, arguments) {
            let tree = try tree(value, path.appending(.text(name)))
            guard tree.tensor != nil else { throw fail(number, type, "its \(name) are no tensor") }
            parts[.text(name)] = tree
        }
        return .record(type: type, parts)
    }

    /// Something without bytes: what is said of it.
    mutating func described(
        _ names: [String], _ arguments: [PickleValue], _ path: StatePath
    ) throws -> StateDictionary {
        var parts = StateDictionary()
        for (index, argument) in arguments.enumerated() {
            let key = StateKey.text(index < names.count ? names[index] : "argument\(index)")
            parts[key] = try tree(argument, path.appending(key))
        }
        return parts
    }
}

/// Checks where the elements of a sparse tensor are said to be: an index outside would make whoever uses it read elsewhere.
private struct SparseIndices {
    let shape: [Int]
    let fail: (String) -> InteropError

    func checkCoordinates(_ indices: StateTensor, _ values: StateTensor) throws {
        guard indices.shape.count == 2, indices.shape[0] <= shape.count, let count = values.shape.first,
            indices.shape[1] == count
        else {
            throw fail(
                "its indices have shape \(indices.shape), its values \(values.shape), which do not belong together")
        }
        let dimensions = indices.shape[0]
        guard Array(values.shape.dropFirst()) == Array(shape[dimensions...]) else {
            throw fail("its values have shape \(values.shape), which are none of a tensor of \(shape)")
        }
        if count == 0 { return }
        var position = 0
        try forEachIndex(indices) { index in
            let extent = shape[position / count]
            guard (0..<extent).contains(index) else {
                throw fail("index \(index) of dimension \(position / count) is outside of \(extent)")
            }
            position += 1
        }
    }

    func checkCompressed(
        _ compressed: StateTensor, _ plain: StateTensor, _ values: StateTensor, layout: String
    ) throws {
        let isByRows = layout.hasSuffix("sr")
        let isBlocked = layout.contains("_bs")
        let batch = compressed.shape.count - 1
        guard batch >= 0, plain.shape.count == batch + 1, shape.count >= batch + 2,
            compressed.shape.prefix(batch) == shape.prefix(batch)[...],
            plain.shape.prefix(batch) == shape.prefix(batch)[...],
            values.shape.count >= batch + 1 + (isBlocked ? 2 : 0), values.shape.prefix(batch + 1) == plain.shape[...]
        else { throw fail("its indices and values have shapes that do not belong together") }
        var rows = shape[batch]
        var columns = shape[batch + 1]
        if isBlocked {
            let (height, width) = (values.shape[batch + 1], values.shape[batch + 2])
            guard height > 0, width > 0, rows % height == 0, columns % width == 0 else {
                throw fail("its blocks of \(height) by \(width) do not fill it")
            }
            rows /= height
            columns /= width
        }
        if !isByRows { swap(&rows, &columns) }
        let count = plain.shape[batch]
        guard compressed.shape[batch] == rows + 1 else {
            throw fail("it has \(compressed.shape[batch]) compressed indices for \(rows) rows")
        }
        var position = 0
        var last = 0
        try forEachIndex(compressed) { index in
            let place = position % (rows + 1)
            guard place == 0 ? index == 0 : index >= last && index <= count, place < rows || index == count else {
                throw fail("compressed index \(index) at \(position) does not fit \(count) elements")
            }
            last = index
            position += 1
        }
        try forEachIndex(plain) { index in
            guard (0..<columns).contains(index) else { throw fail("index \(index) is outside of \(columns)") }
        }
    }

    private func forEachIndex(_ tensor: StateTensor, _ body: (Int) throws -> Void) throws {
        guard tensor.dtype == .i64 || tensor.dtype == .i32 else { throw fail("its indices are \(tensor.dtype)") }
        // Indices that are the same ones again and again could be without end.
        guard tensor.layout.byteCount <= tensor.storage.byteCount else { throw fail("its indices are expanded") }
        let size = tensor.dtype.bytesPerBlock
        try tensor.forEachPiece { piece in
            for start in stride(from: 0, to: piece.byteCount, by: size) {
                try body(
                    size == 8
                        ? Int(piece.littleEndian(at: start, as: Int64.self))
                        : Int(piece.littleEndian(at: start, as: Int32.self)))
            }
        }
    }
}

extension StateTree {
    /// How many numbers it has, if it is a list of them.
    fileprivate var numberCount: Int? {
        guard case .list(let elements, nil) = self else { return nil }
        return elements.allSatisfy { $0.double != nil || $0.int != nil } ? elements.count : nil
    }
}
