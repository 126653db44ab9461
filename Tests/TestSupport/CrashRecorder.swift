import NNStore
import Synchronization

/// Records what work does to a folder, and tells what a power cut may leave of it at any moment.
///
/// The model is one of a disk that keeps no more than it must: a file's bytes are what they were when it was last synced,
/// and of the writes since then any have arrived, each torn at 512 bytes. A change of names has arrived for certain when the
/// folder was synced after it; of those since then, the first few have, in their order, as with a journal.
package final class CrashRecorder: SystemCallObserver {
    private enum Event {
        case wrote(file: Int, offset: Int, bytes: [UInt8])
        case synced(file: Int)
        case named(NameChange)
        case folderSynced
    }

    private enum NameChange {
        case add(name: String, file: Int)
        case move(from: String, to: String)
        case remove(name: String)

        func apply(to names: inout [String: Int]) {
            switch self {
            case .add(let name, let file): names[name] = file
            case .move(let from, let to): names[to] = names.removeValue(forKey: from)
            case .remove(let name): names[name] = nil
            }
        }
    }

    private struct State {
        /// Files by the names they have now.
        var files: [String: Int] = [:]
        var positions: [Int: Int] = [:]
        var initial: [Int: [UInt8]] = [:]
        var events: [Event] = []
        var fileCount = 0
    }

    private let initialNames: [String: Int]
    private let state = Mutex(State())

    /// - Parameter files: the paths and bytes of what is in the folder, on stable storage.
    package init(files: [String: [UInt8]]) {
        let paths = files.keys.sorted()
        initialNames = Dictionary(uniqueKeysWithValues: paths.enumerated().map { ($1, $0) })
        let initial = Dictionary(uniqueKeysWithValues: paths.enumerated().map { ($0, files[$1]!) })
        state.withLock { state in
            state.files = initialNames
            state.initial = initial
            state.fileCount = paths.count
        }
    }

    // MARK: Recording

    package func succeeded(_ call: ObservedCall) {
        state.withLock { state in
            switch call.kind {
            case .create:
                state.files[call.path] = state.fileCount
                state.positions[state.fileCount] = 0
                state.initial[state.fileCount] = []
                state.events.append(.named(.add(name: call.path, file: state.fileCount)))
                state.fileCount += 1
            case .sync:
                if let file = state.files[call.path] { state.events.append(.synced(file: file)) }
            case .syncFolder: state.events.append(.folderSynced)
            case .rename, .renameIfAbsent:
                state.files[call.target!] = state.files.removeValue(forKey: call.path)
                state.events.append(.named(.move(from: call.path, to: call.target!)))
            case .link:
                state.files[call.target!] = state.files[call.path]
                state.events.append(.named(.add(name: call.target!, file: state.files[call.path]!)))
            case .unlink:
                state.files[call.path] = nil
                state.events.append(.named(.remove(name: call.path)))
            default: break
            }
        }
    }

    package func wrote(_ bytes: RawSpan, to path: String) {
        state.withLock { state in
            guard let file = state.files[path] else { return }
            let offset = state.positions[file]!
            let copy = bytes.array
            state.events.append(.wrote(file: file, offset: offset, bytes: copy))
            state.positions[file] = offset + bytes.byteCount
        }
    }

    package func seeked(to offset: Int, in path: String) {
        state.withLock { state in
            if let file = state.files[path] { state.positions[file] = offset }
        }
    }

    // MARK: What a power cut leaves

    /// How many moments there are: before the first event, and after each.
    package var momentCount: Int { state.withLock { $0.events.count + 1 } }

    /// Calls `body` with the files, by name, that a power cut at any moment may leave: for each moment and each number of
    /// changes of names that have arrived, with none of the writes since the last sync, all of them, and `samples` random
    /// parts of them.
    package func forEachState(
        samples: Int, using generator: inout some RandomNumberGenerator,
        _ body: (_ moment: Int, _ files: [String: [UInt8]]) throws -> Void
    ) throws {
        let (events, initial) = state.withLock { ($0.events, $0.initial) }
        for moment in 0...events.count {
            var durable = initial
            var pending: [Int: [(offset: Int, bytes: [UInt8])]] = [:]
            var names = initialNames
            var changes: [NameChange] = []
            for event in events[..<moment] {
                switch event {
                case .wrote(let file, let offset, let bytes): pending[file, default: []].append((offset, bytes))
                case .synced(let file):
                    for write in pending.removeValue(forKey: file) ?? [] {
                        CrashRecorder.apply(write.bytes[...], at: write.offset, to: &durable[file]!)
                    }
                case .named(let change): changes.append(change)
                case .folderSynced:
                    for change in changes { change.apply(to: &names) }
                    changes = []
                }
            }
            for arrived in 0...changes.count {
                if arrived > 0 { changes[arrived - 1].apply(to: &names) }
                for sample in 0..<samples + 2 {
                    var files: [String: [UInt8]] = [:]
                    for (name, file) in names {
                        files[name] = CrashRecorder.contents(
                            durable[file]!, pending[file] ?? [], sample, using: &generator)
                    }
                    try body(moment, files)
                    // Without pending writes all samples are one.
                    if names.values.allSatisfy({ pending[$0] == nil }) { break }
                }
            }
        }
    }

    private static let sector = 512

    private static func contents(
        _ durable: [UInt8], _ pending: [(offset: Int, bytes: [UInt8])], _ sample: Int,
        using generator: inout some RandomNumberGenerator
    ) -> [UInt8] {
        var contents = durable
        if sample == 0 { return contents }
        for write in pending {
            var start = 0
            while start < write.bytes.count {
                let end = min(write.bytes.count, ((write.offset + start) / sector + 1) * sector - write.offset)
                if sample == 1 || Bool.random(using: &generator) {
                    apply(write.bytes[start..<end], at: write.offset + start, to: &contents)
                }
                start = end
            }
        }
        return contents
    }

    private static func apply(_ bytes: ArraySlice<UInt8>, at offset: Int, to contents: inout [UInt8]) {
        let end = offset + bytes.count
        if contents.count < end { contents += [UInt8](repeating: 0, count: end - contents.count) }
        contents.replaceSubrange(offset..<end, with: bytes)
    }
}
