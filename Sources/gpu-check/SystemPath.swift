#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

/// Files that the program made.
enum SystemPath {
    static func remove(_ path: String) { unlink(path) }
}
