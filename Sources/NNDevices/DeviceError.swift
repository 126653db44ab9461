/// What NNDevices throws.
///
/// Every case has a stable ``code`` and a ``description`` that names the device, what was wanted, what the driver said and what
/// to do next.
public enum DeviceError: Error, Sendable, Equatable {
    /// There is no usable driver, so there is no GPU.
    case noDriver(reason: String)
    /// There is no device of this number.
    case noSuchDevice(device: String, available: [String])
    /// The device has not as much memory.
    case outOfMemory(device: String, wanted: Int, free: Int, total: Int)
    /// A call of the driver failed.
    case driver(operation: String, device: String, status: DriverStatus)
    /// A call of the driver failed in a way after which the device's context can't be used: nothing on the device is left, and
    /// what the process still holds there is not freed.
    case contextLost(operation: String, device: String, status: DriverStatus)
    /// An operation was given an index that is not there. It is found when values are read, not when the operation is begun.
    case indexOutOfRange(device: String, index: Int, extent: Int)
    /// The process is a child that was forked after the driver was started.
    case afterFork(device: String)

    /// A short name for the kind of error that will not change between versions.
    public var code: String {
        switch self {
        case .noDriver: "no-driver"
        case .noSuchDevice: "no-such-device"
        case .outOfMemory: "out-of-device-memory"
        case .driver: "driver"
        case .contextLost: "context-lost"
        case .indexOutOfRange: "index-out-of-range"
        case .afterFork: "after-fork"
        }
    }
}

extension DeviceError: CustomStringConvertible {
    /// The message for a person.
    public var description: String {
        switch self {
        case .noDriver(let reason):
            "no GPU can be used: \(reason)"
        case .noSuchDevice(let device, let available):
            "there is no device \(device); there is \(available.joined(separator: ", ")). Device.tryGPU(0) gives the GPU if there "
                + "is one and else the CPU"
        case .outOfMemory(let device, let wanted, let free, let total):
            "\(device): \(wanted) bytes are wanted, \(free) of \(total) are free; free tensors there, or use less memory"
        case .driver(let operation, let device, let status):
            "\(device): \(operation) failed with \(status)"
        case .contextLost(let operation, let device, let status):
            "\(device): \(operation) failed with \(status), after which nothing on the device can be used; start the program "
                + "anew and go on from the last checkpoint"
        case .indexOutOfRange(let device, let index, let extent):
            "\(device): an operation was given the index \(index), and only 0 to \(extent - 1) are there. It was one of those "
                + "since values were last read; the same operation on the CPU says which one"
        case .afterFork(let device):
            "\(device): this process was forked after the driver was started, and the driver does not work in such a child; use "
                + "the GPU only after forking, or start a new program"
        }
    }
}

/// What the driver answered.
public struct DriverStatus: Sendable, Equatable, CustomStringConvertible {
    /// Its number, a `CUresult`.
    public let number: Int32
    /// The driver's name for it, such as `CUDA_ERROR_ILLEGAL_ADDRESS`.
    public let name: String
    /// The driver's sentence about it.
    public let meaning: String

    /// Name, number and meaning.
    public var description: String { "\(name) (\(number)): \(meaning)" }

    /// Whether it means that the device's context is lost: errors of kernels and of the hardware, after which every call fails.
    var losesContext: Bool {
        switch number {
        case 214, 700, 702, 710, 714...719, 999: true
        default: false
        }
    }
}
