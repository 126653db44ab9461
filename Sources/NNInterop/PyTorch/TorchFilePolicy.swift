import NNStore

/// Which names a pickle may ask for.
struct TorchFilePolicy {
    private let keepsUnknown: Bool
    private let isScript: Bool
    private let file: String

    /// - Parameter isScript: whether it is that of a TorchScript program, whose classes are its own and stand in the file as well.
    init(_ options: OpenOptions, file: String, isScript: Bool = false) {
        keepsUnknown = options.keepsUnknownTypes
        self.file = file
        self.isScript = isScript
    }

    func check(_ global: PickleGlobal) throws {
        if keepsUnknown || TorchGlobals.isKnown(global) { return }
        if isScript, global.module == "__torch__" || global.module.hasPrefix("__torch__.") { return }
        throw InteropError.refusedGlobal(file: file, name: global.qualifiedName, offset: global.offset)
    }

    /// Whether an object may be reached from inside of itself: one of a type that is not known may, as it would be kept as a record.
    func mayReferBack(in graph: PickleGraph) -> (PickleGraph.Node) -> Bool {
        { node in
            guard keepsUnknown, case .object(.global(let index), _) = node.kind else { return false }
            return !TorchGlobals.isKnown(graph.globals[index])
        }
    }
}
