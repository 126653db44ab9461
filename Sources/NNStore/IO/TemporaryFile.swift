import SystemPackage

/// The file that a save writes to before it becomes the destination.
///
/// Its name has the machine's boot id, the process id and a random part, and it is locked while somebody writes to it,
/// so that the next save in the folder can tell what a killed one left behind.
package final class TemporaryFile {
    /// Where the file is until it is renamed.
    package let path: String
    /// The folder of the destination, which is the file's too.
    package let folder: String
    package let descriptor: FileDescriptor

    private static let prefix = ".nnstore-"
    private static let suffix = ".tmp"
    /// How often another save may take a new file for a leftover: once is rare, so many times is something else.
    private static let attempts = 100
    private static let secondsUntilStale = 24 * 60 * 60

    /// Creates and locks a temporary file beside `destination`.
    ///
    /// - Parameter permissions: the bits that the finished file is to have; what is being written is no more open.
    package init(for destination: String, permissions: UInt32?) throws(StoreError) {
        var path = FilePath(destination)
        path.removeLastComponent()
        folder = path.isEmpty ? "." : path.string
        TemporaryFile.removeStale(in: folder)
        let boot = TemporaryFile.bootID
        let process = SystemCall.processID
        for _ in 0..<TemporaryFile.attempts {
            let random = String(UInt64.random(in: 0 ... .max), radix: 16)
            let name = "\(TemporaryFile.prefix)\(boot)-\(process)-\(random)\(TemporaryFile.suffix)"
            let candidate = FilePath(folder).appending(name).string
            let descriptor: FileDescriptor
            do {
                descriptor = try SystemCall.create(candidate, permissions: permissions ?? 0o666)
            } catch .system(_, _, Errno.fileExists.rawValue) {
                continue
            } catch .system(_, _, let errno) {
                throw .system(operation: "create a file in its folder \(folder)", path: destination, errno: errno)
            }
            do throws(StoreError) {
                // Between the two calls another save may have taken the file for a leftover and removed it.
                if try SystemCall.lock(descriptor, path: candidate) != .heldByAnother,
                    try SystemCall.status(descriptor, path: candidate).linkCount == 1
                {
                    self.path = candidate
                    self.descriptor = descriptor
                    return
                }
            } catch {
                try? SystemCall.close(descriptor, path: candidate)
                try? SystemCall.unlink(candidate)
                throw error
            }
            try? SystemCall.close(descriptor, path: candidate)
            try? SystemCall.unlink(candidate)
        }
        throw .system(
            operation: "create a file that no other save removes in its folder \(folder)", path: destination,
            errno: Errno.resourceTemporarilyUnavailable.rawValue)
    }

    deinit { try? SystemCall.close(descriptor, path: path) }

    /// Removes the file.
    package func remove() { try? SystemCall.unlink(path) }

    /// Removes temporary files that nobody writes to any more: those of this boot that nobody has locked, and those of
    /// others (another machine's lock may not be visible here) when they are a day old. What can't be removed stays.
    package static func removeStale(in folder: String) {
        let names = (try? SystemCall.names(in: folder)) ?? []
        for name in names where name.hasPrefix(prefix) && name.hasSuffix(suffix) {
            let path = FilePath(folder).appending(name).string
            guard let descriptor = try? SystemCall.openToLock(path) else { continue }
            defer { try? SystemCall.close(descriptor, path: path) }
            guard let status = try? SystemCall.status(descriptor, path: path), status.kind == .file,
                let lock = try? SystemCall.lock(descriptor, path: path), lock != .heldByAnother,
                // Without locks nothing says that a young file's writer is gone.
                name.hasPrefix("\(prefix)\(bootID)-") && lock == .taken
                    || SystemCall.now - status.modified > secondsUntilStale,
                let named = try? SystemCall.status(path), named.inode == status.inode, named.device == status.device
            else { continue }
            try? SystemCall.unlink(path)
        }
    }

    /// Names this boot of this machine; "unknown" where the system does not tell.
    private static let bootID: String = {
        guard let descriptor = try? SystemCall.openToRead("/proc/sys/kernel/random/boot_id") else { return "unknown" }
        defer { try? SystemCall.close(descriptor, path: "") }
        var bytes = [UInt8](repeating: 0, count: 64)
        let count = bytes.withMutableRawSpan {
            (try? SystemCall.read(descriptor, at: 0, into: &$0, path: "")) ?? 0
        }
        let digits = bytes.prefix(count).filter { $0 > UInt8(ascii: " ") && $0 != UInt8(ascii: "-") }
        return digits.isEmpty ? "unknown" : String(decoding: digits, as: UTF8.self)
    }()
}
