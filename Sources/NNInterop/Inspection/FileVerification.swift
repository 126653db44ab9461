import NNStore

/// What verifying a checkpoint file of any format found.
public struct FileVerification: Sendable {
    /// Something that is wrong.
    public struct Problem: Sendable {
        /// A short name for what sort of thing is wrong: ``NNStore/Problem/Kind``'s, or an error's code.
        public let kind: String
        /// What is wrong, for a person.
        public let message: String
        /// The tensor that it concerns.
        public let tensor: String?
        /// Where in the file, in bytes from its start.
        public let offset: Int?
    }

    /// Everything that is wrong; empty if nothing is.
    public private(set) var problems: [Problem] = []
    /// Whether a checkpoint of a known format is damaged, as opposed to a file that is none.
    public private(set) var isDamaged = false
    /// Whether it is a container of which the sound part can be saved (``NNStore/Checkpoint/recover(_:to:options:limits:)``).
    public private(set) var isRecoverable = false
    /// What was checked, in words.
    public private(set) var summary = ""

    /// Verifies the file at `path`.
    ///
    /// - Parameter progress: called with the bytes that were checked, and how many there are if that is known.
    /// - Throws: ``NNStore/StoreError`` where the system refuses; everything that is wrong with the file itself is
    ///   reported, not thrown.
    public static func run(
        _ path: String, level: VerificationLevel, options: OpenOptions = OpenOptions(),
        progress: (@Sendable (_ done: Int, _ total: Int?) -> Void)? = nil
    ) throws -> FileVerification {
        try run(level, progress) { try CheckpointFiles.open(path, options: options) }
    }

    /// Verifies the file that `source` holds, as ``run(_:level:options:progress:)`` does one at a path.
    public static func run(
        _ source: any ByteSource, level: VerificationLevel, options: OpenOptions = OpenOptions(),
        progress: (@Sendable (_ done: Int, _ total: Int?) -> Void)? = nil
    ) throws -> FileVerification {
        try run(level, progress) { try CheckpointFiles.open(source, options: options) }
    }

    private static func run(
        _ level: VerificationLevel, _ progress: (@Sendable (Int, Int?) -> Void)?,
        _ open: () throws -> any CheckpointFile
    ) throws -> FileVerification {
        var result = FileVerification()
        do {
            let file = try open()
            if let container = file as? ContainerFile {
                result.add(try container.checkpoint.verify(level, progress: progress))
            } else {
                try result.check(file, level, progress)
            }
        } catch let error as StoreError {
            switch error {
            case .damaged(_, let problem):
                result.isDamaged = true
                result.isRecoverable = true
                result.problems.append(
                    Problem(
                        kind: problem.kind.rawValue, message: problem.message, tensor: problem.tensor,
                        offset: problem.offset))
            case .notAContainer, .incomplete, .unsupportedVersion, .unsupportedFeature, .limitExceeded:
                if case .incomplete = error { result.isRecoverable = true }
                result.problems.append(Problem(kind: error.code, message: error.description, tensor: nil, offset: nil))
            default: throw error
            }
        } catch let error as InteropError {
            result.problems.append(Problem(kind: error.code, message: error.description, tensor: nil, offset: nil))
        }
        return result
    }

    private mutating func add(_ report: VerificationReport) {
        isDamaged = !report.isSound
        isRecoverable = !report.isSound
        problems += report.problems.map {
            Problem(kind: $0.kind.rawValue, message: $0.message, tensor: $0.tensor, offset: $0.offset)
        }
        let storages = "\(report.storageCount) storage\(report.storageCount == 1 ? "" : "s")"
        if report.isSound {
            summary = "sound (\(report.level.rawValue) verification, \(storages))"
        } else if report.storageCount > 0 {
            summary = "\(report.soundStorageCount) of \(storages) \(report.soundStorageCount == 1 ? "is" : "are") sound"
        }
    }

    /// Reads everything once: many formats have no checksums, but their bytes must be there and agree.
    private mutating func check(
        _ file: any CheckpointFile, _ level: VerificationLevel, _ progress: (@Sendable (Int, Int?) -> Void)?
    ) throws {
        let state = try file.state()
        _ = try file.metadata()
        let listing = CheckpointListing(state)
        if level != .structure {
            var seen: Set<Storage> = []
            var done = 0
            for tensor in listing.tensors where seen.insert(tensor.tensor.storage).inserted {
                let storage = tensor.tensor.storage
                let bytes = try TensorLayout(.u8, shape: [storage.byteCount])
                do {
                    try StateTensor(storage: storage, layout: bytes).forEachPiece { piece in
                        done += piece.byteCount
                        progress?(done, file.byteCount)
                    }
                } catch let error as InteropError {
                    problems.append(
                        Problem(kind: error.code, message: error.description, tensor: tensor.name, offset: nil))
                }
            }
        }
        if problems.isEmpty {
            let tensors = "\(listing.tensors.count) tensor\(listing.tensors.count == 1 ? "" : "s")"
            if file.hasChecksums {
                summary =
                    level == .structure
                    ? "sound in its structure (\(tensors))" : "sound (\(tensors), checksums compared)"
            } else {
                summary = "sound as far as \(file.formatDescription) can tell, which has no checksums (\(tensors))"
            }
        }
    }
}
