import CCodec
import CXXHash

/// An XXH3-64 checksum (xxHash 0.8), stored most significant byte first.
package struct Checksum64: Sendable, Hashable, CustomStringConvertible {
    package let value: UInt64

    package init(value: UInt64) { self.value = value }

    /// The checksum of `bytes`.
    package init(of bytes: RawSpan, seed: UInt64 = 0) {
        value = unsafe bytes.withUnsafeBytes { unsafe nnstore_xxh3_64($0.baseAddress, $0.count, seed) }
    }

    /// The checksum whose canonical form is at `offset`.
    package init(in bytes: RawSpan, at offset: Int) {
        value = UInt64(bigEndian: bytes.littleEndian(at: offset))
    }

    /// The canonical form.
    package func append(to bytes: inout [UInt8]) { bytes.append(littleEndian: value.bigEndian) }

    /// 16 hexadecimal digits.
    package var description: String { hexadecimal(value) }
}

/// An XXH3-128 digest (xxHash 0.8): 16 bytes in canonical form, most significant byte first.
///
/// It guards against accidents, not against malice.
public struct Digest: Sendable, Hashable, CustomStringConvertible {
    let high: UInt64
    let low: UInt64

    init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    /// The digest of `bytes`.
    public init(of bytes: RawSpan) {
        let hash = unsafe bytes.withUnsafeBytes { unsafe nnstore_xxh3_128($0.baseAddress, $0.count) }
        self.init(high: hash.high, low: hash.low)
    }

    /// The digest whose canonical form is at `offset`.
    init(in bytes: RawSpan, at offset: Int) {
        self.init(
            high: UInt64(bigEndian: bytes.littleEndian(at: offset)),
            low: UInt64(bigEndian: bytes.littleEndian(at: offset + 8)))
    }

    /// The canonical form, 16 bytes.
    public var bytes: [UInt8] {
        var bytes: [UInt8] = []
        bytes.append(littleEndian: high.bigEndian)
        bytes.append(littleEndian: low.bigEndian)
        return bytes
    }

    /// 32 hexadecimal digits.
    public var description: String { hexadecimal(high) + hexadecimal(low) }
}

private func hexadecimal(_ value: UInt64) -> String {
    let digits = String(value, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
}

/// Computes an XXH3-128 digest piece by piece.
///
/// Sound: the state is allocated and freed by this object alone, which does not give it out.
@safe final class DigestBuilder {
    private let state: OpaquePointer

    init() throws(StoreError) {
        guard let state = unsafe XXH3_createState() else {
            throw .library(name: "xxHash", operation: "begin a digest", message: "out of memory")
        }
        unsafe self.state = state
        unsafe XXH3_128bits_reset(state)
    }

    deinit { unsafe XXH3_freeState(state) }

    /// Adds bytes.
    func update(_ bytes: RawSpan) {
        unsafe bytes.withUnsafeBytes { _ = unsafe XXH3_128bits_update(state, $0.baseAddress, $0.count) }
    }

    /// The digest of all bytes so far.
    func digest() -> Digest {
        let hash = unsafe XXH3_128bits_digest(state)
        return Digest(high: hash.high64, low: hash.low64)
    }
}
