/// A GGUF file put together by hand.
struct GGUFBytes {
    var version: Int = 3
    var tensorCount: Int?
    var valueCount: Int?
    var values: [[UInt8]] = []
    var tensors: [[UInt8]] = []
    var data: [UInt8] = []
    var alignment = 32
    var isBigEndian = false

    static func text(_ text: String) -> [UInt8] { le(text.utf8.count, 8) + text.utf8 }

    static func value(_ key: String, _ type: Int, _ bytes: [UInt8]) -> [UInt8] { text(key) + le(type, 4) + bytes }

    static func array(_ key: String, _ type: Int, _ count: Int, _ bytes: [UInt8]) -> [UInt8] {
        value(key, 9, le(type, 4) + le(count, 8) + bytes)
    }

    /// - Parameter shape: in ggml's order.
    static func tensor(_ name: String, _ shape: [Int], _ type: Int, at offset: Int, rank: Int? = nil) -> [UInt8] {
        text(name) + le(rank ?? shape.count, 4) + shape.flatMap { le($0, 8) } + le(type, 4) + le(offset, 8)
    }

    var bytes: [UInt8] {
        var bytes =
            Array("GGUF".utf8) + le(version, 4) + le(tensorCount ?? tensors.count, 8)
            + le(valueCount ?? values.count, 8)
        bytes += values.flatMap(\.self) + tensors.flatMap(\.self)
        if !tensors.isEmpty { bytes += [UInt8](repeating: 0, count: (alignment - bytes.count % alignment) % alignment) }
        return bytes + data
    }
}
