import CCUDA

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

/// NVIDIA's driver, started.
///
/// Sound to send: its functions may be called from any thread.
@safe final class Driver: @unchecked Sendable {
    /// The path of the library, where it is not the usual one.
    static let pathVariable = "NNSTORE_CUDA_DRIVER"

    /// The process's driver, or why there is none. It is opened and started once.
    static let shared = Result { () throws(DeviceError) in
        // Sound: the environment's text is copied before anybody could change it.
        let path = unsafe getenv(pathVariable).map { unsafe String(cString: $0) }
        return try Driver(path: path ?? "libcuda.so.1")
    }

    let functions: DriverFunctions
    /// Where its library was found.
    let path: String
    /// The newest version of the interface that it knows, as 1000 × major + 10 × minor.
    let version: Int
    private let process = getpid()

    /// Opens and starts the driver.
    ///
    /// - Throws: ``DeviceError/noDriver(reason:)`` if there is none, it is too old, or it does not start.
    convenience init(path: String) throws(DeviceError) { try self.init(DriverLibrary(path: path)) }

    /// Starts a driver that was opened.
    ///
    /// - Throws: ``DeviceError/noDriver(reason:)`` if it is too old, or does not start.
    init(_ library: DriverLibrary) throws(DeviceError) {
        path = library.path
        functions = try DriverFunctions(library)
        var version: Int32 = 0
        // Sound here and below: every pointer given is to a variable that lives until the call returns.
        let started = functions.initialize(0)
        _ = unsafe functions.driverVersion(&version)
        self.version = Int(version)
        guard started == 0 else {
            throw .noDriver(reason: "the driver does not start: \(status(started))\(Driver.advice(started))")
        }
    }

    /// What to do about a driver that does not start.
    private static func advice(_ number: nnstore_cu_result) -> String {
        switch number {
        case 34: ". The library is the toolkit's placeholder (stubs/libcuda.so); take its folder out of LD_LIBRARY_PATH"
        case 100: ". In a container, start it with the GPU (--gpus all)"
        case 802: ". A machine with NVSwitch needs nvidia-fabricmanager running"
        case 803: ". The library and the kernel's module have different versions; restart the machine after an update"
        case 804: ". A forward-compatibility library (cuda-compat) is used on a GPU that it is not made for"
        default: ""
        }
    }

    /// The driver's words for a return code.
    func status(_ number: nnstore_cu_result) -> DriverStatus {
        func text(_ function: nnstore_cuGetErrorText) -> String? {
            // Sound: the driver's texts are constants.
            var text: UnsafePointer<CChar>?
            guard unsafe function(number, &text) == 0, let text = unsafe text else { return nil }
            return unsafe String(cString: text)
        }
        let name = unsafe text(functions.errorName)
        let meaning = unsafe text(functions.errorMeaning)
        return DriverStatus(
            number: number, name: name ?? "an error that the driver has no name for",
            meaning: meaning ?? "nothing more is known")
    }

    /// Throws unless `result` is success.
    func check(
        _ result: nnstore_cu_result, _ operation: @autoclosure () -> String, on device: @autoclosure () -> String
    ) throws(DeviceError) {
        if result == 0 { return }
        let status = status(result)
        throw status.losesContext
            ? .contextLost(operation: operation(), device: device(), status: status)
            : .driver(operation: operation(), device: device(), status: status)
    }

    /// Whether this process is a child that was forked after the driver was started, in which it does not work.
    var isForked: Bool { getpid() != process }

    /// What is known of each device.
    func devices() throws(DeviceError) -> [DeviceProperties] {
        var count: Int32 = 0
        try check(unsafe functions.deviceCount(&count), "counting devices", on: "the driver")
        var devices: [DeviceProperties] = []
        for ordinal in 0..<max(0, Int(count)) { devices.append(try properties(ordinal)) }
        return devices
    }

    private func properties(_ ordinal: Int) throws(DeviceError) -> DeviceProperties {
        var device: nnstore_cu_device = 0
        let label = "cuda:\(ordinal)"
        try check(unsafe functions.device(&device, Int32(ordinal)), "looking for the device", on: label)
        func attribute(_ number: Int) throws(DeviceError) -> Int {
            var value: Int32 = 0
            try check(
                unsafe functions.deviceAttribute(&value, Int32(number), device), "asking for attribute \(number)",
                on: label)
            return Int(value)
        }
        var name = [CChar](repeating: 0, count: 256)
        try check(unsafe functions.deviceName(&name, Int32(name.count - 1), device), "asking for its name", on: label)
        var uuid = nnstore_cu_uuid()
        try check(unsafe functions.deviceUUID(&uuid, device), "asking for its UUID", on: label)
        var bytes = 0
        try check(unsafe functions.deviceMemory(&bytes, device), "asking for its memory", on: label)
        let uuidBytes = unsafe withUnsafeBytes(of: uuid) { unsafe Array($0) }
        return DeviceProperties(
            ordinal: ordinal,
            name: String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self),
            uuid: DeviceProperties.text(ofUUID: uuidBytes), memory: bytes,
            computeCapability: (
                try attribute(nnstore_cu_attribute_capability_major),
                try attribute(nnstore_cu_attribute_capability_minor)
            ),
            multiprocessors: try attribute(nnstore_cu_attribute_multiprocessors),
            hasMemoryPools: try attribute(nnstore_cu_attribute_memory_pools) != 0)
    }
}
