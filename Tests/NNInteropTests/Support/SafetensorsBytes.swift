import NNStore

/// The bytes of a safetensors file with any header.
func safetensors(_ header: String, data: [UInt8] = []) -> [UInt8] { safetensors(Array(header.utf8), data: data) }

func safetensors(_ header: [UInt8], data: [UInt8]) -> [UInt8] {
    (0..<8).map { UInt8(truncatingIfNeeded: header.count >> (8 * $0)) } + header + data
}

/// The header of a safetensors file.
func header(of file: [UInt8]) -> String {
    let size = file.prefix(8).reversed().reduce(0) { $0 << 8 | Int($1) }
    return String(decoding: file[8..<8 + size], as: UTF8.self)
}

/// The bytes of a tensor's elements.
func elements(_ tensor: StateTensor) throws -> [UInt8] {
    var bytes: [UInt8] = []
    try tensor.forEachPiece { piece in bytes += piece.array }
    return bytes
}

/// Counting bytes.
func counting(_ count: Int) -> [UInt8] { (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ 1) } }
