import NNStore

/// What comparing two checkpoints can be told.
public struct ComparisonOptions: Sendable {
    /// Whether the metadata are left out.
    public var ignoresMetadata: Bool
    /// The most bytes of tensors that are gone through; expanded and overlapping ones can stand for any number of them.
    public var maximumByteCount: Int
    /// How many threads compare; all processors, unless set.
    public var threads: Int?
    /// Asks the comparison to stop.
    public var cancellation: Cancellation?
    /// Called with the bytes of the tensors that were compared, and their total.
    public var progress: (@Sendable (_ done: Int, _ total: Int?) -> Void)?

    /// Everything is compared, without a limit, unless told otherwise.
    public init(
        ignoresMetadata: Bool = false, maximumByteCount: Int = .max, threads: Int? = nil,
        cancellation: Cancellation? = nil, progress: (@Sendable (_ done: Int, _ total: Int?) -> Void)? = nil
    ) {
        self.ignoresMetadata = ignoresMetadata
        self.maximumByteCount = maximumByteCount
        self.threads = threads
        self.cancellation = cancellation
        self.progress = progress
    }
}

/// How two checkpoint files of any format differ.
///
/// Entries are matched by their paths; by their flat names where one of the files is no container, because other formats
/// have no nesting. Tensors are equal if their dtypes, shapes and elements are, wherever the elements lie in their
/// storages. The order of a dictionary's entries is not compared, and neither is what does not belong to the content:
/// compression, format version, history.
///
/// Containers have a digest of every storage and of every chunk of it, so what is equal is not read there; of a file
/// without digests they are computed from its bytes. Only chunks that differ are compared element by element, a few
/// megabytes at a time; tensors whose elements lie in different orders with up to 64 MiB of each file in memory.
public struct CheckpointComparison: Sendable {
    /// The entries of the state tree that differ: in the order of the first file's tree, then those that only the second
    /// one has in its order.
    public let entries: [EntryDifference]
    /// The entries of the metadata that differ, in the same order. Entries beginning with `nnck.` count only if both
    /// files are containers.
    public let metadata: [EntryDifference]
    /// The names of tensors that share a storage in the first file and not, or with others, in the second one. Only
    /// tensors that both files have are looked at.
    public let aliasGroupsOnlyInFirst: [[String]]
    /// The names of tensors that share a storage in the second file and not, or with others, in the first one.
    public let aliasGroupsOnlyInSecond: [[String]]
    /// How many tensors and other leaves are equal; `nil` if nobody had to look, because the content ids are.
    public let equalEntryCount: Int?

    /// Whether there is no difference.
    public var isEqual: Bool {
        entries.isEmpty && metadata.isEmpty && aliasGroupsOnlyInFirst.isEmpty && aliasGroupsOnlyInSecond.isEmpty
    }

    /// Compares two files.
    ///
    /// - Throws: ``NNStore/StoreError/limitExceeded(file:what:limit:found:)`` if there is more to go through than
    ///   `options` allow; what reading the files throws.
    public init(
        _ first: any CheckpointFile, _ second: any CheckpointFile, options: ComparisonOptions = ComparisonOptions()
    ) throws {
        let containers = ((first as? ContainerFile)?.checkpoint, (second as? ContainerFile)?.checkpoint)
        if let one = containers.0, let other = containers.1, one.contentID == other.contentID {
            (entries, metadata, aliasGroupsOnlyInFirst, aliasGroupsOnlyInSecond) = ([], [], [], [])
            equalEntryCount = nil
            return
        }
        let areContainers = containers.0 != nil && containers.1 != nil
        let states = (try first.state(), try second.state())
        let trees = MatchedEntries(states.0, states.1, byName: !areContainers)
        let effort = ComparisonEffort(
            file: first.name, limit: options.maximumByteCount, progress: options.progress)
        var comparison = EntryComparison(
            digests: (try StorageDigests(first, states.0), try StorageDigests(second, states.1)), effort: effort,
            threads: Workers.count(options.threads), cancellation: options.cancellation)
        entries = try comparison.differences(trees)
        equalEntryCount = comparison.equalCount
        metadata =
            options.ignoresMetadata
            ? []
            : try comparison.differences(
                MatchedEntries(
                    CheckpointComparison.metadata(first, all: areContainers),
                    CheckpointComparison.metadata(second, all: areContainers), byName: false))
        (aliasGroupsOnlyInFirst, aliasGroupsOnlyInSecond) = trees.aliasDifferences
    }

    private static func metadata(_ file: any CheckpointFile, all: Bool) throws -> StateTree {
        let metadata = try file.metadata()
        guard !all, case .dictionary(let entries) = metadata else { return metadata }
        return .dictionary(entries.withoutLibraryEntries)
    }
}

/// An entry that two checkpoints do not have in common, or not as it is.
public struct EntryDifference: Sendable {
    /// What became of an entry on the way from the first file to the second.
    public enum Change: String, Sendable, CaseIterable {
        /// Only the second file has it.
        case added
        /// Only the first file has it.
        case removed
        /// Both have it, and it is not the same.
        case changed
    }

    /// In what an entry is not the same: before and after.
    public enum Aspect: Sendable, Hashable {
        /// What sort of node it is: ``NNStore/StateTree``'s cases by name.
        case kind(String, String)
        /// The foreign type that it stood for.
        case tag(String?, String?)
        /// The type of a tensor's elements.
        case dtype(DType, DType)
        /// A tensor's shape.
        case shape([Int], [Int])
        /// Whether gradients are wanted for a tensor.
        case requiresGrad(Bool, Bool)
        /// A tensor's elements; looked at only where dtype and shape are the same.
        case values(ElementDifferences)
        /// A plain value, as short texts that show where it differs.
        case value(String, String)
    }

    /// What became of it.
    public let change: Change
    /// The keys from the root, in the file that has it; in the first one if both have.
    public let path: StatePath
    /// The entry in the first file; `nil` if it was added. Tensors' bytes are not read yet.
    public let first: StateTree?
    /// The entry in the second file; `nil` if it was removed.
    public let second: StateTree?
    /// In what it changed; empty if it was added or removed.
    public let aspects: [Aspect]

    /// The flat name.
    public var name: String { path.flatName }
}
