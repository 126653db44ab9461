import CCUDA

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

/// The driver's library, opened when the program runs, never closed.
///
/// Sound to send: the handle and the functions found in it stay valid for the life of the process.
@safe struct DriverLibrary: @unchecked Sendable {
    /// The version of the interface whose functions are asked for: that of CUDA 12.0, which later drivers keep.
    private static let interfaceVersion: Int32 = 12000

    /// Where it was found.
    let path: String
    /// `nil` means the program itself.
    private let handle: UnsafeMutableRawPointer?
    private let lookUp: nnstore_cuGetProcAddress?

    /// A driver that is part of the program, as a test double is.
    init(_ name: String, lookUp: nnstore_cuGetProcAddress) {
        path = name
        unsafe handle = nil
        unsafe self.lookUp = unsafe lookUp
    }

    /// - Throws: ``DeviceError/noDriver(reason:)`` if there is no such library.
    init(path: String) throws(DeviceError) {
        guard let handle = unsafe dlopen(path, RTLD_NOW | RTLD_LOCAL) else {
            let reason = unsafe dlerror().map { unsafe String(cString: $0) } ?? "it could not be opened"
            throw .noDriver(reason: "the driver's library \(path) can't be opened (\(reason))")
        }
        self.path = path
        unsafe self.handle = unsafe handle
        // Sound: the symbol of this name has this type in every library that has it.
        unsafe lookUp = unsafe dlsym(handle, "cuGetProcAddress_v2").map {
            unsafe unsafeBitCast($0, to: nnstore_cuGetProcAddress.self)
        }
    }

    /// A function of the driver.
    ///
    /// - Parameters:
    ///   - name: its name in the interface of ``interfaceVersion``.
    ///   - exported: its name in the library, if that is another.
    /// - Throws: ``DeviceError/noDriver(reason:)`` if there is none.
    @unsafe func function<Function>(_ name: String, exported: String? = nil) throws(DeviceError) -> Function {
        // Sound where the caller names the type that the interface gives the function: a pointer to a C function.
        if let address = unsafe address(name) ?? handle.flatMap({ unsafe dlsym($0, exported ?? name) }) {
            return unsafe unsafeBitCast(address, to: Function.self)
        }
        throw .noDriver(
            reason: "the driver \(path) has no function \(exported ?? name), so it is older than CUDA 12.0's; update it"
        )
    }

    private func address(_ name: String) -> UnsafeMutableRawPointer? {
        guard let lookUp = unsafe lookUp else { return nil }
        var address: UnsafeMutableRawPointer?
        var status: Int32 = 0
        let result = unsafe lookUp(name, &address, DriverLibrary.interfaceVersion, 0, &status)
        return result == 0 && status == 0 ? unsafe address : nil
    }
}
