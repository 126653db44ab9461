import CSystemCalls
import SystemPackage

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

/// Locks on files and folders.
extension SystemCall {
    /// What became of asking for a lock.
    package enum Lock: Sendable { case taken, heldByAnother, notSupported }

    /// Takes an exclusive lock on an open file without waiting.
    package static func lock(_ descriptor: FileDescriptor, path: String) throws(StoreError) -> Lock {
        try outcome { () throws(StoreError) in
            try perform(.lock, "lock", path) { nnstore_lock_exclusive(descriptor.rawValue) }
        }
    }

    /// Runs `body` while no other process or thread does so with the same folder, if its file system has locks.
    ///
    /// - Throws: ``StoreError/system(operation:path:errno:)`` if another one has had the lock for a minute; what `body` throws.
    package static func withFolderLocked<Result>(_ folder: String, _ body: () throws -> Result) throws -> Result {
        let descriptor = try openFolder(folder)
        // Closing it gives the lock back.
        defer { try? close(descriptor, path: folder) }
        let deadline = now + 60
        while try lockFolder(descriptor, folder) == .heldByAnother {
            guard now < deadline else {
                throw StoreError.system(
                    operation: "wait for another program that writes to the folder", path: folder, errno: EAGAIN)
            }
            usleep(5_000)
        }
        return try body()
    }

    private static func lockFolder(_ descriptor: FileDescriptor, _ folder: String) throws(StoreError) -> Lock {
        try outcome { () throws(StoreError) in
            do throws(StoreError) {
                try perform(.lock, "lock", folder) { nnstore_lock_folder(descriptor.rawValue) }
            } catch .system(_, _, EBADF) {
                // File systems that lock as NFS does want write access, which no folder gives.
                throw .system(operation: "lock", path: folder, errno: EOPNOTSUPP)
            }
        }
    }

    /// What asking for a lock without waiting comes to.
    private static func outcome(_ lock: () throws(StoreError) -> Void) throws(StoreError) -> Lock {
        do {
            try lock()
            return .taken
        } catch .system(_, _, EAGAIN) {
            return .heldByAnother
        } catch .system(_, _, EACCES) {
            return .heldByAnother
        } catch .system(_, _, EINVAL), .system(_, _, ENOLCK), .system(_, _, EOPNOTSUPP), .system(_, _, ENOSYS) {
            return .notSupported
        }
    }
}
