import COpenBLAS
import NNStore

/// What a training checkpoint says of itself, in the container's metadata (spec section 8, `nnck.training`).
enum TrainingRecord {
    static let key = LibraryMetadata.trainingKey

    static func isPresent(in metadata: StateTree) -> Bool { metadata[key] != nil }

    /// The record of a checkpoint that is saved now.
    ///
    /// - Parameters:
    ///   - types: the parts' types by their names.
    ///   - sequence: the number of the save among all in its folder.
    static func current(types: [(String, String)], sequence: Int) -> StateTree {
        let environment = TrainingEnvironment.current
        return .dictionary([
            ("version", 1), ("library", .string(environment.library)), ("kernel", .string(environment.kernel)),
            ("sequence", .integer(sequence)), ("types", .dictionary(types.map { ($0.0, .string($0.1)) })),
        ])
    }

    /// The type of a part that was saved.
    static func type(of part: String, in metadata: StateTree) -> String? { metadata[key]?["types"]?[part]?.string }

    /// The number of the save among all in its folder; 0 if it was not numbered.
    static func sequence(in metadata: StateTree) -> Int {
        metadata[key]?["sequence"]?.int.flatMap { TrainingContents.counts.contains($0) ? $0 : nil } ?? 0
    }

    /// Where the checkpoint was saved.
    ///
    /// - Throws: ``TensorError/unexpectedContents(file:expected:found:)`` if it is no training checkpoint, or a newer one.
    static func environment(in metadata: StateTree, file: String) throws -> TrainingEnvironment {
        guard let record = metadata[key] else {
            throw TensorError.unexpectedContents(
                file: file, expected: "a training checkpoint",
                found: "something else. To take only a model from it, use its load(from:)")
        }
        guard let version = record["version"]?.int, version == 1 else {
            throw TensorError.unexpectedContents(
                file: file, expected: "a training checkpoint of version 1, which this program knows",
                found: "one of version \(record["version"].map(OpenedCheckpoint.plain) ?? "?"). Use a newer program")
        }
        return TrainingEnvironment(
            library: record["library"]?.string ?? "", kernel: record["kernel"]?.string ?? "")
    }
}

/// What equal bits depend on, beside the program: the version of the library, and the loops that are used for the processor.
public struct TrainingEnvironment: Sendable, Hashable {
    /// The library and its version.
    public let library: String
    /// The processor's kind, as the library of matrix products calls it.
    public let kernel: String

    /// That of this process.
    public static var current: TrainingEnvironment {
        TrainingEnvironment(library: Library.name, kernel: unsafe String(cString: openblas_get_corename()))
    }
}
