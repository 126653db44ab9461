import CSQLite
import Synchronization

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

/// The read-only SQLite file system (VFS) through which indexes are read: every read goes through a ``PageReader``.
///
/// Sound: SQLite calls the closures with the structures that it was told the size of; the reader that an open file
/// points to was retained in `open` and is released in `close`, which SQLite calls once.
enum IndexFileSystem {
    /// The name under which SQLite knows it.
    static let name = "nnstore-index"

    /// The open file that SQLite allocates for us; the base comes first.
    @safe private struct OpenFile {
        var base: sqlite3_file
        var reader: UnsafeMutableRawPointer?
    }

    private struct Table {
        var readers: [UInt64: PageReader] = [:]
        var nextToken: UInt64 = 1
    }

    // The only global that changes beside the storage ids. Entries live while one file is being opened.
    private static let table = Mutex(Table())

    /// Calls `body` with a URI that opens `reader`'s index while `body` runs.
    static func withURI<Result>(
        for reader: PageReader, _ body: (String) throws(StoreError) -> Result
    ) throws(StoreError) -> Result {
        guard isRegistered else {
            throw .library(name: "SQLite", operation: "register a file system", message: "out of memory")
        }
        let token = table.withLock { table in
            defer { table.nextToken += 1 }
            table.readers[table.nextToken] = reader
            return table.nextToken
        }
        defer { table.withLock { _ = $0.readers.removeValue(forKey: token) } }
        return try body("file:\(token)?immutable=1")
    }

    private static func pageReader(of file: UnsafeMutablePointer<sqlite3_file>?) -> PageReader? {
        guard let file = unsafe file else { return nil }
        return unsafe file.withMemoryRebound(to: OpenFile.self, capacity: 1) { file in
            unsafe file.pointee.reader.map { unsafe Unmanaged<PageReader>.fromOpaque($0).takeUnretainedValue() }
        }
    }

    /// Registers once for the process; SQLite keeps the pointers for ever, so the memory is never freed.
    private static let isRegistered: Bool = {
        guard let standard = unsafe sqlite3_vfs_find(nil) else { return false }
        let methods = UnsafeMutablePointer<sqlite3_io_methods>.allocate(capacity: 1)
        unsafe methods.initialize(to: ioMethods())
        let system = UnsafeMutablePointer<sqlite3_vfs>.allocate(capacity: 1)
        // Time, randomness and sleeping are the standard file system's; files are ours alone.
        unsafe system.initialize(to: standard.pointee)
        unsafe system.pointee.iVersion = 1
        unsafe system.pointee.pNext = nil
        unsafe system.pointee.szOsFile = Int32(MemoryLayout<OpenFile>.stride)
        unsafe system.pointee.mxPathname = 64
        unsafe system.pointee.zName = UnsafePointer(strdup(name))
        unsafe system.pointee.pAppData = UnsafeMutableRawPointer(methods)
        unsafe system.pointee.xOpen = { system, path, file, flags, outFlags in
            unsafe open(methods: system!.pointee.pAppData, path: path, file: file, flags: flags, outFlags: outFlags)
        }
        unsafe system.pointee.xDelete = { _, _, _ in SQLITE_READONLY }
        unsafe system.pointee.xAccess = { _, _, _, result in
            unsafe result!.pointee = 0
            return SQLITE_OK
        }
        unsafe system.pointee.xFullPathname = { _, path, capacity, result in
            guard let path = unsafe path, unsafe strlen(path) < Int(capacity) else { return SQLITE_CANTOPEN }
            unsafe strcpy(result!, path)
            return SQLITE_OK
        }
        unsafe system.pointee.xDlOpen = nil
        unsafe system.pointee.xDlError = nil
        unsafe system.pointee.xDlSym = nil
        unsafe system.pointee.xDlClose = nil
        return unsafe sqlite3_vfs_register(system, 0) == SQLITE_OK
    }()

    private static func open(
        methods: UnsafeMutableRawPointer?, path: UnsafePointer<CChar>?, file: UnsafeMutablePointer<sqlite3_file>?,
        flags: Int32, outFlags: UnsafeMutablePointer<Int32>?
    ) -> Int32 {
        guard let file = unsafe file, let methods = unsafe methods else { return SQLITE_CANTOPEN }
        unsafe file.pointee.pMethods = nil
        guard let path = unsafe path, let token = UInt64(unsafe String(cString: path)),
            let reader = table.withLock({ $0.readers[token] })
        else { return SQLITE_CANTOPEN }
        unsafe file.withMemoryRebound(to: OpenFile.self, capacity: 1) { file in
            unsafe file.pointee.base.pMethods = UnsafePointer(methods.assumingMemoryBound(to: sqlite3_io_methods.self))
            unsafe file.pointee.reader = Unmanaged.passRetained(reader).toOpaque()
        }
        unsafe outFlags?.pointee = flags
        return SQLITE_OK
    }

    private static func ioMethods() -> sqlite3_io_methods {
        var methods = sqlite3_io_methods()
        methods.iVersion = 1
        unsafe methods.xClose = { file in
            unsafe file!.withMemoryRebound(to: OpenFile.self, capacity: 1) { file in
                if let reader = unsafe file.pointee.reader { unsafe Unmanaged<PageReader>.fromOpaque(reader).release() }
                unsafe file.pointee.reader = nil
            }
            return SQLITE_OK
        }
        unsafe methods.xRead = { file, buffer, count, offset in
            guard let reader = unsafe IndexFileSystem.pageReader(of: file), let buffer = unsafe buffer, count >= 0,
                offset >= 0
            else {
                return SQLITE_IOERR
            }
            var destination = unsafe MutableRawSpan(
                _unsafeBytes: UnsafeMutableRawBufferPointer(start: buffer, count: Int(count)))
            guard Int(offset) + Int(count) <= reader.byteCount else {
                // SQLite wants the rest zeroed. A valid index is never read beyond its end.
                destination.zero()
                return nnstore_sqlite_ioerr_short_read
            }
            return reader.read(Int(offset)..<Int(offset) + Int(count), into: &destination)
                ? SQLITE_OK : SQLITE_IOERR
        }
        unsafe methods.xWrite = { _, _, _, _ in SQLITE_READONLY }
        unsafe methods.xTruncate = { _, _ in SQLITE_READONLY }
        unsafe methods.xSync = { _, _ in SQLITE_OK }
        unsafe methods.xFileSize = { file, size in
            guard let reader = unsafe IndexFileSystem.pageReader(of: file) else { return SQLITE_IOERR }
            unsafe size!.pointee = Int64(reader.byteCount)
            return SQLITE_OK
        }
        unsafe methods.xLock = { _, _ in SQLITE_OK }
        unsafe methods.xUnlock = { _, _ in SQLITE_OK }
        unsafe methods.xCheckReservedLock = { _, result in
            unsafe result!.pointee = 0
            return SQLITE_OK
        }
        unsafe methods.xFileControl = { _, _, _ in SQLITE_NOTFOUND }
        unsafe methods.xSectorSize = { _ in Int32(FileLayout.block) }
        unsafe methods.xDeviceCharacteristics = { _ in SQLITE_IOCAP_IMMUTABLE }
        return methods
    }
}
