import NNStore

/// NumPy's values inside pickles. Source: numpy/core/src/multiarray/methods.c (`array_setstate`), descriptor.c.
extension TorchInterpreter {
    /// What `numpy.dtype(...)` describes.
    func numPyElement(_ value: PickleValue, at number: Int) throws -> NumPyElement {
        let type = "numpy.dtype"
        guard case .node(let index) = value, case .object(let callee, _) = graph.nodes[index].kind,
            global(callee)?.qualifiedName == type
        else { throw fail(number, type, "there is something else instead of it") }
        let node = graph.nodes[index]
        var element: NumPyElement
        if let first = node.arguments.first, let name = global(first), name.module == "ml_dtypes",
            let extended = NumPyElement(extended: name.name)
        {
            element = extended
        } else {
            guard let description = node.arguments.first.flatMap(\.text) else {
                throw fail(index, type, "it describes no type of elements")
            }
            guard let known = NumPyElement(describedBy: description) else {
                throw InteropError.unsupported(
                    file: name, what: "a NumPy value of the dtype \(quoted(description)) at byte \(node.offset)",
                    advice: "only numbers and texts are read")
            }
            element = known
        }
        // (version, byte order, ...): the rest is about fields, which those that are known have not.
        if let state = node.states.last {
            let parts = try sequence(state, index, type)
            guard parts.count >= 2, let order = parts[1].text else {
                throw fail(index, type, "its state has no byte order")
            }
            element.isBigEndian = order == ">"
        }
        return element
    }

    func numPyScalar(_ number: Int, _ arguments: [PickleValue]) throws -> StateTree {
        let type = "numpy.core.multiarray.scalar"
        guard arguments.count == 2, let bytes = try bytes(arguments[1]) else {
            throw fail(number, type, "it is no dtype with bytes")
        }
        let element = try numPyElement(arguments[0], at: number)
        switch element.kind {
        case .number(let dtype, let componentSize):
            guard bytes.count == dtype.bytesPerBlock else {
                throw fail(number, type, "\(bytes.count) bytes for one of \(element.name)")
            }
            let ordered = element.isBigEndian ? bytes.turningRound(componentSize) : bytes
            return .scalar(try TypedValue(dtype, bytes: ordered))
        case .bytes(let length):
            guard bytes.count == length else {
                throw fail(number, type, "\(bytes.count) bytes for one of \(element.name)")
            }
            return .bytes(bytes)
        case .text(let length):
            let ordered = element.isBigEndian ? bytes.turningRound(4) : bytes
            guard ordered.count == 4 * length, let text = NumPyElement.text(ordered) else {
                throw fail(number, type, "its bytes are no text")
            }
            return .string(text)
        case .void: return .bytes(bytes)
        }
    }

    /// `_reconstruct(ndarray, (0,), b"b")`, which is given (version, shape, dtype, is Fortran, bytes).
    mutating func numPyArray(_ number: Int, _ node: PickleGraph.Node, _ type: String) throws -> StateTree {
        guard node.arguments.first.flatMap({ global($0) })?.qualifiedName == "numpy.ndarray", node.states.count == 1,
            node.elements.isEmpty, node.pairs.isEmpty
        else { throw fail(number, type, "it makes something that is no array") }
        let parts = try sequence(node.states[0], number, type)
        guard parts.count == 5 else { throw fail(number, type, "its state has \(parts.count) parts, 5 are expected") }
        let shape = try integers(parts[1], "shape", number, type)
        let element = try numPyElement(parts[2], at: number)
        let isFortran = try boolean(parts[3], number, type)
        guard let bytes = try bytes(parts[4]) else {
            throw fail(number, type, "its elements are objects, not bytes")
        }
        return try numPyArray(bytes, element, shape: shape, isFortran: isFortran, number, type)
    }

    mutating func numPyArray(fromBuffer arguments: [PickleValue], _ number: Int, _ type: String) throws -> StateTree {
        guard let bytes = try bytes(arguments[0]), let order = arguments[3].text, order == "C" || order == "F" else {
            throw fail(number, type, "it is made of something that is no bytes")
        }
        let shape = try integers(arguments[2], "shape", number, type)
        return try numPyArray(
            bytes, try numPyElement(arguments[1], at: number), shape: shape, isFortran: order == "F", number, type)
    }

    private mutating func numPyArray(
        _ bytes: [UInt8], _ element: NumPyElement, shape: [Int], isFortran: Bool, _ number: Int, _ type: String
    ) throws -> StateTree {
        guard case .number(let dtype, let componentSize) = element.kind else {
            throw InteropError.unsupported(
                file: name, what: "a NumPy array of the dtype \(element.name) at byte \(graph.nodes[number].offset)",
                advice: "arrays of numbers are what can be read")
        }
        do {
            var strides: [Int]?
            if isFortran {
                strides = try TensorLayout.contiguousStrides(of: shape.reversed()).reversed()
            }
            let layout = try TensorLayout(dtype, shape: shape, strides: strides)
            guard layout.byteCount == bytes.count else {
                throw fail(number, type, "\(bytes.count) bytes for \(shape) of \(element.name)")
            }
            try count(layout)
            let ordered = element.isBigEndian ? bytes.turningRound(componentSize) : bytes
            return .tensor(try StateTensor(storage: try Storage(ordered), layout: layout, tag: "numpy.ndarray"))
        } catch StoreError.invalidLayout(let reason) {
            throw fail(number, type, reason)
        }
    }
}
