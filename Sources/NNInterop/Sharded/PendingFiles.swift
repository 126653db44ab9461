import NNStore

/// Files that take their places one after another when all of them are written, so that a model of several files is not a
/// mixture of old and new ones where writing fails.
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

    /// Puts the files in place, in the order in which they were asked for.
    ///
    /// - Throws: what putting one in place throws; then those before it that are new are removed.
    func finish() throws {
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
