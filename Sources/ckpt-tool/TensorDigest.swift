import Crypto
import NNStore

extension StateTensor {
    /// The SHA-256 of the elements in row-major order, little-endian: 64 lowercase hexadecimal digits.
    ///
    /// Unlike the container's own digests it is the same for every format, and it guards against malice too.
    ///
    /// - Throws: what reading the bytes throws.
    func sha256() throws -> String {
        var hash = SHA256()
        try forEachPiece { piece in
            piece.withUnsafeBytes { hash.update(bufferPointer: $0) }
        }
        let digits = Array("0123456789abcdef")
        return String(hash.finalize().flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] })
    }
}
