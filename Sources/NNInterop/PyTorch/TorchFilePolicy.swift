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
}
