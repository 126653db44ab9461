import NNStore
import SystemPackage

/// Finds containers on the command line: files as they are named, and those that folders hold.
enum ContainerFiles {
    struct Found {
        let path: String
        /// The path inside the folder that was named, or the file's own name.
        let relativePath: String
        let isInFolder: Bool
    }

    /// The file at `path`, or all containers, by content or by name, in the folder that it is and in folders in it,
    /// ordered by their names' bytes. Links to folders are not followed.
    ///
    /// - Parameter followsLinks: whether links to files in a folder stand for these; what is changed in place stays in the
    ///   folder that was named.
    static func at(_ path: String, followsLinks: Bool = true) throws -> [Found] {
        guard try SystemCall.status(path)?.kind == .folder else {
            return [Found(path: path, relativePath: FilePath(path).lastComponent?.string ?? path, isInFolder: false)]
        }
        return try inFolder(path, "", followsLinks)
    }

    private static func inFolder(_ folder: String, _ prefix: String, _ followsLinks: Bool) throws -> [Found] {
        var found: [Found] = []
        let names = try SystemCall.names(in: folder).sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
        for name in names where !name.hasPrefix(".") {
            let path = join(folder, name)
            let isLink = try SystemCall.isSymbolicLink(path)
            switch try SystemCall.status(path)?.kind {
            case .folder where !isLink:
                found += try inFolder(path, prefix + name + "/", followsLinks)
            case .file where isLink && !followsLinks: break
            // One with a damaged first page is not passed over in silence.
            case .file where try name.hasSuffix(".nnck") || isContainer(path):
                found.append(Found(path: path, relativePath: prefix + name, isInFolder: true))
            default: break
            }
        }
        return found
    }

    private static func isContainer(_ path: String) throws -> Bool {
        let source = try FileSource(path: path)
        let count = min(12, source.version.byteCount)
        return Checkpoint.isContainer(try source.bytes(0..<count, of: source.version))
    }

    static func join(_ folder: String, _ name: String) -> String { FilePath(folder).appending(name).string }

    /// Creates the folder that a file is to stand in, and those above it, where they are missing.
    static func createFolder(of path: String) throws {
        let folder = FilePath(path).removingLastComponent()
        if folder.isEmpty { return }
        if try SystemCall.status(folder.string) != nil { return }
        try createFolder(of: folder.string)
        try SystemCall.createFolder(folder.string)
    }
}
