import NNStore

/// Tensors: from the functions that PyTorch's pickles call to rebuild them. Source: torch/_utils.py, torch/_tensor.py.
extension TorchInterpreter {
    /// What a call makes that is a tensor or has some in it; nothing if it is no such call.
    mutating func tensorLike(
        _ number: Int, _ node: PickleGraph.Node, _ global: PickleGlobal, _ path: StatePath
    ) throws -> StateTree? {
        let type = global.qualifiedName
        let arguments = node.arguments
        func expect(_ counts: ClosedRange<Int>) throws {
            guard counts.contains(arguments.count), node.elements.isEmpty, node.pairs.isEmpty else {
                throw fail(number, type, "it has \(arguments.count) arguments, or parts that it never has")
            }
        }
        switch type {
        case "torch._utils._rebuild_tensor":
            try expect(4...4)
            let tensor = try tensor(number, type, arguments, dtype: nil, requiresGrad: nil, metadata: nil)
            return try attributes(of: tensor, "torch.Tensor", node.states, path)
        case "torch._utils._rebuild_tensor_v2":
            try expect(6...7)
            let tensor = try tensor(
                number, type, arguments, dtype: nil, requiresGrad: arguments[4],
                metadata: arguments.count > 6 ? arguments[6] : nil)
            try checkHooks(arguments[5], number, type)
            return try attributes(of: tensor, "torch.Tensor", node.states, path)
        case "torch._utils._rebuild_tensor_v3":
            try expect(7...8)
            let dtype = try dtype(arguments[6], number, type)
            let tensor = try tensor(
                number, type, arguments, dtype: dtype, requiresGrad: arguments[4],
                metadata: arguments.count > 7 ? arguments[7] : nil)
            try checkHooks(arguments[5], number, type)
            return try attributes(of: tensor, "torch.Tensor", node.states, path)
        case "torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state":
            let hasState = type.hasSuffix("state")
            try expect(hasState ? 4...4 : 3...3)
            try checkHooks(arguments[2], number, type)
            let parameter = try parameter(arguments[0], requiresGrad: arguments[1], number, path)
            let states = node.states + (hasState ? [arguments[3]] : [])
            return try attributes(of: parameter, "torch.nn.parameter.Parameter", states, path)
        case "torch.nn.parameter.Parameter", "torch.nn.Parameter", "torch.nn.parameter.Buffer", "torch.nn.Buffer":
            try expect(1...2)
            let isParameter = global.name == "Parameter"
            let wants = arguments.count > 1 ? arguments[1] : .boolean(isParameter)
            var tree = try parameter(arguments[0], requiresGrad: isParameter ? wants : .boolean(false), number, path)
            if !isParameter { tree = tree.tagged("torch.nn.parameter.Buffer") }
            let states = try applyOldState(node.states, to: &tree, number, path)
            return try attributes(of: tree, "torch.nn.parameter.\(global.name)", states, path)
        case "torch._tensor._rebuild_from_type_v2", "torch.tensor._rebuild_from_type_v2":
            try expect(4...4)
            return try rebuiltFromType(arguments, node.states, number, type, path)
        case "torch._utils._rebuild_device_tensor_from_numpy", "torch._utils._rebuild_xla_tensor":
            try expect(4...4)
            let inner = try tree(arguments[0], path)
            guard case .tensor(var tensor) = inner else {
                throw fail(number, type, "it is made of something that is no array")
            }
            tensor.tag = nil
            tensor.requiresGrad = try boolean(arguments[3], number, type)
            let wanted = try dtype(arguments[1], number, type)
            guard wanted.dtype == tensor.dtype else {
                throw fail(
                    number, type,
                    "an array of \(tensor.dtype) is to become \(wanted.name), which would be another tensor")
            }
            return .tensor(tensor)
        case "torch._utils._rebuild_device_tensor_from_cpu_tensor":
            try expect(4...4)
            guard case .tensor(var tensor) = try tree(arguments[0], path) else {
                throw fail(number, type, "it is made of something that is no tensor")
            }
            tensor.requiresGrad = try boolean(arguments[3], number, type)
            return .tensor(tensor)
        case "torch._utils._rebuild_qtensor":
            try expect(7...7)
            return try quantisedTensor(number, type, arguments, path)
        case "torch._utils._rebuild_sparse_tensor", "torch._utils._rebuild_sparse_csr_tensor":
            try expect(2...2)
            return try sparseTensor(number, type, arguments, path)
        case "torch._utils._rebuild_nested_tensor":
            try expect(1...4)
            return try tensorParts(type, ["data", "sizes", "strides", "offsets"], arguments, number, path)
        case "torch._utils._rebuild_meta_tensor_no_storage":
            try expect(4...4)
            return .record(type: type, try described(["dtype", "shape", "strides", "requires_grad"], arguments, path))
        case "torch._utils._rebuild_wrapper_subclass":
            try expect(6...12)
            let names = [
                "class", "dtype", "shape", "strides", "offset", "layout", "device", "requires_grad",
            ]
            return .record(type: type, try described(names, arguments, path))
        case "numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct":
            return try numPyArray(number, node, type)
        case "numpy.core.numeric._frombuffer", "numpy._core.numeric._frombuffer":
            try expect(4...4)
            return try numPyArray(fromBuffer: arguments, number, type)
        case "torch.Tensor": return try oldTensor(number, node, type, path)
        case "torch.storage._load_from_bytes": return try bareStorage(number)
        default:
            if TorchGlobals.isTensorClass(global) { return try oldTensor(number, node, type, path) }
            // A bare nil could as well be the tree of nothing.
            return StateTree?.none
        }
    }

    // MARK: Plain tensors

    /// A tensor of (storage, offset, size, strides, ...).
    mutating func tensor(
        _ number: Int, _ type: String, _ arguments: [PickleValue], dtype: TorchDType?, requiresGrad: PickleValue?,
        metadata: PickleValue?
    ) throws -> StateTree {
        let (reference, storages, node) = try storageReference(arguments[0], number, type)
        guard let element = dtype ?? reference.element ?? TorchDType(named: "uint8") else {
            throw fail(number, type, "it has no dtype")
        }
        guard case .integer(let offset) = arguments[1], let offset = offset.int, offset >= 0 else {
            throw fail(number, type, "its offset is no integer from 0 to 2^63 - 1")
        }
        let shape = try integers(arguments[2], "size", number, type)
        let strides = try integers(arguments[3], "strides", number, type)
        let (isConjugate, isNegative) = try signs(metadata, element, number, type)
        do {
            let layout = try layout(element, shape: shape, strides: strides, offset: offset, reference)
            let storage = try storage(
                reference, storages, node, element, isConjugate: isConjugate, isNegative: isNegative, number, type)
            try count(layout)
            let wantsGrad = try requiresGrad.map { try boolean($0, number, type) } ?? false
            return .tensor(try StateTensor(storage: storage, layout: layout, requiresGrad: wantsGrad))
        } catch StoreError.invalidLayout(let reason) {
            throw fail(number, type, reason)
        }
    }

    /// PyTorch counts the elements of 4-bit floats in pairs; we count each.
    func layout(
        _ element: TorchDType, shape: [Int], strides: [Int], offset: Int, _ reference: TorchStorageReference
    ) throws(StoreError) -> TensorLayout {
        func product(_ left: Int, _ right: Int) throws(StoreError) -> Int {
            let (product, overflow) = left.multipliedReportingOverflow(by: right)
            guard !overflow else {
                throw .invalidLayout(reason: "shape \(shape) with strides \(strides) overflows 63 bits")
            }
            return product
        }
        guard strides.count == shape.count else {
            throw .invalidLayout(reason: "\(strides.count) strides for \(shape.count) dimensions")
        }
        guard reference.byteOffset % element.elementSize == 0 else {
            throw .invalidLayout(
                reason: "its storage begins at byte \(reference.byteOffset) of another one, inside an element")
        }
        let (offset, overflow) = offset.addingReportingOverflow(reference.byteOffset / element.elementSize)
        guard !overflow else { throw .invalidLayout(reason: "offset \(offset) overflows 63 bits") }
        let pairs = element.dtype.elementsPerBlock
        if pairs == 1 { return try TensorLayout(element.dtype, shape: shape, strides: strides, offset: offset) }
        guard let last = shape.indices.last, strides[last] == 1 || shape[last] <= 1 else {
            throw .invalidLayout(
                reason: "\(element.name) with shape \(shape) and strides \(strides): its pairs are not in rows")
        }
        var ours = shape
        ours[last] = try product(shape[last], pairs)
        var steps: [Int] = []
        for stride in strides { steps.append(try product(stride, pairs)) }
        steps[last] = 1
        return try TensorLayout(element.dtype, shape: ours, strides: steps, offset: try product(offset, pairs))
    }

    /// Whether the values are the conjugates, and the negatives, of what the storage has.
    private func signs(
        _ metadata: PickleValue?, _ element: TorchDType, _ number: Int, _ type: String
    ) throws -> (isConjugate: Bool, isNegative: Bool) {
        guard let metadata, case .node(let index) = metadata, case .dictionary = graph.nodes[index].kind else {
            switch metadata {
            case nil, .some(.none): return (false, false)
            default: throw fail(number, type, "its metadata are no dictionary")
            }
        }
        var isConjugate = false
        var isNegative = false
        for pair in graph.nodes[index].pairs {
            switch pair.key.text {
            case "conj": isConjugate = try boolean(pair.value, number, type)
            case "neg": isNegative = try boolean(pair.value, number, type)
            default: throw fail(number, type, "its metadata say something else than \"conj\" and \"neg\"")
            }
        }
        if isConjugate || isNegative, !element.isFloatingPoint {
            throw fail(number, type, "it is marked as the negative or conjugate of integers, which no PyTorch writes")
        }
        return (isConjugate, isNegative)
    }

    /// A tensor of the first versions: a class of tensors, which is given (storage, offset, size, strides).
    private mutating func oldTensor(
        _ number: Int, _ node: PickleGraph.Node, _ type: String, _ path: StatePath
    ) throws -> StateTree {
        guard node.arguments.isEmpty, node.elements.isEmpty, node.pairs.isEmpty, node.states.count <= 1 else {
            throw fail(number, type, "it is made in a way that is not known")
        }
        guard let state = node.states.first else {
            // As it was made, it is empty.
            let element = TorchDType(
                storageClass: String(type.split(separator: ".").last ?? "").dropLast(6) + "Storage")
            return .tensor(
                try StateTensor(
                    storage: Storage(byteCount: 0), layout: TensorLayout(element?.dtype ?? .f32, shape: [0])))
        }
        let parts = try sequence(state, number, type)
        guard parts.count == 4 else { throw fail(number, type, "its state has \(parts.count) parts, 4 are expected") }
        return try tensor(number, type, parts, dtype: nil, requiresGrad: nil, metadata: nil)
    }

    // MARK: Parameters and attributes

    private mutating func parameter(
        _ data: PickleValue, requiresGrad: PickleValue, _ number: Int, _ path: StatePath
    ) throws -> StateTree {
        let tree = try tree(data, path)
        guard case .tensor(var tensor) = tree else {
            // One that is more than a tensor (sparse, without bytes): what it is, and that it is a parameter.
            if case .record = tree {
                let wants = StateTree.boolean(try boolean(requiresGrad, number, "a parameter"))
                let parts = StateDictionary([("data", tree), ("requires_grad", wants)])
                return .record(type: "torch.nn.parameter.Parameter", parts)
            }
            throw fail(number, "a parameter", "it is made of something that is no tensor")
        }
        tensor.requiresGrad = try boolean(requiresGrad, number, "a parameter")
        tensor.tag = "torch.nn.parameter.Parameter"
        return .tensor(tensor)
    }

    /// Parameters of PyTorch before 0.4 are given (requires_grad, volatile, hooks), or (data, gradient, hooks, requires_grad, volatile)
    /// with the data that they have.
    ///
    /// - Returns: the states that are something else.
    private mutating func applyOldState(
        _ states: [PickleValue], to tree: inout StateTree, _ number: Int, _ path: StatePath
    ) throws -> [PickleValue] {
        guard states.count == 1, case .node(let index) = states[0], case .tuple = graph.nodes[index].kind else {
            return states
        }
        let parts = graph.nodes[index].elements
        switch parts.count {
        case 3:
            try checkHooks(parts[2], number, "a parameter")
            if case .tensor(var tensor) = tree {
                tensor.requiresGrad = try boolean(parts[0], number, "a parameter")
                tree = .tensor(tensor)
            }
        case 5:
            try checkHooks(parts[2], number, "a parameter")
            tree = try parameter(parts[0], requiresGrad: parts[3], number, path)
        default: return states
        }
        return []
    }

    /// What a tensor was given beside its data, as a record around it; the tensor itself if that is nothing.
    mutating func attributes(
        of tree: StateTree, _ type: String, _ states: [PickleValue], _ path: StatePath
    ) throws -> StateTree {
        var parts = StateDictionary([("data", tree)])
        for (index, state) in states.enumerated() {
            let key = index == 0 ? "state" : "state\(index + 1)"
            let state = try self.tree(state, path.appending(.text(key)))
            if !state.isNothing { parts[key] = state }
        }
        // What makes a tensor a buffer are two attributes of it.
        if type == "torch.Tensor", parts.count == 2, let state = parts["state"], state.children.count == 2,
            state["_is_buffer"]?.bool == true, state["persistent"]?.bool == true
        {
            return tree.tagged("torch.nn.parameter.Buffer")
        }
        return parts.count == 1 ? tree : .record(type: type, parts)
    }

    /// A tensor of another class: (function, class, its arguments, state).
    private mutating func rebuiltFromType(
        _ arguments: [PickleValue], _ states: [PickleValue], _ number: Int, _ type: String, _ path: StatePath
    ) throws -> StateTree {
        guard let function = global(arguments[0]) else {
            throw fail(number, type, "what it calls is no name; nothing was run")
        }
        let parts = try sequence(arguments[2], number, type)
        var node = PickleGraph.Node(kind: graph.nodes[number].kind, offset: graph.nodes[number].offset)
        node.arguments = parts
        // A function that is not known is refused by its name, unless such are kept.
        guard TorchGlobals.isKnown(function) else {
            return try record(number, graph.nodes[number], global(arguments[1]) ?? function, nil, path)
        }
        guard let inner = try tensorLike(number, node, function, path) else {
            throw fail(number, type, "it calls \(function.qualifiedName), which makes no tensor; nothing was run")
        }
        guard let kind = global(arguments[1]) else { throw fail(number, type, "its class is no name") }
        let name = kind.qualifiedName == "torch.nn.Buffer" ? "torch.nn.parameter.Buffer" : kind.qualifiedName
        let isPlain = name == "torch.Tensor"
        let tagged = isPlain ? inner : inner.tagged(name)
        return try attributes(of: tagged, name, [arguments[3]] + states, path)
    }
}

extension StateTree {
    /// The same with another tag on its tensor.
    func tagged(_ tag: String) -> StateTree {
        guard case .tensor(var tensor) = self else { return self }
        tensor.tag = tag
        return .tensor(tensor)
    }

    /// Whether there is nothing in it.
    var isNothing: Bool {
        switch self {
        case .null: true
        case .dictionary(let entries): entries.isEmpty
        case .tuple(let elements, _), .list(let elements, _): elements.allSatisfy(\.isNothing)
        default: false
        }
    }
}
