import NNDevices
import NNStore

/// Where a tensor's elements are and its operations run: the CPU, or a GPU.
public typealias Device = NNDevices.Device

extension Tensor {
    /// Where the elements are.
    public var device: Device { storage.device }

    /// The tensor on a device: itself if it is there, otherwise a contiguous copy. The gradient goes back to where the tensor is.
    ///
    /// Copies to the CPU wait for the device, and copies to a GPU until the values are read from here, unless they are in
    /// pinned memory (``pinMemory()``): then the call returns at once, the GPU waits before it uses them, and nobody may
    /// write to them until then.
    ///
    /// - Throws: `DeviceError` if the device is not there or has not enough memory.
    public func to(_ device: Device) throws -> Tensor {
        try requireValue("to")
        let here = self.device
        return device == here ? self : try copy(to: device)
    }

    /// A contiguous copy on a device, which may be the one that the tensor is on. The gradient goes back to where the tensor is.
    ///
    /// - Throws: `DeviceError` if the device is not there or has not enough memory.
    public func copy(to device: Device) throws -> Tensor {
        try requireValue("copy")
        let here = self.device
        let copy = try device == here ? copied("copy") : copied(to: device)
        copy.record("copy", [self]) { gradient, _ in [try gradient.copied(to: here)] }
        return copy
    }

    /// A contiguous copy in pinned memory of this process, from which GPUs copy by themselves: the next batch goes to the GPU
    /// while it works on this one.
    ///
    /// - Throws: `DeviceError` if there is no GPU.
    public func pinMemory() throws -> Tensor {
        try requireValue("pinMemory")
        if isPinned { return self }
        let source = try isContiguous && layout.byteCount == storage.byteCount ? self : copied("pinMemory")
        return Tensor(try source.storage.pinned(), try TensorLayout(dtype, shape: shape))
    }

    /// Whether the elements are in pinned memory; see ``pinMemory()``.
    public var isPinned: Bool { storage.isPinned }

    /// The values on a device, without history; itself, if they are there. Contiguous, if they are not.
    func copied(to device: Device) throws -> Tensor {
        if device == self.device { return self }
        let source = try isContiguous && layout.byteCount == storage.byteCount ? self : copied("to")
        let result = try Tensor.unwritten(dtype, shape, on: device)
        if let destination = result.storage.deviceBacking as? DeviceStorage,
            try source.storage.beginCopy(to: destination)
        {
            return result
        }
        try [source.storage].copyBytes(to: [result.storage])
        return result
    }

    /// - Throws: ``TensorError/wrongDevice(operation:devices:reason:)`` if the elements are on a GPU.
    func requireCPU(_ operation: String) throws {
        guard storage.deviceBacking == nil else {
            throw TensorError.wrongDevice(
                operation: operation, devices: [device.description],
                reason: "the operation runs on the CPU only. Copy the tensor there with to(.cpu)")
        }
    }
}

/// On which device an operation runs.
enum Placement {
    /// The device that all operands are on.
    ///
    /// - Throws: ``TensorError/wrongDevice(operation:devices:reason:)`` if there is more than one.
    static func device(of tensors: [Tensor], _ operation: String) throws -> Device {
        guard let first = tensors.first?.device else { return .cpu }
        for tensor in tensors.dropFirst() {
            let other = tensor.device
            if other != first {
                throw TensorError.wrongDevice(
                    operation: operation, devices: [first.description, other.description],
                    reason: "all operands are on one device. Move them there with to(_:)")
            }
        }
        return first
    }

    /// The same for operations on elements, which take numbers, and tensors without dimensions on the CPU, along.
    static func device(ofElementwise tensors: [Tensor], _ operation: String) throws -> Device {
        // Most programs have no GPU, and most operands are on the same device.
        if tensors.allSatisfy({ $0.storage.deviceBacking == nil }) { return .cpu }
        return try device(of: tensors.filter { $0.rank > 0 || $0.storage.deviceBacking != nil }, operation)
    }
}

/// The GPU of this number, or the CPU if there is none.
public func tryGPU(_ ordinal: Int = 0) -> Device { Device.tryGPU(ordinal) }

/// All GPUs, or the CPU alone if there are none.
public func tryAllGPUs() -> [Device] { Device.tryAllGPUs() }
