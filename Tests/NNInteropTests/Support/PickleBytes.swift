/// Operations of pickles as bytes, to put pickles together that are as wrong as a test likes.
enum Pickle {
    static let mark: [UInt8] = [0x28]
    static let tuple: [UInt8] = [0x74]
    static let emptyTuple: [UInt8] = [0x29]
    static let emptyList: [UInt8] = [0x5d]
    static let emptyDict: [UInt8] = [0x7d]
    static let reduce: [UInt8] = [0x52]
    static let build: [UInt8] = [0x62]
    static let none: [UInt8] = [0x4e]
    static let no: [UInt8] = [0x89]
    static let yes: [UInt8] = [0x88]
    static let stop: [UInt8] = [0x2e]
    static let setItem: [UInt8] = [0x73]
    static let appends: [UInt8] = [0x65]
    static let persistent: [UInt8] = [0x51]
    static let newObject: [UInt8] = [0x81]

    static func whole(_ parts: [UInt8]...) -> [UInt8] { [0x80, 2] + parts.flatMap(\.self) + stop }

    static func text(_ text: String) -> [UInt8] { [0x58] + word(text.utf8.count) + text.utf8 }

    static func bytes(_ bytes: [UInt8]) -> [UInt8] { [0x42] + word(bytes.count) + bytes }

    static func int(_ value: Int) -> [UInt8] {
        if let small = Int32(exactly: value) { return [0x4a] + word(Int(UInt32(bitPattern: small))) }
        return [0x8a, 8] + (0..<8).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
    }

    static func double(_ value: Double) -> [UInt8] {
        [0x47] + (0..<8).reversed().map { UInt8(truncatingIfNeeded: value.bitPattern >> (8 * UInt64($0))) }
    }

    static func global(_ module: String, _ name: String) -> [UInt8] { [0x63] + "\(module)\n\(name)\n".utf8 }

    static func put(_ index: UInt8) -> [UInt8] { [0x71, index] }
    static func get(_ index: UInt8) -> [UInt8] { [0x68, index] }

    static func tuple(_ parts: [UInt8]...) -> [UInt8] { tuple(of: parts) }
    static func tuple(of parts: [[UInt8]]) -> [UInt8] { mark + parts.flatMap(\.self) + tuple }
    static func ints(_ values: [Int]) -> [UInt8] { tuple(of: values.map(int)) }
    static func list(_ parts: [UInt8]...) -> [UInt8] { emptyList + mark + parts.flatMap(\.self) + appends }

    static func dict(_ entries: [(String, [UInt8])]) -> [UInt8] {
        emptyDict + entries.flatMap { text($0.0) + $0.1 + setItem }
    }

    static func call(_ module: String, _ name: String, _ arguments: [UInt8]...) -> [UInt8] {
        global(module, name) + tuple(of: arguments) + reduce
    }

    static var noHooks: [UInt8] { global("collections", "OrderedDict") + emptyTuple + reduce }

    static func storage(_ type: String = "FloatStorage", _ key: String = "0", count: Int, view: [UInt8]? = nil)
        -> [UInt8]
    {
        let module = type == "UntypedStorage" ? "torch.storage" : "torch"
        return tuple(
            of: [text("storage"), global(module, type), text(key), text("cpu"), int(count)] + (view.map { [$0] } ?? []))
            + persistent
    }

    /// A call of `_rebuild_tensor_v2`.
    static func tensor(
        _ storage: [UInt8], shape: [Int], strides: [Int], offset: Int = 0, requiresGrad: Bool = false,
        metadata: [UInt8]? = nil
    ) -> [UInt8] {
        global("torch._utils", "_rebuild_tensor_v2")
            + tuple(
                of: [storage, int(offset), ints(shape), ints(strides), requiresGrad ? yes : no, noHooks]
                    + (metadata.map { [$0] } ?? [])) + reduce
    }

    static func tensorV3(
        _ storage: [UInt8], _ dtype: String, shape: [Int], strides: [Int], offset: Int = 0
    ) -> [UInt8] {
        call(
            "torch._utils", "_rebuild_tensor_v3", storage, int(offset), ints(shape), ints(strides), no, noHooks,
            global("torch", dtype))
    }

    private static func word(_ value: Int) -> [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) } }
}

/// A PyTorch file of the zip format around a pickle.
func torchFile(_ pickle: [UInt8], _ records: [(String, [UInt8])] = [], folder: String = "archive") -> [UInt8] {
    ZipBytes(
        [("data.pkl", pickle), ("version", Array("3\n".utf8))].map { ($0.0, $0.1) }
            .map { ZipBytes.Entry("\(folder)/\($0.0)", $0.1) }
            + records.map { ZipBytes.Entry("\(folder)/\($0.0)", $0.1) }
    ).bytes
}

/// A PyTorch file of the legacy format around a pickle, with storages behind it: key, elements, bytes.
func legacyTorchFile(_ pickle: [UInt8], _ storages: [(key: String, count: Int, bytes: [UInt8])] = []) -> [UInt8] {
    let magic: [UInt8] = [0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19]
    var bytes =
        Pickle.whole(magic) + Pickle.whole(Pickle.int(1001))
        + Pickle.whole(Pickle.dict([("little_endian", Pickle.yes)]))
    bytes += pickle
    bytes += Pickle.whole(Pickle.emptyList, Pickle.mark, storages.flatMap { Pickle.text($0.key) }, Pickle.appends)
    for storage in storages {
        bytes += (0..<8).map { UInt8(truncatingIfNeeded: storage.count >> (8 * $0)) } + storage.bytes
    }
    return bytes
}
