import NNStore

/// Tensors as the calls that rebuild them.
extension TorchPickler {
    mutating func write(_ tensor: StateTensor, _ path: StatePath) throws {
        let (tensor, element) = try known(tensor, path)
        let isParameter = tensor.tag == "torch.nn.parameter.Parameter"
        let isBuffer = tensor.tag == "torch.nn.parameter.Buffer"
        if let tag = tensor.tag, !isParameter, !isBuffer {
            report.converted.append("\(TorchPickler.place(path)): a \(quoted(tag)) became a tensor")
        }
        if isBuffer {
            return try writeWithAttributes(
                tensor, ["persistent": true, "_is_buffer": true], path)
        }
        if !isParameter { return writeCall(tensor, element) }
        writer.global("torch._utils", "_rebuild_parameter")
        var data = tensor
        data.requiresGrad = false
        writeCall(data, element)
        writer.boolean(tensor.requiresGrad && element.isFloatingPoint)
        writeNoHooks()
        writer.operation(.tuple3)
        writer.operation(.reduce)
    }

    /// The tensor as one that PyTorch has, and its dtype there.
    func asKnown(_ tensor: StateTensor) -> (tensor: StateTensor, element: TorchDType)? {
        guard let known = TorchDType(tensor.dtype), known.dtype.elementsPerBlock == 1 || tensor.fits(known) else {
            return nil
        }
        return (tensor, known)
    }

    private mutating func known(
        _ tensor: StateTensor, _ path: StatePath
    ) throws -> (tensor: StateTensor, element: TorchDType) {
        if let known = asKnown(tensor) { return known }
        // Blocks that PyTorch has no dtype for: their bytes.
        guard let bytes = try tensor.asBytes(), let byte = TorchDType(named: "uint8") else {
            throw InteropError.unsupportedDType(
                file: file, format: "PyTorch", tensor: path.flatName, dtype: tensor.dtype.name)
        }
        note(path, .tensor(tensor), became: "its bytes, since PyTorch has no \(tensor.dtype)")
        return (bytes, byte)
    }

    /// Whether the storage can be one of the dtype's own class.
    private func isTyped(_ tensor: StateTensor, _ element: TorchDType) -> Bool {
        element.storageClass != nil && !untyped.contains(tensor.storage)
    }

    private mutating func writeCall(_ tensor: StateTensor, _ element: TorchDType) {
        writer.global("torch._utils", isTyped(tensor, element) ? "_rebuild_tensor_v2" : "_rebuild_tensor_v3")
        writeArguments(tensor, element)
        writer.operation(.reduce)
    }

    /// (storage, offset, size, strides, requires_grad, hooks), and the dtype where the storage has none.
    private mutating func writeArguments(_ tensor: StateTensor, _ element: TorchDType) {
        let isTyped = isTyped(tensor, element)
        writer.operation(.mark)
        writeStorage(of: tensor, isTyped ? element : nil)
        writePlace(tensor, element)
        writer.boolean(tensor.requiresGrad && element.isFloatingPoint)
        writeNoHooks()
        if !isTyped { writer.global("torch", element.name) }
        writer.operation(.tuple)
    }

    /// Offset, size and strides, in the elements that PyTorch counts.
    private mutating func writePlace(_ tensor: StateTensor, _ element: TorchDType) {
        let pairs = element.dtype.elementsPerBlock
        writer.integer(tensor.layout.offset / pairs)
        var shape = tensor.shape
        var strides = tensor.layout.strides
        if pairs > 1, let last = shape.indices.last {
            shape[last] /= pairs
            strides = strides.enumerated().map { $0.offset == last ? 1 : $0.element / pairs }
        }
        writer.integers(shape)
        writer.integers(strides)
    }

    mutating func writeNoHooks() {
        writer.global("collections", "OrderedDict")
        writer.operation(.emptyTuple)
        writer.operation(.reduce)
    }

    /// ("storage", class, key, location, number of elements).
    private mutating func writeStorage(of tensor: StateTensor, _ element: TorchDType?) {
        let id = plan.ids[tensor.storage]!
        writer.operation(.mark)
        writer.text("storage")
        if let element {
            writer.global("torch", element.storageClass ?? "")
        } else {
            writer.global("torch.storage", "UntypedStorage")
        }
        writer.text(String(id - 1))
        writer.text("cpu")
        writer.integer(plan.byteCount(of: id) / (element?.elementSize ?? 1))
        writer.operation(.tuple)
        writer.operation(.binPersID)
    }

    // MARK: Records of tensors

    /// Writes a record of which importing makes a tensor that is more than one, if its parts are what they should be.
    mutating func writeSpecialTensor(_ type: String, _ parts: StateDictionary, _ path: StatePath) throws -> Bool {
        switch type {
        case "torch.sparse_coo": return try writeSparse(type, ["indices", "values"], parts, path)
        case "torch.sparse_csr", "torch.sparse_csc", "torch.sparse_bsr", "torch.sparse_bsc":
            return try writeSparse(type, ["compressed_indices", "plain_indices", "values"], parts, path)
        case "torch._utils._rebuild_qtensor": return try writeQuantised(parts, path)
        case "torch.layout":
            guard let name = parts["name"]?.string else { return false }
            writeLayout(name)
            return true
        case "torch._utils._rebuild_meta_tensor_no_storage":
            guard case .record("torch.dtype", _)? = parts["dtype"], case .tuple? = parts["shape"],
                case .tuple? = parts["strides"], parts["requires_grad"]?.bool != nil, parts.count == 4
            else { return false }
            writer.global("torch._utils", "_rebuild_meta_tensor_no_storage")
            try writeTuple(parts.map(\.value), tag: nil, path)
            writer.operation(.reduce)
            return true
        case "torch.Tensor":
            guard let tensor = parts["data"]?.tensor, let state = parts["state"], parts.count == 2, tensor.tag == nil
            else {
                return false
            }
            try writeWithAttributes(tensor, state, path)
            return true
        case "torch.nn.parameter.Parameter" where parts["requires_grad"] != nil:
            guard case .record(let inner, let data)? = parts["data"], let wants = parts["requires_grad"]?.bool,
                parts.count == 2
            else { return false }
            writer.global("torch._utils", "_rebuild_parameter")
            guard try writeSpecialTensor(inner, data, path.appending("data")) else {
                throw InteropError.invalidTree(
                    path: path.flatName, reason: "a parameter of type \(quoted(inner)) is none that PyTorch has")
            }
            writer.boolean(wants)
            writeNoHooks()
            writer.operation(.tuple3)
            writer.operation(.reduce)
            return true
        case "torch.nn.parameter.Parameter":
            guard let tensor = parts["data"]?.tensor, let state = parts["state"], parts.count == 2,
                let (known, element) = asKnown(tensor)
            else { return false }
            writer.global("torch._utils", "_rebuild_parameter_with_state")
            writer.operation(.mark)
            var data = known
            data.requiresGrad = false
            writeCall(data, element)
            writer.boolean(tensor.requiresGrad && element.isFloatingPoint)
            writeNoHooks()
            try write(state, path.appending("state"))
            writer.operation(.tuple)
            writer.operation(.reduce)
            return true
        case "torch.storage.TypedStorage", "torch.storage.UntypedStorage":
            // All of a storage, which is all that is written of it.
            guard let tensor = parts["data"]?.tensor, parts.count == 1, let (known, element) = asKnown(tensor),
                known.layout.isContiguous, known.layout.byteRange == 0..<plan.byteCount(of: plan.ids[known.storage]!)
            else { return false }
            let isTyped = type.hasSuffix("TypedStorage") && !type.hasSuffix("UntypedStorage")
            guard !isTyped || self.isTyped(known, element) else { return false }
            writeStorage(of: known, isTyped ? element : nil)
            return true
        default: return false
        }
    }

    private mutating func writeWithAttributes(_ tensor: StateTensor, _ state: StateTree, _ path: StatePath) throws {
        let (tensor, element) = try known(tensor, path)
        writer.global("torch._tensor", "_rebuild_from_type_v2")
        writer.operation(.mark)
        writer.global("torch._utils", isTyped(tensor, element) ? "_rebuild_tensor_v2" : "_rebuild_tensor_v3")
        writer.global("torch", "Tensor")
        writeArguments(tensor, element)
        try write(state, path.appending("state"))
        writer.operation(.tuple)
        writer.operation(.reduce)
    }

    private mutating func writeLayout(_ name: String) {
        writer.global("torch.serialization", "_get_layout")
        writer.text(name)
        writer.operation(.tuple1)
        writer.operation(.reduce)
    }

    private mutating func writeSparse(
        _ layout: String, _ names: [String], _ parts: StateDictionary, _ path: StatePath
    ) throws -> Bool {
        guard names.allSatisfy({ parts[.text($0)]?.tensor != nil }), case .tuple? = parts["shape"] else { return false }
        writer.global("torch._utils", "_rebuild_sparse_tensor")
        writeLayout(layout)
        writer.operation(.mark)
        for name in names { try write(parts[.text(name)]!, path.appending(.text(name))) }
        try write(parts["shape"]!, path.appending("shape"))
        if let isCoalesced = parts["is_coalesced"] { try write(isCoalesced, path.appending("is_coalesced")) }
        writer.operation(.tuple)
        writer.operation(.tuple2)
        writer.operation(.reduce)
        return true
    }

    private mutating func writeQuantised(_ parts: StateDictionary, _ path: StatePath) throws -> Bool {
        guard let data = parts["data"]?.tensor, let name = parts["dtype"]?.string,
            let element = TorchDType(named: name),
            name.hasPrefix("q"), element.dtype == data.dtype, !untyped.contains(data.storage),
            let scheme = parts["scheme"]?.string
        else { return false }
        let isPacked = element.elementsPerByte > 1
        let extents = parts["shape"]?.children.compactMap(\.value.int)
        guard isPacked == (extents != nil) else { return false }
        let keys: [StateKey] = parts["axis"] == nil ? ["scale", "zero_point"] : ["scales", "zero_points", "axis"]
        guard keys.allSatisfy({ parts[$0] != nil }), parts.count == keys.count + (isPacked ? 4 : 3) else {
            return false
        }
        writer.global("torch._utils", "_rebuild_qtensor")
        writer.operation(.mark)
        writeStorage(of: data, element)
        if let extents {
            guard data.layout.offset == 0, let strides = try? TensorLayout.contiguousStrides(of: extents) else {
                throw InteropError.invalidTree(path: path.flatName, reason: "it is packed, and no whole storage")
            }
            writer.integer(0)
            writer.integers(extents)
            writer.integers(strides)
        } else {
            writePlace(data, element)
        }
        writer.operation(.mark)
        writer.global("torch", scheme)
        for key in keys { try write(parts[key]!, path.appending(key)) }
        writer.operation(.tuple)
        writer.boolean(false)
        writeNoHooks()
        writer.operation(.tuple)
        writer.operation(.reduce)
        return true
    }
}

extension StateTensor {
    /// Whether the rows are whole pairs, as PyTorch's 4-bit floats are counted.
    func fits(_ element: TorchDType) -> Bool {
        let pairs = element.dtype.elementsPerBlock
        guard let last = shape.last, let step = layout.strides.last else { return false }
        return last % pairs == 0 && step == 1 && layout.strides.dropLast().allSatisfy { $0 % pairs == 0 }
            && layout.offset % pairs == 0
    }

    /// The tensor's blocks as bytes, if they stand one after another: in rows where rows are whole blocks.
    func asBytes() throws -> StateTensor? {
        guard layout.isContiguous else { return nil }
        let block = dtype.elementsPerBlock
        var bytes = [layout.byteCount]
        if let row = shape.last, row % block == 0 {
            bytes = shape.dropLast() + [row / block * dtype.bytesPerBlock]
        }
        return try StateTensor(
            storage: storage, layout: try TensorLayout(.u8, shape: bytes, offset: layout.byteRange.lowerBound))
    }
}
