import NNStore

/// A storage as a pickle names it.
struct TorchStorageReference {
    let key: String
    /// What its elements are; nothing if it is bytes.
    let element: TorchDType?
    /// Where it begins in the storage of that key, in bytes: other than 0 only for views of legacy files.
    let byteOffset: Int
    let byteCount: Int
    /// The size of the storage of that key, in bytes.
    let rootByteCount: Int
}

/// What a storage is the same as: the file's storage, read the same way.
struct StorageIdentity: Hashable {
    /// By its bytes, not as Swift compares strings.
    let key: StateKey
    let byteCount: Int
    let transform: TransformedBacking.Transform
    /// The node of the pickle that the storage stands in, if it is not the file itself.
    var node: Int? = nil
}

/// Which storage of the file, or of a file inside the pickle, a value stands for.
extension TorchInterpreter {
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
    mutating func storageReference(
        _ value: PickleValue, _ number: Int, _ type: String
    ) throws -> (TorchStorageReference, any TorchStorages, Int?) {
        guard case .node(let index) = value else { throw fail(number, type, "it has something else for a storage") }
        switch graph.nodes[index].kind {
        case .persistent(let identity):
            return (try TorchStorageReference(identity, graph, at: index, file: name), storages, nil)
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

    /// A whole file of the legacy format inside the pickle, which is one storage: so there are no more files inside of it.
    private func loadFromBytes(
        _ index: Int
    ) throws -> (reference: TorchStorageReference, storages: any TorchStorages) {
        let type = "torch.storage._load_from_bytes"
        guard let argument = graph.nodes[index].arguments.first, let bytes = try bytes(argument) else {
            throw fail(index, type, "it loads something that is no bytes")
        }
        let source = MemorySource(bytes, name: "\(name), in the bytes at \(graph.nodes[index].offset)")
        let file = try LegacyTorchFile(source, SourceVersion(byteCount: bytes.count), options)
        guard case .node(let root) = file.graph.root, case .persistent(let identity) = file.graph.nodes[root].kind
        else {
            throw fail(index, type, "what is in the bytes is no storage")
        }
        return (try TorchStorageReference(identity, file.graph, at: root, file: source.name), file.storages)
    }

    mutating func storage(
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
        let byteCount = reference.rootByteCount
        let identity = StorageIdentity(
            key: .text(reference.key), byteCount: byteCount, transform: transform, node: node)
        if let known = storageCache[identity] { return known }
        let plain = try storages.backing(reference.key, byteCount: byteCount) { fail(number, type, $0) }
        let storage = Storage(
            backing: transform.isNothing ? plain : TransformedBacking(base: plain, transform: transform))
        storageCache[identity] = storage
        return storage
    }
}

extension TorchStorageReference {
    /// The storage that a persistent id names: ("storage", class, key, location, number of elements, view).
    init(_ identity: PickleValue, _ graph: PickleGraph, at index: Int, file: String) throws {
        func fail(_ problem: String) -> InteropError {
            .invalidPickle(
                file: file, .value(offset: graph.nodes[index].offset, type: "a storage", problem: problem))
        }
        guard case .node(let tuple) = identity, case .tuple = graph.nodes[tuple].kind else {
            throw fail("what it is called is no tuple, as PyTorch has")
        }
        let parts = graph.nodes[tuple].elements
        guard (5...6).contains(parts.count), parts[0].text == "storage" else {
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
        guard let key = parts[2].text else { throw fail("its key is no text") }
        guard case .integer(let count) = parts[4], let count = count.int, count >= 0 else {
            throw fail("its number of elements is none from 0 to 2^63 - 1")
        }
        let (byteCount, overflow) = count.multipliedReportingOverflow(by: element?.elementSize ?? 1)
        guard !overflow, byteCount <= TensorLayout.maximumSize else { throw fail("\(count) elements are too many") }
        let size = element?.elementSize ?? 1
        self.init(key: key, element: element, byteOffset: 0, byteCount: byteCount, rootByteCount: byteCount)
        guard parts.count == 6 else { return }
        // (key, offset, number of elements) of a view, whose key nothing but the pickle knows.
        switch parts[5] {
        case .none: break
        case .node(let number):
            let fields = graph.nodes[number].elements
            guard case .tuple = graph.nodes[number].kind, fields.count == 3, fields[0].text != nil,
                case .integer(let offset) = fields[1], let offset = offset.int, offset >= 0,
                case .integer(let viewCount) = fields[2], let viewCount = viewCount.int, viewCount >= 0,
                viewCount <= count, offset <= count - viewCount
            else { fallthrough }
            self.init(
                key: key, element: element, byteOffset: offset * size, byteCount: viewCount * size,
                rootByteCount: byteCount)
        default: throw fail("it is said to be a view of another storage, in a way that can't be")
        }
    }
}
