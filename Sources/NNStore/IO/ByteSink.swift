import SystemPackage

/// What to do with a destination that exists.
public enum ExistingDestination: Sendable, Hashable {
    /// Leave it alone and throw ``StoreError/destinationExists(path:)``.
    case refuse
    /// Replace it, in one step, by the finished file; but leave a container alone that other files were declared to
    /// refer to, and throw ``StoreError/destinationReferenced(path:)``.
    case replace
    /// Replace it even then.
    case replaceReferenced
}

/// Something that bytes are written to from front to back: a file, a pipe, an object in a store.
public protocol ByteSink {
    /// What messages call it.
    var name: String { get }

    /// Appends bytes.
    func append(_ bytes: RawSpan) throws(StoreError)

    /// Makes what was appended the object's contents, on stable storage, as a whole. Called once, last.
    func finish(_ existing: ExistingDestination) throws(StoreError)

    /// Gives up: the destination stays as it was, and nothing is left behind. Does nothing after a `finish` that
    /// succeeded.
    func abandon()
}

/// A file that appears at its destination as a whole or not at all (DESIGN: a container is immutable).
///
/// The bytes go to a temporary file in the destination's folder, which is synced and renamed over the destination;
/// then the folder is synced. At every instant the destination is the old file or the new one.
package final class FileSink: ByteSink {
    /// The destination.
    package let name: String
    private let destination: String
    private let temporary: TemporaryFile
    private let permissions: UInt32?
    private let isDurable: Bool
    private var isFinished = false
    private var position = 0
    private var writing = Writing.undecided

    /// How bytes reach the disk. A file that is to be on stable storage when it is finished gets there sooner past the
    /// page cache, and steadily: through the cache, a gigabyte took 0.8 to 4 s on one disk, past it 0.7 s.
    private enum Writing { case undecided, direct, cached }

    /// Creates the temporary file, and removes those that killed saves left in the same folder.
    ///
    /// - Parameter isDurable: whether `finish` waits until the file is on stable storage.
    /// - Throws: ``StoreError/destinationExists(path:)`` at once if the destination exists and `existing` refuses.
    package init(path: String, existing: ExistingDestination, isDurable: Bool = true) throws(StoreError) {
        guard !path.utf8.contains(0) else {
            throw .invalidArgument(reason: "\(path): a path can't contain a zero byte")
        }
        guard !path.isEmpty else { throw .invalidArgument(reason: "the destination has no name") }
        let status = try SystemCall.status(path)
        let isLink = try SystemCall.isSymbolicLink(path)
        if status?.kind == .folder || path.hasSuffix("/") {
            throw .system(operation: "write", path: path, errno: Errno.isDirectory.rawValue)
        }
        if existing == .refuse, status != nil || isLink { throw .destinationExists(path: path) }
        name = path
        // A link to the file's real place stays a link, as it would if the file were written in place.
        destination = isLink && status != nil ? try SystemCall.resolve(path) : path
        permissions = status?.permissions
        self.isDurable = isDurable
        temporary = try TemporaryFile(for: destination, permissions: permissions)
    }

    deinit { abandon() }

    /// The path of the unfinished file, for checking it before it is put in place.
    package var temporaryPath: String { temporary.path }

    package func append(_ bytes: RawSpan) throws(StoreError) {
        do {
            var written = 0
            // Only whole blocks at a block's place, from memory at a block's place, can go past the cache. Small files
            // are not worth it.
            let blocks = bytes.byteCount / FileSink.directBlock * FileSink.directBlock
            if canWriteDirectly(bytes), blocks >= (writing == .direct ? 1 : FileSink.leastDirectSize) {
                written = try appendDirectly(bytes.extracting(0..<blocks))
            }
            if written < bytes.byteCount {
                if writing == .direct { stopWritingDirectly() }
                let rest = bytes.extracting(written..<bytes.byteCount)
                try SystemCall.writeAll(temporary.descriptor, rest, path: temporary.path)
            }
            position += bytes.byteCount
        } catch .system(_, _, let errno) {
            throw .system(operation: "write \(bytes.byteCount) bytes", path: name, errno: errno)
        }
    }

    private static let directBlock = 4096
    private static let leastDirectSize = 1 << 20

    private func canWriteDirectly(_ bytes: RawSpan) -> Bool {
        isDurable && writing != .cached && position % FileSink.directBlock == 0
            && bytes.isAligned(to: FileSink.directBlock)
    }

    /// Writes whole blocks past the page cache and returns how many bytes went; fewer if the file system has no such
    /// thing, which some say only now.
    private func appendDirectly(_ blocks: RawSpan) throws(StoreError) -> Int {
        if writing == .undecided {
            guard SystemCall.setDirect(temporary.descriptor, true, path: temporary.path) else {
                writing = .cached
                return 0
            }
            writing = .direct
        }
        do throws(StoreError) {
            try SystemCall.writeAll(temporary.descriptor, blocks, path: temporary.path)
            return blocks.byteCount
        } catch .system(_, _, Errno.invalidArgument.rawValue) {
            stopWritingDirectly()
            // Of a write that was cut short the rest may be refused: begin again where this one began.
            try SystemCall.seek(temporary.descriptor, to: position, path: temporary.path)
            return 0
        }
    }

    private func stopWritingDirectly() {
        _ = SystemCall.setDirect(temporary.descriptor, false, path: temporary.path)
        writing = .cached
    }

    package func finish(_ existing: ExistingDestination) throws(StoreError) {
        if let permissions {
            try? SystemCall.setPermissions(temporary.descriptor, permissions, path: temporary.path)
        }
        if isDurable {
            do {
                try SystemCall.sync(temporary.descriptor, path: temporary.path)
            } catch .system(let operation, _, let errno) {
                throw .system(operation: operation, path: name, errno: errno)
            }
        }
        switch existing {
        case .replace, .replaceReferenced: try SystemCall.rename(temporary.path, to: destination)
        case .refuse: try renameIfAbsent()
        }
        isFinished = true
        if isDurable {
            do {
                try SystemCall.syncFolder(temporary.folder)
            } catch .system(_, _, let errno) {
                throw .replacedNotDurable(path: name, errno: errno)
            }
        }
    }

    package func abandon() {
        if isFinished { return }
        isFinished = true
        temporary.remove()
    }

    private func renameIfAbsent() throws(StoreError) {
        do {
            try SystemCall.renameIfAbsent(temporary.path, to: destination)
        } catch .system(_, _, Errno.fileExists.rawValue) {
            throw .destinationExists(path: name)
        } catch .system(_, _, Errno.invalidArgument.rawValue), .system(_, _, Errno.noFunction.rawValue) {
            // NFS, FUSE and ZFS lack the call. A second name is refused just as safely; then the first one goes.
            try linkIfAbsent()
        }
    }

    private func linkIfAbsent() throws(StoreError) {
        do {
            try SystemCall.link(temporary.path, to: destination)
        } catch {
            // Over NFS the answer can be lost after the work was done; two names say that it was.
            guard try SystemCall.status(temporary.descriptor, path: name).linkCount == 2 else {
                if case .system(_, _, Errno.fileExists.rawValue) = error { throw .destinationExists(path: name) }
                throw error
            }
        }
        try SystemCall.unlink(temporary.path)
    }
}

/// A pipe, a terminal or a device: bytes go out as they are appended, and there is nothing to put in place.
package final class StreamSink: ByteSink {
    package let name: String
    private let descriptor: FileDescriptor
    private let closes: Bool

    /// Writes to an open descriptor, which stays open.
    package init(_ descriptor: FileDescriptor, name: String) {
        self.descriptor = descriptor
        self.name = name
        closes = false
    }

    /// Opens the pipe or device at `path`.
    package init(path: String) throws(StoreError) {
        name = path
        descriptor = try SystemCall.openToWrite(path)
        closes = true
    }

    deinit {
        if closes { try? SystemCall.close(descriptor, path: name) }
    }

    package func append(_ bytes: RawSpan) throws(StoreError) {
        try SystemCall.writeAll(descriptor, bytes, path: name)
    }

    package func finish(_ existing: ExistingDestination) throws(StoreError) {}

    package func abandon() {}
}
