/// What changes between a format version and the one before it, in both directions.
///
/// A new version of the format adds one step, in a file of its own, to the list of all steps below.
protocol MigrationStep: Sendable {
    /// The older version; a container of any minor version of it can take the step.
    var older: FormatVersion { get }
    /// The newer version.
    var newer: FormatVersion { get }

    /// What would be lost on the way back to the older version; `nil` if nothing would.
    func lossGoingBack(_ checkpoint: Checkpoint) throws(StoreError) -> String?

    /// Whether a chunk can stand in a container of `target`, one of the two versions, as it is encoded.
    ///
    /// - Parameter compression: what the container was saved with.
    func keeps(_ encoding: ChunkEncoding, _ compression: Compression, in target: FormatVersion) -> Bool
}

extension [any MigrationStep] {
    /// All steps, oldest first, each from where the one before it ends.
    static var all: [any MigrationStep] { [Format1To2()] }
}

/// The steps from one version to another, and the version after each.
struct MigrationPath: Sendable {
    let steps: [(step: any MigrationStep, target: FormatVersion)]

    /// - Throws: ``StoreError/invalidArgument(reason:)`` if there is no such way.
    init(from source: FormatVersion, to target: FormatVersion, file: String) throws(StoreError) {
        let all: [any MigrationStep] = .all
        var steps: [(step: any MigrationStep, target: FormatVersion)] = []
        if source.major < target.major {
            steps = all.filter { $0.older.major >= source.major && $0.newer <= target }.map { ($0, $0.newer) }
        } else if source.major > target.major {
            steps = all.reversed().filter { $0.newer.major <= source.major && $0.older >= target }
                .map { ($0, $0.older) }
        }
        guard steps.last?.target ?? source == target else {
            throw .invalidArgument(
                reason: "\(file): there is no way from container format \(source) to \(target); this library writes "
                    + FileLayout.writtenVersions.map(\.description).joined(separator: " and "))
        }
        self.steps = steps
    }

    /// The steps as a history has them.
    func history(from source: FormatVersion) -> [HistoryStep] {
        var version = source
        return steps.map { step in
            defer { version = step.target }
            return HistoryStep(
                action: "migrated", fromVersion: version.description, toVersion: step.target.description,
                by: Library.name)
        }
    }

    /// Whether a chunk goes all the way as it is encoded.
    func keeps(_ encoding: ChunkEncoding, _ compression: Compression) -> Bool {
        steps.allSatisfy { $0.step.keeps(encoding, compression, in: $0.target) }
    }

    /// What would be lost on the way; `nil` if nothing would.
    func loss(_ checkpoint: Checkpoint) throws(StoreError) -> String? {
        for (step, target) in steps where target == step.older {
            if let loss = try step.lossGoingBack(checkpoint) { return loss }
        }
        return nil
    }
}
