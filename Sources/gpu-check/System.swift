#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

/// What the program asks of the system.
enum System {
    /// Removes a file that the program made.
    static func remove(_ path: String) { unlink(path) }

    /// Ends the program.
    static func exit(_ code: Int32) -> Never {
        #if canImport(Glibc)
            Glibc.exit(code)
        #else
            Darwin.exit(code)
        #endif
    }
}
