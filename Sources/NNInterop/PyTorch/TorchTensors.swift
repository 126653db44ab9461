import NNStore

/// What a storage is the same as: the file's storage, read the same way.
struct StorageIdentity: Hashable {
    let key: String
    let byteCount: Int
    let transform: TransformedBacking.Transform
    /// The node of the pickle that the storage stands in, if it is not the file itself.
    var node: Int? = nil
}

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
            return try withState(
                try tensor(number, type, arguments, dtype: nil, requiresGrad: nil, metadata: nil), node, number, type,
                path)
        case "torch._utils._rebuild_tensor_v2":
            try expect(6...7)
            let tensor = try tensor(
                number, type, arguments, dtype: nil, requiresGrad: arguments[4],
                metadata: arguments.count > 6 ? arguments[6] : nil)
            try checkHooks(arguments[5], number, type)
            return try withState(tensor, node, number, type, path)
        case "torch._utils._rebuild_tensor_v3":
            try expect(7...8)
            let dtype = try dtype(arguments[6], number, type)
            let tensor = try tensor(
                number, type, arguments, dtype: dtype, requiresGrad: arguments[4],
                metadata: arguments.count > 7 ? arguments[7] : nil)
            try checkHooks(arguments[5], number, type)
            return try withState(tensor, node, number, type, path)
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
            return try attributes(of: tree, "torch.nn.parameter.\(global.name)", node.states, path)
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
        case "torch._utils._rebuild_sparse_tensor":
            try expect(2...2)
            return try sparseTensor(number, type, arguments, path)
        case "torch._utils._rebuild_sparse_csr_tensor":
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
    private func layout(
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

    private mutating func storage(
        _ reference: TorchStorageReference, _ storages: any TorchStorages, _ node: Int?, _ element: TorchDType,
        isConjugate: Bool, isNegative: Bool, _ number: Int, _ type: String
    ) throws -> Storage {
        var transform = TransformedBacking.Transform()
        if storages.isBigEndian { transform.swappedSize = element.componentSize }
        let size = element.elementSize
        let component = element.componentSize
        if isConjugate || isNegative {
            // Of a complex number the conjugate has the other sign at the imaginary part, the negative at both.
            let isComplex = component < size
            var signs: [Int] = []
            if isNegative { signs.append(component - 1) }
            if isComplex, isNegative != isConjugate { signs.append(size - 1) }
            transform.elementSize = size
            transform.signBytes = signs
        }
        if transform.isNothing { transform = TransformedBacking.Transform() }
        let byteCount = reference.rootByteCount ?? reference.byteCount
        let identity = StorageIdentity(key: reference.key, byteCount: byteCount, transform: transform, node: node)
        if let known = storageCache[identity] { return known }
        let plain = try storages.backing(reference.key, byteCount: byteCount) { fail(number, type, $0) }
        let storage = Storage(
            backing: transform.isNothing ? plain : TransformedBacking(base: plain, transform: transform))
        storageCache[identity] = storage
        return storage
    }

    /// Whether the values are the conjugates, and the negatives, of what the storage has.
    private func signs(
        _ metadata: PickleValue?, _ element: TorchDType, _ number: Int, _ type: String
    ) throws -> (isConjugate: Bool, isNegative: Bool) {
        guard let metadata, case .node(let index) = metadata else {
            if case .some(.none) = metadata { return (false, false) }
            if metadata == nil { return (false, false) }
            throw fail(number, type, "its metadata are no dictionary")
        }
        guard case .dictionary = graph.nodes[index].kind else {
            throw fail(number, type, "its metadata are no dictionary")
        }
        var isConjugate = false
        var isNegative = false
        for pair in graph.nodes[index].pairs {
            switch text(pair.key) {
            case "conj": isConjugate = try boolean(pair.value, number, type)
            case "neg": isNegative = try boolean(pair.value, number, type)
            default: throw fail(number, type, "its metadata say something else than \"conj\" and \"neg\"")
            }
        }
        let isFloat = ["float", "complex", "bfloat"].contains { element.name.hasPrefix($0) }
        if isConjugate || isNegative, !isFloat {
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
            guard let dtype = TorchDType(storageClass: String(type.split(separator: ".").last!.dropLast(6)) + "Storage")
            else {
                return .tensor(
                    try StateTensor(storage: try Storage(byteCount: 0), layout: TensorLayout(.f32, shape: [0])))
            }
            return .tensor(
                try StateTensor(storage: try Storage(byteCount: 0), layout: TensorLayout(dtype.dtype, shape: [0])))
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
            if case .record = tree { return tree }
            throw fail(number, "a parameter", "it is made of something that is no tensor")
        }
        tensor.requiresGrad = try boolean(requiresGrad, number, "a parameter")
        tensor.tag = "torch.nn.parameter.Parameter"
        return .tensor(tensor)
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
        return parts.count == 1 ? tree : .record(type: type, parts)
    }

    private mutating func withState(
        _ tensor: StateTree, _ node: PickleGraph.Node, _ number: Int, _ type: String, _ path: StatePath
    ) throws -> StateTree {
        try attributes(of: tensor, "torch.Tensor", node.states, path)
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
        // The function is one of those that are known, or the name would have been refused, or is kept as it is.
        guard TorchGlobals.isKnown(function), let inner = try tensorLike(number, node, function, path) else {
            throw fail(number, type, "it calls \(function.qualifiedName), which makes no tensor; nothing was run")
        }
        guard let kind = global(arguments[1]) else { throw fail(number, type, "its class is no name") }
        let name = kind.qualifiedName == "torch.nn.Buffer" ? "torch.nn.parameter.Buffer" : kind.qualifiedName
        let isPlain = name == "torch.Tensor"
        let tagged = isPlain ? inner : inner.tagged(name)
        return try attributes(of: tagged, name, [arguments[3]] + states, path)
    }

    // MARK: Storages

    /// A storage by itself, as all of its elements.
    mutating func bareStorage(_ number: Int) throws -> StateTree {
        if let known = tensors[number] { return known }
        let type = "a storage"
        let (reference, storages, node) = try storageReference(.node(number), number, type)
        guard let element = reference.element ?? TorchDType(named: "uint8") else {
            throw fail(number, type, "it has no dtype")
        }
        let storage = try storage(
            reference, storages, node, element, isConjugate: false, isNegative: false, number, type)
        let layout = try layout(
            element, shape: [reference.byteCount / element.elementSize], strides: [1], offset: 0, reference)
        try count(layout)
        let kind = reference.element == nil ? "torch.storage.UntypedStorage" : "torch.storage.TypedStorage"
        let data = StateTree.tensor(try StateTensor(storage: storage, layout: layout))
        let tree = StateTree.record(type: kind, StateDictionary([("data", data)]))
        tensors[number] = tree
        return tree
    }

    /// The storage that a value stands for, where its bytes are, and the node that it stands in if that is no part of the file.
    private mutating func storageReference(
        _ value: PickleValue, _ number: Int, _ type: String
    ) throws -> (TorchStorageReference, any TorchStorages, Int?) {
        guard case .node(let index) = value else { throw fail(number, type, "it has something else for a storage") }
        switch graph.nodes[index].kind {
        case .persistent(let identity):
            return (try TorchStorageReference(identity, graph, at: index, self), storages, nil)
        case .object(.global(let callee), _)
        where graph.globals[callee].qualifiedName == "torch.storage._load_from_bytes":
            if let known = nested[index] { return (known.reference, known.storages, index) }
            let found = try loadFromBytes(index)
            nested[index] = found
            return (found.reference, found.storages, index)
        case .object(.global(let callee), _) where graph.globals[callee].qualifiedName == "torch.storage.TypedStorage":
            // TypedStorage(wrap_storage=..., dtype=...) is pickled by way of persistent ids; nothing else is.
            throw fail(number, type, "its storage is made by a call, which no PyTorch writes")
        default: throw fail(number, type, "it has something else for a storage")
        }
    }

    /// A whole file of the legacy format inside the pickle, which holds one storage.
    private func loadFromBytes(
        _ index: Int
    ) throws -> (reference: TorchStorageReference, storages: any TorchStorages) {
        let type = "torch.storage._load_from_bytes"
        guard nesting < 4 else { throw fail(index, type, "files inside files, more than four deep") }
        guard let argument = graph.nodes[index].arguments.first, let bytes = try bytes(argument) else {
            throw fail(index, type, "it loads something that is no bytes")
        }
        let source = MemorySource(bytes, name: "\(name), in the bytes at \(graph.nodes[index].offset)")
        let file = try LegacyTorchFile(source, SourceVersion(byteCount: bytes.count), options)
        let inner = TorchInterpreter(
            file.graph, name: source.name, storages: file.storages, options: options, fileSize: bytes.count,
            nesting: nesting + 1)
        guard case .node(let root) = file.graph.root, case .persistent(let identity) = file.graph.nodes[root].kind
        else {
            throw fail(index, type, "what is in the bytes is no storage")
        }
        return (try TorchStorageReference(identity, file.graph, at: root, inner), file.storages)
    }

    // MARK: Parts

    func integers(_ value: PickleValue, _ what: String, _ number: Int, _ type: String) throws -> [Int] {
        let values = try sequence(value, number, type)
        guard values.count <= TensorLayout.maximumRank else {
            throw fail(number, type, "\(values.count) dimensions, at most \(TensorLayout.maximumRank) are possible")
        }
        return try values.map { value in
            guard case .integer(let integer) = value, let integer = integer.int, integer >= 0 else {
                throw fail(number, type, "its \(what) has something in it that is no integer from 0 to 2^63 - 1")
            }
            return integer
        }
    }

    func boolean(_ value: PickleValue, _ number: Int, _ type: String) throws -> Bool {
        switch value {
        case .boolean(let value): return value
        // Protocols before 2 have no truth values of their own.
        case .integer(let integer) where integer.int == 0 || integer.int == 1: return integer.int == 1
        default: throw fail(number, type, "something that is to be true or false is neither")
        }
    }

    func dtype(_ value: PickleValue, _ number: Int, _ type: String) throws -> TorchDType {
        guard let name = global(value), name.module == "torch", let dtype = TorchDType(named: name.name) else {
            throw fail(number, type, "its dtype is none that is known")
        }
        return dtype
    }

    /// Hooks are functions: those of a checkpoint are always none.
    private func checkHooks(_ value: PickleValue, _ number: Int, _ type: String) throws {
        switch value {
        case .none: return
        case .node(let index):
            let node = graph.nodes[index]
            let isEmpty = node.pairs.isEmpty && node.elements.isEmpty && node.states.isEmpty
            switch node.kind {
            case .dictionary where isEmpty: return
            case .object where isEmpty:
                if node.arguments.isEmpty { return }
                if node.arguments.count == 1, try sequence(node.arguments[0], number, type).isEmpty { return }
            default: break
            }
        default: break
        }
        throw fail(number, type, "it has backward hooks, which are functions; nothing was run")
    }
}

extension TorchStorageReference {
    /// The storage that a persistent id names: ("storage", class, key, location, number of elements, view).
    init(_ identity: PickleValue, _ graph: PickleGraph, at index: Int, _ interpreter: TorchInterpreter) throws {
        let type = "a storage"
        func fail(_ problem: String) -> InteropError {
            .invalidPickle(
                file: interpreter.name,
                .value(offset: graph.nodes[index].offset, type: type, problem: problem))
        }
        guard case .node(let tuple) = identity, case .tuple = graph.nodes[tuple].kind else {
            throw fail("what it is called is no tuple, as PyTorch has")
        }
        let parts = graph.nodes[tuple].elements
        guard (5...6).contains(parts.count), interpreter.text(parts[0]) == "storage" else {
            throw fail("what it is called is not (\"storage\", class, key, location, number of elements)")
        }
        guard let global = parts[1].global(in: graph) else { throw fail("its class is no name") }
        let element: TorchDType?
        if global.qualifiedName == "torch.storage.UntypedStorage" {
            element = nil
        } else if ["torch", "torch.cuda"].contains(global.module), let dtype = TorchDType(storageClass: global.name) {
            element = dtype
        } else {
            throw fail("\(global.qualifiedName) is no class of storages that is known")
        }
        guard let key = interpreter.text(parts[2]) else { throw fail("its key is no text") }
        guard case .integer(let count) = parts[4], let count = count.int, count >= 0 else {
            throw fail("its number of elements is none from 0 to 2^63 - 1")
        }
        let (byteCount, overflow) = count.multipliedReportingOverflow(by: element?.elementSize ?? 1)
        guard !overflow, byteCount <= TensorLayout.maximumSize else { throw fail("\(count) elements are too many") }
        var view: (key: String, offset: Int, count: Int)?
        if parts.count == 6, case .node(let number) = parts[5] {
            let fields = graph.nodes[number].elements
            guard case .tuple = graph.nodes[number].kind, fields.count == 3, let viewKey = interpreter.text(fields[0]),
                case .integer(let offset) = fields[1], let offset = offset.int, offset >= 0,
                case .integer(let viewCount) = fields[2], let viewCount = viewCount.int, viewCount >= 0,
                viewCount <= count, offset <= count - viewCount
            else { throw fail("it is said to be a view of another storage, in a way that can't be") }
            view = (viewKey, offset, viewCount)
        } else if parts.count == 6, case .none = parts[5] {
        } else if parts.count == 6 {
            throw fail("it is said to be a view of another storage, in a way that can't be")
        }
        let size = element?.elementSize ?? 1
        self.init(
            key: key, element: element, byteOffset: (view?.offset ?? 0) * size,
            byteCount: view.map { $0.count * size } ?? byteCount, rootByteCount: byteCount)
    }
}

extension PickleValue {
    func global(in graph: PickleGraph) -> PickleGlobal? {
        if case .global(let index) = self { graph.globals[index] } else { nil }
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
