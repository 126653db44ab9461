import SystemPackage

/// Where a path leads that something is to be saved to.
package enum Destination {
    /// The sink for a path: a pipe or device that is there is written to, anything else is a file that appears when it
    /// is finished.
    ///
    /// - Throws: ``StoreError/destinationReferenced(path:)`` if a container is there that others refer to, unless
    ///   `existing` means that one too; ``StoreError/system(operation:path:errno:)`` if what is there can't be read, so that
    ///   nobody knows; what making the sink throws.
    package static func sink(
        for path: String, _ existing: ExistingDestination, isDurable: Bool
    ) throws(StoreError) -> any ByteSink {
        switch try SystemCall.status(path)?.kind {
        case .pipe, .device: return try StreamSink(path: path)
        case .file where existing == .replace:
            let isReferenced: Bool
            do throws(StoreError) {
                isReferenced = try Tail.isReferencedByOthers(FileSource(path: path))
            } catch {
                // Gone meanwhile: nobody can refer to it.
                if case .system(_, _, Errno.noSuchFileOrDirectory.rawValue) = error { break }
                guard case .system(_, _, let errno) = error else { throw error }
                throw .system(
                    operation:
                        "tell whether other files refer to what is there, which can't be read (to replace it all the "
                        + "same: .replaceReferenced, --force-referenced)", path: path, errno: errno)
            }
            if isReferenced { throw .destinationReferenced(path: path) }
        default: break
        }
        return try FileSink(path: path, existing: existing, isDurable: isDurable)
    }
}
