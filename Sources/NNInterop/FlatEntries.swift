import NNStore

/// What of a state tree goes into a format that holds named tensors and nothing else, and what does not.
struct FlatEntries {
    /// What a format takes.
    struct Rules {
        /// What messages call the format.
        let format: String
        /// Whether it has a dtype.
        let accepts: (DType) -> Bool
        /// A name that the format keeps for itself.
        var reservedName: String?
        /// A plain value as a tensor, where the format has tensors for such.
        var tensor: (StateTree) throws -> StateTensor? = { _ in nil }
    }

    /// The tensors by flat name, in the order of the tree.
    private(set) var tensors: [(name: String, tensor: StateTensor)] = []
    var report = ExportReport()
    /// The tensors, by number, that share a storage; in the order of their first ones.
    private(set) var shared: [[Int]] = []
    /// What messages call the destination.
    let file: String
    private let rules: Rules
    private var paths: [StateKey: StatePath] = [:]

    /// The entries of a tree.
    init(_ state: StateTree, file: String, _ rules: Rules) throws {
        self.file = file
        self.rules = rules
        try state.forEachNode { path, node in
            guard path.keys.count <= StateTree.maximumDepth else {
                throw InteropError.invalidTree(
                    path: "", reason: "it is deeper than \(StateTree.maximumDepth) levels")
            }
            try add(node, at: path)
        }
        var byStorage: [Storage: [Int]] = [:]
        for (number, tensor) in tensors.enumerated() { byStorage[tensor.tensor.storage, default: []].append(number) }
        shared = byStorage.values.filter { $0.count > 1 }.sorted { $0[0] < $1[0] }
    }

    private mutating func add(_ node: StateTree, at path: StatePath) throws {
        let place = path.keys.isEmpty ? "the root" : quoted(path.flatName)
        switch node {
        case .tensor(let tensor): try add(tensor, at: path)
        case .record(let type, _):
            report.converted.append(
                "\(place): of the record of type \(quoted(type)) only the tensors were kept, by name")
        case .dictionary, .list, .tuple:
            if node.children.isEmpty, !path.keys.isEmpty {
                report.dropped.append("\(place): \(node.plainKind), which is empty")
            }
        default:
            guard let tensor = try rules.tensor(node) else {
                report.dropped.append("\(place): \(node.plainKind)")
                return
            }
            report.converted.append("\(place): \(node.plainKind) became an array of \(tensor.dtype)")
            try add(tensor, at: path)
        }
    }

    private mutating func add(_ tensor: StateTensor, at path: StatePath) throws(InteropError) {
        let name = path.flatName
        if name == rules.reservedName { throw .reservedName(file: file, name: name) }
        if let other = paths.updateValue(path, forKey: .text(name)) {
            throw .ambiguousName(file: file, name: name, paths: [other.description, path.description])
        }
        guard rules.accepts(tensor.dtype) else {
            throw .unsupportedDType(file: file, format: rules.format, tensor: name, dtype: tensor.dtype.name)
        }
        tensors.append((name, tensor))
    }

    /// Refuses data out of all proportion to the storages: expanded tensors can stand for any number of bytes.
    func checkDataSize(limit: Int?) throws(InteropError) {
        let storages = Set(tensors.map(\.tensor.storage)).reduce(0) { saturating($0, $1.byteCount) }
        let (product, overflow) = storages.multipliedReportingOverflow(by: 1024)
        let limit = limit ?? saturating(overflow ? .max : product, 64 << 30)
        let size = tensors.reduce(0) { saturating($0, $1.tensor.layout.byteCount) }
        guard size <= limit else {
            throw .limitExceeded(
                file: file, what: "the size of the data, in bytes,", limit: limit,
                found: size == .max ? "more than 2^63" : "\(size) (over storages of \(storages))")
        }
    }

    /// Refuses tensors that share memory, if that is asked for.
    func checkSharing(_ aliases: ExportOptions.Aliases) throws(InteropError) {
        if aliases == .fail, !shared.isEmpty {
            throw .sharedStorages(file: file, groups: shared.map { $0.map { tensors[$0].name } })
        }
    }

    /// Says of tensors that share memory that they will not.
    mutating func reportShared() {
        for numbers in shared {
            let names = numbers.map { quoted(tensors[$0].name) }.joined(separator: ", ")
            report.converted.append("\(names): share memory; each was written as a tensor of its own")
        }
    }
}

/// The sum, or the greatest integer if it is more.
func saturating(_ left: Int, _ right: Int) -> Int {
    let (sum, overflow) = left.addingReportingOverflow(right)
    return overflow ? .max : sum
}
