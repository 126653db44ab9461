import NNStore
import SystemPackage

/// Files of one folder that take their places one after another when all of them are written, so that a model of several files
/// is not a mixture of old and new ones where writing fails.
///
/// The last one names the others. Where others replace files that are there, the old one of it is removed before: whatever
/// happens between, nobody takes a mixture for a model.
final class PendingFiles {
    private let options: ExportOptions
    private var files: [(path: String, isNew: Bool, sink: any ByteSink)] = []

    init(_ options: ExportOptions) { self.options = options }

    /// Gives up on all files that have not taken their places.
    deinit { for file in files { file.sink.abandon() } }

    /// A sink whose bytes wait for ``finish()`` to be at `path`.
    func sink(for path: String) throws -> any ByteSink {
        let isNew = try SystemCall.status(path) == nil
        let sink = try Destination.sink(for: path, options.existing, isDurable: options.isDurable)
        files.append((path, isNew, sink))
        return Waiting(sink: sink)
    }

    /// Puts the files in place, in the order in which they were asked for, while no other save to the folder does so.
    ///
    /// - Throws: what putting one in place throws; then those before it that are new are removed.
    func finish() throws {
        guard let last = files.last else { return }
        let parent = FilePath(last.path).removingLastComponent()
        let folder = parent.isEmpty ? "." : parent.string
        try SystemCall.withFolderLocked(folder) {
            let replacesOthers = try files.dropLast().contains { try SystemCall.status($0.path) != nil }
            if options.existing != .refuse, replacesOthers, try SystemCall.status(last.path) != nil {
                try SystemCall.unlink(last.path)
                if options.isDurable { try SystemCall.syncFolder(folder) }
            }
            try place()
        }
    }

    private func place() throws {
        for (number, file) in files.enumerated() {
            do {
                try file.sink.finish(options.existing)
            } catch {
                var placed = number
                if case .replacedNotDurable = error { placed += 1 }
                for earlier in files[..<placed] where earlier.isNew { try? SystemCall.unlink(earlier.path) }
                throw error
            }
        }
    }

    /// A sink that is not finished by who writes to it.
    private struct Waiting: ByteSink {
        let sink: any ByteSink
        var name: String { sink.name }
        func append(_ bytes: RawSpan) throws(StoreError) { try sink.append(bytes) }
        func finish(_ existing: ExistingDestination) throws(StoreError) {}
        func abandon() { sink.abandon() }
    }
}
