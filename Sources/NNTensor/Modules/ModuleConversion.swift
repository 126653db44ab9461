import NNStore
import OrderedCollections

extension Module {
    /// Converts all floating-point parameters and buffers to another floating-point dtype, in place: they stay the same objects,
    /// and what is shared stays shared. Gradients are converted with them; optimizers that keep something for the parameters
    /// are to be made anew.
    ///
    /// - Throws: ``TensorError/dtypeMismatch(operation:dtypes:reason:)`` if the dtype is no float that operations exist for.
    @discardableResult
    public final func to(_ dtype: DType) throws -> Self {
        guard dtype.isFloatingPoint else {
            throw TensorError.dtypeMismatch(
                operation: "\(typeName).to", dtypes: [dtype],
                reason: "models are converted to floats: F64, F32, F16 or BF16")
        }
        // Storages as wholes, so that tensors over one stay over one.
        var storages: OrderedDictionary<Storage, [Tensor]> = [:]
        for (_, tensor) in namedTensors(removeDuplicate: true) where tensor.currentLayout.dtype.isFloatingPoint {
            storages[tensor.storage, default: []].append(tensor)
        }
        for (storage, tensors) in storages {
            let old = tensors[0].currentLayout.dtype
            guard tensors.allSatisfy({ $0.currentLayout.dtype == old }) else {
                throw TensorError.dtypeMismatch(
                    operation: "\(typeName).to", dtypes: [old, dtype],
                    reason: "parameters of different dtypes look into one storage, which can't be converted as one")
            }
            if old == dtype { continue }
            let elements = try TensorLayout(old, shape: [storage.byteCount / old.bytesPerBlock])
            let converted = try Tensor(storage, elements).converted(to: dtype, "to")
            for tensor in tensors {
                let layout = tensor.currentLayout
                tensor.storage = converted.storage
                tensor.currentLayout = try TensorLayout(
                    dtype, shape: layout.shape, strides: layout.strides, offset: layout.offset)
                tensor.grad = try tensor.grad?.converted(to: dtype, "to")
            }
        }
        return self
    }

    /// F64; see ``to(_:)``.
    @discardableResult
    public final func double() throws -> Self { try to(.f64) }

    /// F32; see ``to(_:)``.
    @discardableResult
    public final func float() throws -> Self { try to(.f32) }

    /// Moves all parameters and buffers to a device, in place: they stay the same objects, what is shared stays shared, and
    /// tensors outside that look into the same memory follow. Gradients are moved with them; what an optimizer keeps for a
    /// parameter follows at its next step.
    ///
    /// - Throws: `DeviceError` if the device is not there or has not enough memory; nothing has been moved then.
    @discardableResult
    public final func to(_ device: Device) throws -> Self {
        var storages: OrderedSet<Storage> = []
        for (_, tensor) in namedTensors(removeDuplicate: true) {
            if tensor.device != device { storages.append(tensor.storage) }
            if let gradient = tensor.grad, gradient.device != device { storages.append(gradient.storage) }
        }
        try Array(storages).move(to: device)
        return self
    }
}
