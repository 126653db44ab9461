/// Format 2 encodes chunks in planes and stores equal ones once; all else is as in format 1 (spec section 7).
struct Format1To2: MigrationStep {
    let older = 1
    let newer = 2

    /// Nothing: format 1 can encode every chunk.
    func lossGoingBack(_ checkpoint: Checkpoint) throws(StoreError) -> String? { nil }

    func keeps(_ encoding: ChunkEncoding, _ compression: Compression, in target: Int) -> Bool {
        if target == newer {
            // Every chunk of format 1 would be valid; but to be smaller is what the newer format is for.
            return compression == .none
        }
        return encoding.planes == nil && encoding.constant == nil
    }
}
