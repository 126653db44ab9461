/// What the library keeps for itself in the root of metadata (spec section 8).
package enum LibraryMetadata {
    /// Where a training checkpoint says of itself what it is.
    package static let trainingKey = "nnck.training"

    /// Where a container says that it is what could be saved of a damaged one.
    private static let recoveredKey = "nnck.recovered"

    /// The flat names of tensors that are missing from what could be saved of a damaged container; `nil` if it is none.
    package static func lostTensors(_ metadata: StateTree) -> [String]? {
        guard let note = metadata[recoveredKey] else { return nil }
        if case .strings(let lost)? = note["lost"] { return lost }
        return []
    }

    /// Notes what was lost; what was lost before stays noted.
    static func noteRecovery(_ report: RecoveryReport, of contentID: Digest, in metadata: inout StateDictionary) {
        let lost = (lostTensors(.dictionary(metadata)) ?? []) + report.lost.map(\.name)
        var isMetadataWhole = !report.isMetadataLost
        if case .boolean(false)? = metadata[recoveredKey]?["metadata"] { isMetadataWhole = false }
        metadata[recoveredKey] = [
            "from": .string("\(contentID)"), "lost": .strings(lost),
            "metadata": .boolean(isMetadataWhole),
        ]
    }

    /// Whether a key is the library's and not the user's.
    package static func isReserved(_ key: String) -> Bool { key.utf8.starts(with: "nnck.".utf8) }
}
