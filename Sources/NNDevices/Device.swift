/// Where tensors are: the processor with its memory, or a GPU.
public struct Device: Sendable, Hashable {
    /// The number of the GPU, from 0 on; `nil` for the CPU.
    public let ordinal: Int?

    /// The processor and its memory.
    public static let cpu = Device(ordinal: nil)

    /// The GPU of this number. Whether there is one shows when it is used.
    public static func cuda(_ ordinal: Int) -> Device { Device(ordinal: ordinal) }

    private init(ordinal: Int?) { self.ordinal = ordinal }

    /// Whether it is a GPU.
    public var isGPU: Bool { ordinal != nil }
}

extension Device: CustomStringConvertible {
    /// `cpu` or `cuda:0`, as PyTorch writes it.
    public var description: String { ordinal.map { "cuda:\($0)" } ?? "cpu" }
}

extension Device {
    /// The GPUs that can be used. Empty if there is none; ``whyNoGPU`` says why.
    public static var gpus: [Device] { (try? GPU.all.get().map { .cuda($0.properties.ordinal) }) ?? [] }

    /// Why no GPU can be used: no driver, one that is too old, one that does not start. `nil` if there is one.
    public static var whyNoGPU: DeviceError? {
        do throws(DeviceError) {
            return try GPU.all.get().isEmpty ? .noDriver(reason: "the driver finds no device") : nil
        } catch {
            return error
        }
    }

    /// The GPU of this number, or the CPU if there is none.
    public static func tryGPU(_ ordinal: Int = 0) -> Device {
        gpus.contains(.cuda(ordinal)) ? .cuda(ordinal) : .cpu
    }

    /// All GPUs, or the CPU alone if there are none.
    public static func tryAllGPUs() -> [Device] { gpus.isEmpty ? [.cpu] : gpus }

    /// What the driver says of the GPU; `nil` for the CPU.
    ///
    /// - Throws: ``DeviceError`` if there is no such device.
    public func properties() throws(DeviceError) -> DeviceProperties? {
        isGPU ? try gpu().properties : nil
    }

    /// The bytes of the GPU's memory that nobody uses, this and other processes considered, and of all its memory.
    ///
    /// - Throws: ``DeviceError`` if it is no GPU, or not there.
    public func memory() throws(DeviceError) -> (free: Int, total: Int) { try gpu().memory() }

    /// Waits until everything that was begun on the device is done. The CPU has nothing to wait for.
    ///
    /// - Throws: ``DeviceError`` with what went wrong on the device since the last look.
    public func synchronize() throws(DeviceError) {
        if isGPU { try gpu().synchronize() }
    }

    /// The device's state in this process.
    ///
    /// - Throws: ``DeviceError/noSuchDevice(device:available:)`` or ``DeviceError/noDriver(reason:)`` if it is not there.
    package func gpu() throws(DeviceError) -> GPU {
        let all = try GPU.all.get()
        guard let ordinal, all.indices.contains(ordinal) else {
            throw .noSuchDevice(
                device: description, available: all.map { "cuda:\($0.properties.ordinal)" } + ["cpu"])
        }
        return all[ordinal]
    }
}
