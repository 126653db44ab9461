#if canImport(Glibc)
    import Glibc
#endif

/// The open descriptors of this process whose files are in `folder`, the deleted ones too, by path.
package func openDescriptors(in folder: String) -> [String] {
    guard let stream = opendir("/proc/self/fd") else { return [] }
    defer { closedir(stream) }
    var paths: [String] = []
    while let entry = readdir(stream) {
        let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
            pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
        }
        var buffer = [CChar](repeating: 0, count: 4096)
        let count = readlink("/proc/self/fd/\(name)", &buffer, buffer.count - 1)
        guard count > 0 else { continue }
        let path = String(decoding: buffer[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
        if path.hasPrefix(folder) { paths.append(path) }
    }
    return paths
}
