/// What the library keeps for itself in the root of metadata (spec section 8).
package enum LibraryMetadata {
    /// Where a training checkpoint says of itself what it is.
    package static let trainingKey = "nnck.training"

    /// Whether a key is the library's and not the user's.
    package static func isReserved(_ key: String) -> Bool { key.utf8.starts(with: "nnck.".utf8) }
}
