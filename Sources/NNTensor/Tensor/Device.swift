import NNDevices
import NNStore

/// Where a tensor's elements are and its operations run: the CPU, or a GPU.
public typealias Device = NNDevices.Device

extension Tensor {
    /// Where the elements are.
    public var device: Device { (storage.deviceBacking as? DeviceStorage)?.gpu.device ?? .cpu }

    /// The tensor on a device: itself if it is there, otherwise a contiguous copy. The gradient goes back to where the tensor is.
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

    /// The values on a device, without history; itself, if they are there. Contiguous, if they are not.
    func copied(to device: Device) throws -> Tensor {
        if device == self.device { return self }
        let source = try isContiguous && layout.byteCount == storage.byteCount ? self : copied("to")
        let result = try Tensor.unwritten(dtype, shape, on: device)
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
