/// What changes between a format version and the one before it, in both directions.
///
/// A new version of the format adds one step, in a file of its own, to the list of all steps below.
protocol MigrationStep: Sendable {
    /// The older major version.
    var older: Int { get }
    /// The newer major version.
    var newer: Int { get }

    /// What would be lost on the way back to the older version; `nil` if nothing would.
    func lossGoingBack(_ checkpoint: Checkpoint) throws(StoreError) -> String?

    /// Whether a chunk can stand in a container of `target`, one of the two versions, as it is encoded.
    ///
    /// - Parameter compression: what the container was saved with.
    func keeps(_ encoding: ChunkEncoding, _ compression: Compression, in target: Int) -> Bool
}

extension [any MigrationStep] {
    /// All steps, oldest first, each from where the one before it ends.
    static var all: [any MigrationStep] { [Format1To2()] }
}

/// The steps from one version to another, and the major version after each.
///
/// Between minor versions of one major version there is no step: what their containers hold, and how, is the same.
struct MigrationPath: Sendable {
    let steps: [(step: any MigrationStep, target: Int)]
    private let target: FormatVersion

    /// - Throws: ``StoreError/invalidArgument(reason:)`` if there is no such way.
    init(from source: FormatVersion, to target: FormatVersion, file: String) throws(StoreError) {
        let all: [any MigrationStep] = .all
        var steps: [(step: any MigrationStep, target: Int)] = []
        if source.major < target.major {
            steps = all.filter { $0.older >= source.major && $0.newer <= target.major }.map { ($0, $0.newer) }
        } else if source.major > target.major {
            steps = all.reversed().filter { $0.newer <= source.major && $0.older >= target.major }
                .map { ($0, $0.older) }
        }
        guard FileLayout.writtenVersions.contains(target), steps.last?.target ?? source.major == target.major else {
            throw .invalidArgument(
                reason: "\(file): there is no way from container format \(source) to \(target); this library writes "
                    + FileLayout.writtenVersionsText)
        }
        self.steps = steps
        self.target = target
    }

    /// The steps as a history has them: a version between is the newest of its major version.
    func history(from source: FormatVersion) -> [HistoryStep] {
        var versions = steps.dropLast().map { step in FileLayout.writtenVersions.last { $0.major == step.target }! }
        if source != target { versions.append(target) }
        return zip([source] + versions, versions).map { from, to in
            HistoryStep(
                action: "migrated", fromVersion: from.description, toVersion: to.description, by: Library.name)
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
