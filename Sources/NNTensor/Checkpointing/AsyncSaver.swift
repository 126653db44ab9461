import NNInterop
import NNStore

/// Saves while the program goes on: a save copies what it needs and returns; the file is written in the background.
///
/// The copy goes to memory that is used again for the next save, so saving takes one snapshot of memory beside the model, never
/// two. What is written is what the tensors held when the save was called, whatever happens to them afterwards.
public final class AsyncSaver: Sendable {
    /// What to do when a save is called while an earlier one is not finished.
    public enum WhenBusy: Sendable {
        /// Wait for it.
        case wait
        /// Stop it, so that its destination stays as it was; but wait for it if it has stopped another one itself, so that one
        /// of two saves gets through however often they come.
        case cancelEarlier
    }

    /// The saver that is used where none is given.
    public static let shared = AsyncSaver()

    private let buffer = SnapshotBuffer()
    private let state = ConditionLock(State())

    private struct State: Sendable {
        var isBusy = false
        var last: PendingSave?
    }

    /// A saver with memory of its own.
    public init() {}

    /// Copies what the tensors of a tree hold now, and saves it in the background, as ``save(_:metadata:to:options:)`` would.
    ///
    /// - Parameters:
    ///   - options: their progress is called on another thread.
    ///   - whenBusy: what to do when an earlier save is not finished; the copy can't be made before it is.
    /// - Returns: the save, to wait for, to watch or to cancel.
    /// - Throws: ``TensorError/earlierSaveFailed(path:reason:)``, before anything is begun, if an earlier save failed and
    ///   nobody was told; `StoreError` if there is not enough memory for the copy.
    @discardableResult
    public func save(
        _ tree: StateTree, metadata: StateTree = [:], to path: String, options: SaveOptions = .replacing,
        whenBusy: WhenBusy = .wait
    ) throws -> PendingSave {
        try save(tree, metadata: metadata, to: path, options: options, whenBusy: whenBusy) {}
    }

    /// - Parameter completion: is called in the background when the file is there; the save fails with what it throws.
    func save(
        _ tree: StateTree, metadata: StateTree, to path: String, options: SaveOptions, whenBusy: WhenBusy,
        completion: @escaping @Sendable () throws -> Void
    ) throws -> PendingSave {
        _ = try WritableFormat.forFile(path)
        // The program may go to another folder meanwhile.
        let path = path.hasPrefix("/") ? path : try SystemCall.resolve(".") + "/" + path
        var options = options
        let save = try begin(path, options.cancellation, whenBusy)
        options.cancellation = save.cancellation
        // Another saver's.
        PendingSaves.wait(for: path)
        let snapshot: StateTree
        do {
            snapshot = try buffer.snapshot(of: tree, threads: options.threads)
        } catch {
            end(nil)
            throw error
        }
        let progress = options.progress
        options.progress = { done, total in
            save.report(done, total)
            progress?(done, total)
        }
        let finalOptions = options
        @Sendable func run() {
            let result = Result {
                try write(snapshot, metadata: metadata, to: path, options: finalOptions)
                try completion()
            }
            save.finish(result)
            end(save)
            PendingSaves.end(save)
        }
        PendingSaves.begin(save)
        // Where the system has no thread to give, the file is written now.
        if Thread.detached(run) == nil { run() }
        return save
    }

    /// Waits until the last save has ended.
    ///
    /// - Throws: what it threw, if nobody was told.
    public func wait() throws {
        let last = state.wait(until: { !$0.isBusy }) { ($0.last, wakes: false) }
        if let error = last?.takeFailure() { throw error }
    }

    /// Takes the buffer for a new save, when the earlier one has given it back.
    private func begin(_ path: String, _ cancellation: Cancellation?, _ whenBusy: WhenBusy) throws -> PendingSave {
        var replaced: PendingSave?
        if whenBusy == .cancelEarlier {
            replaced = state.change { state in
                (state.isBusy && state.last?.isReplacement == false ? state.last : nil, wakes: false)
            }
            replaced?.cancel()
        }
        let save = PendingSave(path, cancellation, isReplacement: replaced != nil)
        let last = state.wait(until: { !$0.isBusy }) { state in
            defer { (state.isBusy, state.last) = (true, save) }
            return (state.last, wakes: false)
        }
        if let error = last?.takeFailure() {
            end(nil)
            throw TensorError.earlierSaveFailed(path: last?.path ?? "", reason: "\(error)")
        }
        return save
    }

    /// Gives the buffer back.
    private func end(_ save: PendingSave?) {
        state.change { state in
            (state.isBusy, state.last) = (false, save)
            return ((), wakes: true)
        }
    }
}

extension Module {
    /// Saves in the background what parameters and buffers hold now; see ``AsyncSaver``.
    ///
    /// - Returns: the save, to wait for, to watch or to cancel.
    /// - Throws: what ``AsyncSaver/save(_:metadata:to:options:whenBusy:)`` throws.
    @discardableResult
    public final func saveAsync(
        to path: String, options: SaveOptions = .replacing, whenBusy: AsyncSaver.WhenBusy = .wait,
        saver: AsyncSaver = .shared
    ) throws -> PendingSave {
        let state = stateDict()
        return try saver.save(
            state.stateTree(), metadata: state.metadata, to: path, options: options, whenBusy: whenBusy)
    }
}

extension TrainingCheckpoint {
    /// ``save(to:step:epoch:_:named:values:metrics:options:)`` in the background, with what all parts hold now; see
    /// ``AsyncSaver``.
    ///
    /// - Returns: the save, to wait for, to watch or to cancel.
    /// - Throws: what ``AsyncSaver/save(_:metadata:to:options:whenBusy:)`` throws.
    @discardableResult
    public static func saveAsync(
        to path: String, step: Int, epoch: Int? = nil, _ parts: any TrainingPart...,
        named: KeyValuePairs<String, any TrainingPart> = [:], values: StateTree = [:], metrics: [String: Double] = [:],
        options: SaveOptions = .replacing, whenBusy: AsyncSaver.WhenBusy = .wait, saver: AsyncSaver = .shared
    ) throws -> PendingSave {
        let contents = try TrainingContents(
            step: step, epoch: epoch, parts: TrainingContents.named(parts, named), values: values, metrics: metrics)
        return try saver.save(
            contents.tree, metadata: contents.metadata, to: path, options: options, whenBusy: whenBusy)
    }
}
