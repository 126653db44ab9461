import NNInterop
import NNStore
import Synchronization

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

/// The checkpoints of one training in a folder, of which the last few, the best, or every so many are kept.
///
/// ```swift
/// let checkpoints = try CheckpointManager(folder: "run1", keep: .newest(3), .best(2, by: "loss"))
/// var step = 0
/// if let last = try checkpoints.newest() {
///     try last.restore(net, optimizer)
///     step = last.step + 1
/// }
/// while step < end {
///     ...
///     if step % 100 == 0 { try checkpoints.saveAsync(step: step, net, optimizer, metrics: ["loss": loss]) }
///     step += 1
/// }
/// try checkpoints.wait()
/// ```
///
/// The files are called `step-100.nnck`. A file is removed only after a newer one is there, whole and on stable storage, and
/// only if no rule keeps it. Files that are damaged or that others were declared to refer to stay.
///
/// Newer is what was saved later: a training that goes back to an earlier step and on from there leaves the files of later
/// steps behind it as older ones.
public final class CheckpointManager: Sendable {
    /// Which checkpoints are kept; one that any rule keeps is kept.
    public enum Rule: Sendable, Hashable {
        /// So many that were saved last. Of those with metrics that are infinite or NaN, the last one before them is kept too.
        case newest(Int)
        /// So many with the best value of a metric, if it is finite. While fewer were saved with it, the last ones without it
        /// make up for them.
        case best(Int, by: String, Order = .lowest)
        /// Those whose step is a multiple.
        case every(Int)
    }

    /// Which values of a metric are better.
    public enum Order: Sendable, Hashable {
        /// Small ones, as of a loss.
        case lowest
        /// Large ones, as of an accuracy.
        case highest
    }

    /// Where the files are.
    public let folder: String
    private let rules: [Rule]
    private let options: SaveOptions
    private let loading: LoadOptions
    private let report: @Sendable (String) -> Void
    private let saver = AsyncSaver()
    private let known = Mutex(Known())

    /// What is known of a checkpoint.
    private struct Record {
        let sequence: Int
        let metrics: [String: Double]

        var isFinite: Bool { metrics.values.allSatisfy(\.isFinite) }
    }

    private struct Known {
        /// Those that were saved or read, by step; `nil` of those that are damaged.
        var records: [Int: Record?] = [:]
        var lastSequence = 0
        /// Whether the program has asked for what was there, or saved something.
        var isTaken = false
    }

    /// Looks after the checkpoints in a folder, which is made if it is not there. What killed saves left there is removed.
    ///
    /// - Parameters:
    ///   - rules: which checkpoints are kept; all, if none are given. The newest one always is.
    ///   - options: how they are saved; an existing file of the same step is replaced.
    ///   - loading: how they are read.
    ///   - report: is told about damaged files that are passed over, in a sentence, perhaps on another thread; standard error,
    ///     unless given.
    /// - Throws: `StoreError` if the folder can't be made or read; ``TensorError/invalidArgument(operation:reason:)`` for a
    ///   rule that keeps nothing, or if saves are not to be durable: older files are removed because newer ones are safe.
    public init(
        folder: String, keep rules: Rule..., options: SaveOptions = .replacing, loading: LoadOptions = LoadOptions(),
        report: @escaping @Sendable (String) -> Void = CheckpointManager.printError
    ) throws {
        for rule in rules {
            let count =
                switch rule {
                case .newest(let count), .best(let count, _, _), .every(let count): count
                }
            guard count > 0 else {
                throw TensorError.invalidArgument(
                    operation: "CheckpointManager", reason: "the rule \(rule) should have a number from 1 on")
            }
        }
        guard options.isDurable else {
            throw TensorError.invalidArgument(
                operation: "CheckpointManager",
                reason: "saves have to be durable, because older checkpoints are removed")
        }
        (self.folder, self.rules, self.options, self.loading, self.report) = (folder, rules, options, loading, report)
        if try SystemCall.status(folder) == nil { try SystemCall.createFolders(folder) }
        _ = try SystemCall.names(in: folder)
        TemporaryFile.removeStale(in: folder)
    }

    /// Prints a line on standard error.
    public static let printError: @Sendable (String) -> Void = { SystemCall.printError($0) }

    // MARK: What is there

    /// The steps of the checkpoints in the folder, ascending; damaged ones too.
    ///
    /// - Throws: `StoreError` if the folder can't be read.
    public var steps: [Int] {
        get throws {
            try SystemCall.names(in: folder).compactMap(CheckpointName.step)
                .filter { try SystemCall.status(path(step: $0))?.kind == .file }.sorted()
        }
    }

    /// Where the checkpoint of a step is, or would be.
    public func path(step: Int) -> String { "\(folder)/\(CheckpointName.name(step))" }

    /// The checkpoint that was saved last of those that are whole; `nil` if the folder has none. All checksums are checked.
    /// Damaged ones are reported and passed over.
    ///
    /// - Throws: ``TensorError/noWholeCheckpoint(folder:damaged:)`` if there are some and all are damaged, so that a training
    ///   does not begin anew where there is something to mend; `StoreError` if a file can't be read for other reasons than
    ///   damage, or needs a newer version of this library.
    public func newest() throws -> TrainingCheckpoint? {
        try saver.wait()
        known.withLock { $0.isTaken = true }
        return try first(of: inOrder(steps).reversed(), isRequired: true)
    }

    /// The checkpoint of a step, all its checksums checked.
    ///
    /// - Throws: `StoreError` if there is none, or if it is damaged.
    public func checkpoint(step: Int) throws -> TrainingCheckpoint {
        try saver.wait()
        known.withLock { $0.isTaken = true }
        return try whole(step)
    }

    /// The whole checkpoint with the best value of a metric; `nil` if none has it.
    ///
    /// - Throws: as ``newest()``.
    public func best(by metric: String, _ order: Order = .lowest) throws -> TrainingCheckpoint? {
        try saver.wait()
        known.withLock { $0.isTaken = true }
        return try first(of: ranking(inOrder(steps), metric, order), isRequired: false)
    }

    /// The first of some checkpoints that is whole.
    private func first(of steps: [Int], isRequired: Bool) throws -> TrainingCheckpoint? {
        var damaged: [String] = []
        for step in steps {
            do {
                return try whole(step)
            } catch let error where CheckpointManager.isDamage(error) {
                known.withLock { $0.records[step] = .some(nil) }
                damaged.append("\(error)")
                report("\(error). It is passed over")
            }
        }
        if damaged.isEmpty || !isRequired { return nil }
        throw TensorError.noWholeCheckpoint(folder: folder, damaged: damaged)
    }

    /// Steps in the order in which they were saved; those that can't be read come last.
    private func inOrder(_ steps: [Int]) -> [Int] {
        steps.map { (step: $0, sequence: record(of: $0)?.sequence ?? .max) }
            .sorted { ($0.sequence, $0.step) < ($1.sequence, $1.step) }.map(\.step)
    }

    private func whole(_ step: Int) throws -> TrainingCheckpoint {
        var options = loading
        options.verifiesFirst = true
        let checkpoint = try TrainingCheckpoint.open(path(step: step), options: options)
        guard checkpoint.step == step else {
            throw TensorError.unexpectedContents(
                file: checkpoint.path, expected: "step \(step), as its name says", found: "step \(checkpoint.step)")
        }
        return checkpoint
    }

    /// Whether an error says that a file is bad, not that it can't be read now or here.
    private static func isDamage(_ error: any Error) -> Bool {
        switch error {
        case StoreError.notAContainer, StoreError.incomplete, StoreError.damaged, TensorError.unexpectedContents: true
        // Not even recognised as a container.
        case is InteropError: true
        // A sector that can't be read.
        case StoreError.system(_, _, EIO): true
        default: false
        }
    }

    // MARK: Saving

    /// Saves a checkpoint, and removes those that no rule keeps.
    ///
    /// - Parameters: as for ``TrainingCheckpoint/save(to:step:epoch:_:named:values:metrics:options:)``.
    /// - Throws: what saving throws; ``TensorError/earlierSaveFailed(path:reason:)``, before anything is begun, if an earlier
    ///   one in the background failed and nobody was told.
    public func save(
        step: Int, epoch: Int? = nil, _ parts: any TrainingPart...,
        named: KeyValuePairs<String, any TrainingPart> = [:],
        values: StateTree = [:], metrics: [String: Double] = [:]
    ) throws {
        try saver.wait()
        let sequence = try nextSequence()
        let contents = try TrainingContents(
            step: step, epoch: epoch, parts: TrainingContents.named(parts, named), values: values, metrics: metrics,
            sequence: sequence)
        try NNTensor.save(contents.tree, metadata: contents.metadata, to: path(step: step), options: options)
        finish(step, Record(sequence: sequence, metrics: metrics))
    }

    /// Saves a checkpoint in the background, with what all parts hold now, and removes those that no rule keeps when it is
    /// there; see ``AsyncSaver``.
    ///
    /// - Parameter whenBusy: what to do when the checkpoint before it is not finished.
    /// - Returns: the save, to wait for, to watch or to cancel.
    /// - Throws: ``TensorError/earlierSaveFailed(path:reason:)``, before anything is begun, if an earlier one failed and
    ///   nobody was told; what making a snapshot throws.
    @discardableResult
    public func saveAsync(
        step: Int, epoch: Int? = nil, _ parts: any TrainingPart...,
        named: KeyValuePairs<String, any TrainingPart> = [:],
        values: StateTree = [:], metrics: [String: Double] = [:], whenBusy: AsyncSaver.WhenBusy = .wait
    ) throws -> PendingSave {
        let sequence = try nextSequence()
        let contents = try TrainingContents(
            step: step, epoch: epoch, parts: TrainingContents.named(parts, named), values: values, metrics: metrics,
            sequence: sequence)
        return try saver.save(
            contents.tree, metadata: contents.metadata, to: path(step: step), options: options, whenBusy: whenBusy
        ) { self.finish(step, Record(sequence: sequence, metrics: metrics)) }
    }

    /// Waits until all saves have ended.
    ///
    /// - Throws: what the last one threw, if nobody was told.
    public func wait() throws { try saver.wait() }

    /// The number of the next save.
    ///
    /// - Throws: ``TensorError/invalidArgument(operation:reason:)`` if there are checkpoints that the program has not asked
    ///   for: a training that began anew would remove them.
    private func nextSequence() throws -> Int {
        let steps = try steps
        let isTaken = known.withLock { known in
            defer { known.isTaken = true }
            return known.isTaken
        }
        if !isTaken, let last = steps.last {
            known.withLock { $0.isTaken = false }
            throw TensorError.invalidArgument(
                operation: "CheckpointManager",
                reason:
                    "\(folder) has checkpoints of an earlier training, up to step \(last), which new ones would replace. "
                    + "Go on from them with newest(), or choose another folder")
        }
        for step in steps { _ = record(of: step) }
        return known.withLock { known in
            // A save that is on its way may not have been noted yet; its number is that of the counter.
            let noted = known.records.values.compactMap { $0?.sequence }.max() ?? 0
            known.lastSequence = Swift.max(noted, known.lastSequence) + 1
            return known.lastSequence
        }
    }

    // MARK: Removing

    /// Notes a checkpoint that is there now, and removes what no rule keeps. The new one is safe: what goes wrong here is
    /// reported, not thrown.
    private func finish(_ step: Int, _ record: Record) {
        known.withLock { $0.records[step] = .some(record) }
        if rules.isEmpty { return }
        let superfluous: [Int]
        do {
            superfluous = try self.superfluous(besides: step)
        } catch {
            return report("\(error). Older checkpoints than that of step \(step) may have stayed in \(folder)")
        }
        for step in superfluous {
            let path = path(step: step)
            do {
                if try Checkpoint.open(path).isReferencedByOthers { continue }
                try SystemCall.unlink(path)
                known.withLock { $0.records[step] = nil }
            } catch {
                report("\(error). The checkpoint was to be removed, and may have stayed")
            }
        }
    }

    /// The steps that no rule keeps, besides one.
    private func superfluous(besides saved: Int) throws -> [Int] {
        // What can't be read is left alone, and counts for nothing.
        let steps = inOrder(try steps.filter { record(of: $0) != nil })
        var kept: Set<Int> = [saved]
        if let newest = steps.last { kept.insert(newest) }
        // A training that has come to infinities must not push out the last state from before.
        if let finite = steps.last(where: { record(of: $0)?.isFinite ?? false }) { kept.insert(finite) }
        for rule in rules {
            switch rule {
            case .newest(let count): kept.formUnion(steps.suffix(count))
            case .best(let count, let metric, let order):
                let best = ranking(steps, metric, order).prefix(count)
                kept.formUnion(best)
                let unrated = steps.filter { record(of: $0)?.metrics[metric] == nil }
                kept.formUnion(unrated.suffix(count - best.count))
            case .every(let multiple): kept.formUnion(steps.filter { $0.isMultiple(of: multiple) })
            }
        }
        return steps.filter { !kept.contains($0) }
    }

    /// The steps with a metric, best first; of equal ones the one that was saved last first.
    private func ranking(_ steps: [Int], _ metric: String, _ order: Order) -> [Int] {
        let rated = steps.enumerated().compactMap { place, step -> (step: Int, value: Double, place: Int)? in
            guard let value = record(of: step)?.metrics[metric], value.isFinite else { return nil }
            return (step, order == .lowest ? value : -value, -place)
        }
        return rated.sorted { ($0.value, $0.place) < ($1.value, $1.place) }.map(\.step)
    }

    private func record(of step: Int) -> Record? {
        if let record = known.withLock({ $0.records[step] }) { return record }
        let found = try? TrainingCheckpoint.openPresent(path(step: step), options: loading)
        let record = found.flatMap { $0.step == step ? Record(sequence: $0.sequence, metrics: $0.metrics) : nil }
        known.withLock { $0.records[step] = .some(record) }
        return record
    }
}

/// The names of checkpoints in a folder.
enum CheckpointName {
    private static let prefix = "step-"
    private static let suffix = ".nnck"

    static func name(_ step: Int) -> String { "\(prefix)\(step)\(suffix)" }

    /// The step of a file's name, if it is just what ``name(_:)`` gives for it.
    static func step(_ name: String) -> Int? {
        guard name.hasPrefix(prefix), name.hasSuffix(suffix),
            let step = Int(name.dropFirst(prefix.count).dropLast(suffix.count)), step >= 0, self.name(step) == name
        else { return nil }
        return step
    }
}
