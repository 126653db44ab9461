import NNStore

/// The formats that checkpoints are written in.
public enum WritableFormat: String, Sendable, CaseIterable {
    /// Safetensors: tensors and texts.
    case safetensors
    /// PyTorch's zip format: trees, tensors that share memory, plain values.
    case pytorch
    /// An archive of NumPy arrays: tensors.
    case npz
    /// One NumPy array.
    case npy
    /// GGUF, llama.cpp's: tensors, quantised ones too, and typed metadata.
    case gguf
    /// NNStore's container: everything.
    case nnck

    /// The endings of names that mean the format, the usual one first.
    public var endings: [String] {
        switch self {
        case .pytorch: ["pt", "pth", "bin", "ckpt"]
        default: [rawValue]
        }
    }

    /// The format that the ending of a file's name means (`model.safetensors`), if it means one.
    public init?(ending path: String) {
        let name = path.lowercased()
        guard
            let format = WritableFormat.allCases.first(where: { format in
                format.endings.contains { name.hasSuffix("." + $0) }
            })
        else { return nil }
        self = format
    }

    /// The endings that mean a format in which nothing can be written: a container by such a name would be taken for what it
    /// is not.
    private static let foreignEndings = ["pkl", "pickle", "h5", "hdf5", "keras", "onnx", "zip"]

    /// The format for a file of a name: that of the ending, otherwise a container.
    ///
    /// - Throws: ``InteropError/unwritableFormat(file:)`` if the ending means a format that can't be written.
    public static func forFile(_ path: String) throws(InteropError) -> WritableFormat {
        if let format = WritableFormat(ending: path) { return format }
        let name = path.lowercased()
        if foreignEndings.contains(where: { name.hasSuffix("." + $0) }) { throw .unwritableFormat(file: path) }
        return .nnck
    }
}
