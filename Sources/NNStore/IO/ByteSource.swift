import SystemPackage

/// What a source held when it was first read: its size, and a token that changes when the object does.
public struct SourceVersion: Sendable, Hashable {
    /// The number of bytes.
    public let byteCount: Int
    /// What the store calls this state of the object (an object store's ETag); empty where the source itself pins it.
    public let token: String

    /// A version of `byteCount` bytes.
    public init(byteCount: Int, token: String = "") {
        self.byteCount = byteCount
        self.token = token
    }
}

/// Something that bytes are read from: a file, an object in a store.
///
/// All reads carry the version that the first one gave. An object that was replaced meanwhile is an error, never a
/// mixture of both; for a file the open descriptor sees to that.
public protocol ByteSource: Sendable {
    /// What messages call it.
    var name: String { get }

    /// The last `count` bytes, or all if there are fewer, and the version; without knowing the size before.
    func readEnd(_ count: Int) throws(StoreError) -> (bytes: [UInt8], version: SourceVersion)

    /// Copies `ranges` one after another to `destination`, which has just their size.
    func read(
        _ ranges: [Range<Int>], of version: SourceVersion, into destination: inout MutableRawSpan
    ) throws(StoreError)
}

extension ByteSource {
    /// Copies one range to `destination`, which has just its size.
    public func read(
        _ range: Range<Int>, of version: SourceVersion, into destination: inout MutableRawSpan
    ) throws(StoreError) {
        try read([range], of: version, into: &destination)
    }

    /// Calls `read` for one range after another, with the part of `destination` that is its.
    func readEach(
        _ ranges: [Range<Int>], into destination: inout MutableRawSpan,
        _ read: (Range<Int>, inout MutableRawSpan) throws(StoreError) -> Void
    ) throws(StoreError) {
        var position = 0
        for range in ranges {
            try destination.withBytes(in: position..<position + range.count) { (target) throws(StoreError) in
                try read(range, &target)
            }
            position += range.count
        }
    }

    /// The bytes of a range.
    package func bytes(_ range: Range<Int>, of version: SourceVersion) throws(StoreError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: range.count)
        try bytes.withMutableRawSpan { (destination) throws(StoreError) in
            try read([range], of: version, into: &destination)
        }
        return bytes
    }
}

/// A source that can fetch bytes before they are asked for.
package protocol PrefetchingSource: ByteSource {
    /// Says that a range will be read soon. Nothing but time depends on it.
    func willRead(_ range: Range<Int>)
}

/// A source whose bytes can be mapped into memory.
package protocol MappableSource: ByteSource {
    /// Maps a range, read-only.
    func map(_ range: Range<Int>) throws(StoreError) -> Memory
}

/// A file that is open for reading. Closed with the last reference.
public final class FileSource: MappableSource, PrefetchingSource {
    /// The path that the file was opened by.
    public let name: String
    private let descriptor: FileDescriptor
    private let byteCount: Int

    /// Opens the file at `path`.
    ///
    /// - Throws: ``StoreError/system(operation:path:errno:)`` if it can't be opened;
    ///   ``StoreError/notAContainer(file:found:)`` if it is a folder, a pipe or a device.
    public init(path: String) throws(StoreError) {
        guard !path.utf8.contains(0) else {
            throw .invalidArgument(reason: "\(path): a path can't contain a zero byte")
        }
        let descriptor = try SystemCall.openToRead(path)
        do throws(StoreError) {
            let status = try SystemCall.status(descriptor, path: path)
            switch status.kind {
            case .file: break
            case .folder: throw .system(operation: "read", path: path, errno: Errno.isDirectory.rawValue)
            default:
                throw .notAContainer(file: path, found: "it is a pipe or a device; checkpoints are read from files")
            }
            byteCount = status.byteCount
        } catch {
            try? SystemCall.close(descriptor, path: path)
            throw error
        }
        name = path
        self.descriptor = descriptor
    }

    deinit { try? SystemCall.close(descriptor, path: name) }

    /// The version: the descriptor pins the file, its size is what it was when it was opened.
    public var version: SourceVersion { SourceVersion(byteCount: byteCount) }

    /// The last `count` bytes and the version.
    public func readEnd(_ count: Int) throws(StoreError) -> (bytes: [UInt8], version: SourceVersion) {
        (try bytes(max(0, byteCount - max(0, count))..<byteCount, of: version), version)
    }

    /// Copies `ranges` one after another to `destination`.
    public func read(
        _ ranges: [Range<Int>], of version: SourceVersion, into destination: inout MutableRawSpan
    ) throws(StoreError) {
        var position = 0
        for range in ranges {
            var offset = range.lowerBound
            while offset < range.upperBound {
                let rest = position..<position + (range.upperBound - offset)
                let count = try destination.withBytes(in: rest) { (rest) throws(StoreError) in
                    try SystemCall.read(descriptor, at: offset, into: &rest, path: name)
                }
                guard count > 0 else {
                    throw .incomplete(
                        file: name,
                        reason: "it ends at byte \(offset), \(range.upperBound) were there when it was opened")
                }
                offset += count
                position += count
            }
        }
    }

    /// Has the system read a range into its cache, without waiting.
    package func willRead(_ range: Range<Int>) {
        // To the system no bytes mean all up to the end.
        if !range.isEmpty { SystemCall.adviseWillRead(descriptor, range, path: name) }
    }

    /// Maps a range, read-only.
    package func map(_ range: Range<Int>) throws(StoreError) -> Memory {
        try Memory.map(descriptor, range: range, path: name)
    }
}
