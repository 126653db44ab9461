import CSystemCalls
import SystemPackage

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

/// The system calls that NNStore makes, each retried when a signal interrupts it and each failure made a
/// ``StoreError/system(operation:path:errno:)``. No file of NNStore but this and those that extend it touches a path or a descriptor.
package enum SystemCall {
    /// The words for an error number.
    package static func text(_ errno: Int32) -> String { Errno(rawValue: errno).description }

    /// Makes a call, again when a signal interrupts it, and puts a failure into words.
    ///
    /// - Parameter body: gets how many bytes it may ask for at most, where an observer says so.
    static func perform<Result>(
        _ kind: SystemCallKind, _ operation: @autoclosure () -> String, _ path: String, target: String? = nil,
        _ body: (_ limit: Int) throws -> Result
    ) throws(StoreError) -> Result {
        let observer = observer(of: path)
        let call = ObservedCall(kind: kind, path: path, target: target)
        while true {
            do {
                var limit = Int.max
                switch observer?.outcome(of: call) {
                case .error(let errno):
                    if kind == .close { _ = try? body(limit) }
                    throw Errno(rawValue: errno)
                case .atMost(let count): limit = max(1, count)
                case nil: break
                }
                let result = try body(limit)
                observer?.succeeded(call)
                return result
            } catch Errno.interrupted where kind != .close {
                continue
            } catch let errno as Errno {
                throw .system(operation: operation(), path: target ?? path, errno: errno.rawValue)
            } catch {
                throw .system(operation: operation(), path: target ?? path, errno: EIO)
            }
        }
    }

    /// Makes a call that returns 0 unless it fails.
    static func perform(
        _ kind: SystemCallKind, _ operation: @autoclosure () -> String, _ path: String, target: String? = nil,
        _ call: () -> Int32
    ) throws(StoreError) {
        try perform(kind, operation(), path, target: target) { _ in
            if call() != 0 { throw Errno(rawValue: errno) }
        }
    }

    /// Opens a file to read. Does not wait for a writer if the path is a pipe.
    package static func openToRead(_ path: String) throws(StoreError) -> FileDescriptor {
        try perform(.open, "open", path) { _ in
            try FileDescriptor.open(FilePath(path), .readOnly, options: [.closeOnExec, .nonBlocking])
        }
    }

    /// Opens what is at the path (a pipe, a terminal, a device) to write, and waits for a reader if it is a pipe.
    package static func openToWrite(_ path: String) throws(StoreError) -> FileDescriptor {
        try perform(.open, "open", path) { _ in
            try FileDescriptor.open(FilePath(path), .writeOnly, options: .closeOnExec)
        }
    }

    /// Opens a file for a lock, which needs write access; does not follow a link.
    package static func openToLock(_ path: String) throws(StoreError) -> FileDescriptor {
        try perform(.open, "open", path) { _ in
            try FileDescriptor.open(FilePath(path), .readWrite, options: [.closeOnExec, .nonBlocking, .noFollow])
        }
    }

    /// The process id.
    package static var processID: Int { Int(getpid()) }

    /// The machine's memory in bytes.
    package static var physicalMemory: Int { sysconf(Int32(_SC_PHYS_PAGES)) * sysconf(Int32(_SC_PAGESIZE)) }

    /// Seconds since 1970.
    package static var now: Int { time(nil) }

    /// Creates a file to write, which must not exist, with these permission bits less the process's mask.
    package static func create(_ path: String, permissions: UInt32) throws(StoreError) -> FileDescriptor {
        try perform(.create, "create a file", path) { _ in
            try FileDescriptor.open(
                FilePath(path), .readWrite, options: [.create, .exclusiveCreate, .closeOnExec],
                permissions: FilePermissions(rawValue: mode_t(permissions)))
        }
    }

    /// Closes a descriptor. The error matters where a file system reports a failed write so late.
    package static func close(_ descriptor: FileDescriptor, path: String) throws(StoreError) {
        try perform(.close, "close", path) { _ in try descriptor.close() }
    }

    /// Reads up to `destination`'s size at `offset` and returns how much came; 0 at the file's end.
    package static func read(
        _ descriptor: FileDescriptor, at offset: Int, into destination: inout MutableRawSpan, path: String
    ) throws(StoreError) -> Int {
        try perform(.read, "read at offset \(offset)", path) { limit in
            try unsafe destination.withUnsafeMutableBytes { buffer in
                let part = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer.prefix(limit))
                return try unsafe descriptor.read(
                    fromAbsoluteOffset: Int64(offset), into: part, retryOnInterrupt: false)
            }
        }
    }

    /// The first bytes of a file, or of what comes through a pipe, up to a number.
    package static func contents(of path: String, atMost count: Int) throws(StoreError) -> [UInt8] {
        let descriptor = try perform(.open, "open", path) { _ in
            try FileDescriptor.open(FilePath(path), .readOnly, options: .closeOnExec)
        }
        defer { try? close(descriptor, path: path) }
        var bytes = [UInt8](repeating: 0, count: count)
        var filled = 0
        while filled < count {
            let read = try bytes.withMutableRawSpan { (bytes) throws(StoreError) in
                try bytes.withBytes(in: filled..<count) { (rest) throws(StoreError) in
                    try perform(.read, "read", path) { limit in
                        try unsafe rest.withUnsafeMutableBytes { buffer in
                            let part = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer.prefix(limit))
                            return try unsafe descriptor.read(into: part, retryOnInterrupt: false)
                        }
                    }
                }
            }
            if read == 0 { break }
            filled += read
        }
        bytes.removeLast(count - filled)
        return bytes
    }

    /// Has the system read a range of a file into its cache. Advice: that it may fail is no matter.
    package static func adviseWillRead(_ descriptor: FileDescriptor, _ range: Range<Int>, path: String) {
        #if canImport(Glibc)
            try? perform(.advise, "fetch \(range.count) bytes", path) { _ in
                let status = posix_fadvise(descriptor.rawValue, range.lowerBound, range.count, POSIX_FADV_WILLNEED)
                if status != 0 { throw Errno(rawValue: status) }
            }
        #endif
    }

    /// Writes all of `bytes` at the descriptor's position, waiting where it does not block (a pipe that another program
    /// set so).
    package static func writeAll(_ descriptor: FileDescriptor, _ bytes: RawSpan, path: String) throws(StoreError) {
        var written = 0
        while written < bytes.byteCount {
            do throws(StoreError) {
                let rest = bytes.extracting(written..<bytes.byteCount)
                let count = try perform(.write, "write \(bytes.byteCount) bytes", path) { limit in
                    try unsafe rest.extracting(first: min(limit, rest.byteCount)).withUnsafeBytes { buffer in
                        try unsafe descriptor.write(buffer, retryOnInterrupt: false)
                    }
                }
                observer(of: path)?.wrote(rest.extracting(first: count), to: path)
                written += count
            } catch .system(_, _, EAGAIN) {
                var waiting = pollfd(fd: descriptor.rawValue, events: Int16(POLLOUT), revents: 0)
                _ = unsafe poll(&waiting, 1, -1)
            }
        }
    }

    /// Sets an open file's position.
    package static func seek(_ descriptor: FileDescriptor, to offset: Int, path: String) throws(StoreError) {
        _ = try perform(.seek, "seek", path) { _ in try descriptor.seek(offset: Int64(offset), from: .start) }
        observer(of: path)?.seeked(to: offset, in: path)
    }

    /// Makes writes to an open file go past the page cache, or through it again.
    ///
    /// - Returns: false where that can't be had.
    package static func setDirect(_ descriptor: FileDescriptor, _ isDirect: Bool, path: String) -> Bool {
        do {
            try perform(.setDirect, "write past the cache", path) {
                nnstore_set_direct(descriptor.rawValue, isDirect ? 1 : 0)
            }
            return true
        } catch {
            return false
        }
    }

    /// Forces a file's bytes and size to stable storage.
    package static func sync(_ descriptor: FileDescriptor, path: String) throws(StoreError) {
        try perform(.sync, "sync to disk", path) { fsync(descriptor.rawValue) }
    }

    static func openFolder(_ path: String) throws(StoreError) -> FileDescriptor {
        try perform(.open, "open", path) { _ in
            try FileDescriptor.open(
                FilePath(path), .readOnly, options: [.closeOnExec, .directory], retryOnInterrupt: false)
        }
    }

    /// Forces a folder's entries to stable storage.
    package static func syncFolder(_ path: String) throws(StoreError) {
        let descriptor = try openFolder(path)
        defer { try? close(descriptor, path: path) }
        do {
            try perform(.syncFolder, "sync to disk", path) { fsync(descriptor.rawValue) }
        } catch .system(_, _, EINVAL) {
            // Some file systems (9p, some FUSE) have no sync for folders; there is nothing more to be had there.
        }
    }

    /// What a path or a descriptor is.
    package struct Status: Sendable {
        package enum Kind: Sendable { case file, folder, pipe, device, other }
        package let kind: Kind
        package let byteCount: Int
        package let permissions: UInt32
        package let linkCount: Int
        package let device: UInt64
        package let inode: UInt64
        package let modified: Int

        fileprivate init(_ status: stat) {
            kind =
                switch status.st_mode & S_IFMT {
                case S_IFREG: .file
                case S_IFDIR: .folder
                case S_IFIFO, S_IFSOCK: .pipe
                case S_IFCHR, S_IFBLK: .device
                default: .other
                }
            byteCount = Int(status.st_size)
            permissions = UInt32(status.st_mode & 0o7777)
            linkCount = Int(status.st_nlink)
            device = UInt64(status.st_dev)
            inode = UInt64(status.st_ino)
            #if canImport(Glibc)
                modified = status.st_mtim.tv_sec
            #else
                modified = status.st_mtimespec.tv_sec
            #endif
        }
    }

    /// What an open descriptor is.
    package static func status(_ descriptor: FileDescriptor, path: String) throws(StoreError) -> Status {
        var status = stat()
        try perform(.status, "inspect", path) { unsafe fstat(descriptor.rawValue, &status) }
        return Status(status)
    }

    /// What is at a path, symbolic links followed; `nil` if nothing is.
    package static func status(_ path: String) throws(StoreError) -> Status? {
        var status = stat()
        do {
            try perform(.status, "inspect", path) { unsafe stat(path, &status) }
        } catch .system(_, _, ENOENT) {
            return nil
        }
        return Status(status)
    }

    /// Whether the path names a symbolic link.
    package static func isSymbolicLink(_ path: String) throws(StoreError) -> Bool {
        var status = stat()
        do {
            try perform(.status, "inspect", path) { unsafe lstat(path, &status) }
        } catch .system(_, _, ENOENT) {
            return false
        }
        return status.st_mode & S_IFMT == S_IFLNK
    }

    /// The path with every symbolic link followed.
    package static func resolve(_ path: String) throws(StoreError) -> String {
        try perform(.resolve, "follow the links of", path) { _ in
            guard let resolved = unsafe realpath(path, nil) else { throw Errno(rawValue: errno) }
            defer { unsafe free(resolved) }
            return unsafe String(cString: resolved)
        }
    }

    /// Sets the permission bits of an open file.
    package static func setPermissions(
        _ descriptor: FileDescriptor, _ permissions: UInt32, path: String
    ) throws(StoreError) {
        try perform(.setPermissions, "set permissions", path) { fchmod(descriptor.rawValue, mode_t(permissions)) }
    }

    /// Replaces `to`, if it exists, by `from` in one step.
    package static func rename(_ from: String, to: String) throws(StoreError) {
        try perform(.rename, "rename the finished file to", from, target: to) { unsafe Glibc.rename(from, to) }
    }

    /// Renames `from` to `to` in one step and fails with EEXIST if `to` exists.
    package static func renameIfAbsent(_ from: String, to: String) throws(StoreError) {
        try perform(.renameIfAbsent, "rename the finished file to", from, target: to) {
            unsafe nnstore_rename_noreplace(from, to)
        }
    }

    /// Gives the file at `from` the second name `to`; fails with EEXIST if that exists.
    package static func link(_ from: String, to: String) throws(StoreError) {
        try perform(.link, "link the finished file to", from, target: to) { unsafe Glibc.link(from, to) }
    }

    /// Creates a folder. One that is there is no error.
    package static func createFolder(_ path: String) throws(StoreError) {
        do {
            try perform(.createFolder, "create a folder", path) { unsafe mkdir(path, 0o777) }
        } catch .system(_, _, EEXIST) {}
    }

    /// Creates a folder and those that it is in, as far as they are not there.
    package static func createFolders(_ path: String) throws(StoreError) {
        do {
            try createFolder(path)
        } catch let error {
            guard case .system(_, _, ENOENT) = error, let slash = path.dropLast().lastIndex(of: "/"),
                slash > path.startIndex
            else { throw error }
            try createFolders(String(path[..<slash]))
            try createFolder(path)
        }
    }

    /// Writes a line to standard error, in one piece; what can't be said there is not said.
    package static func printError(_ line: String) {
        // What a file has put into a name must not move a cursor.
        let text = String(
            line.map { $0.isNewline || $0.unicodeScalars.contains { $0.value < 0x20 || $0.value == 0x7f } ? "?" : $0 })
        Array((text + "\n").utf8).withRawSpan { try? writeAll(.standardError, $0, path: "standard error") }
    }

    /// Maps a range of a file, which begins at a multiple of the page size, to be read.
    @unsafe static func map(
        _ descriptor: FileDescriptor, _ range: Range<Int>, path: String
    ) throws(StoreError) -> UnsafeMutableRawPointer {
        try unsafe perform(.map, "map \(range.count) bytes", path) { _ in
            let start = unsafe mmap(nil, range.count, PROT_READ, MAP_SHARED, descriptor.rawValue, range.lowerBound)
            guard let start = unsafe start, unsafe start != MAP_FAILED else { throw Errno(rawValue: errno) }
            return unsafe start
        }
    }

    /// Removes a name.
    package static func unlink(_ path: String) throws(StoreError) {
        try perform(.unlink, "remove", path) { unsafe Glibc.unlink(path) }
    }

    /// The names in a folder.
    package static func names(in folder: String) throws(StoreError) -> [String] {
        let stream = try unsafe perform(.list, "list", folder) { (_) throws -> OpaquePointer in
            guard let stream = unsafe opendir(folder) else { throw Errno(rawValue: errno) }
            return unsafe stream
        }
        defer { unsafe closedir(stream) }
        var names: [String] = []
        while true {
            errno = 0
            guard let entry = unsafe readdir(stream) else {
                if errno == 0 { break }
                throw .system(operation: "list", path: folder, errno: errno)
            }
            let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                unsafe pointer.withMemoryRebound(to: CChar.self, capacity: 256) { unsafe String(cString: $0) }
            }
            if name != "." && name != ".." { names.append(name) }
        }
        return names
    }
}
