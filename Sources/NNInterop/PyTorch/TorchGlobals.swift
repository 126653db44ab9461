/// The classes and functions whose values are read, by name. Everything else is refused, or kept as a record.
enum TorchGlobals {
    static func isKnown(_ global: PickleGlobal) -> Bool {
        if known[global.module]?.contains(global.name) == true { return true }
        switch global.module {
        case "torch", "torch.cuda":
            if let type = global.name.storageClassName { return TorchDType(storageClass: type) != nil }
            if isTensorClass(global) { return true }
            return global.module == "torch" && TorchDType(named: global.name) != nil
        default: return false
        }
    }

    /// Whether it is one of the old classes of tensors, each of a dtype: `torch.FloatTensor`, `torch.cuda.HalfTensor`.
    static func isTensorClass(_ global: PickleGlobal) -> Bool {
        guard global.module == "torch" || global.module == "torch.cuda", global.name.hasSuffix("Tensor") else {
            return false
        }
        let element = global.name.dropLast("Tensor".count)
        return TorchDType(storageClass: element + "Storage") != nil
    }

    private static let known: [String: Set<String>] = {
        let numpy: Set<String> = ["scalar", "_reconstruct"]
        return [
            "torch._utils": [
                "_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3", "_rebuild_parameter",
                "_rebuild_parameter_with_state", "_rebuild_qtensor", "_rebuild_sparse_tensor",
                "_rebuild_sparse_csr_tensor", "_rebuild_nested_tensor", "_rebuild_meta_tensor_no_storage",
                "_rebuild_device_tensor_from_numpy", "_rebuild_xla_tensor", "_rebuild_device_tensor_from_cpu_tensor",
                "_rebuild_wrapper_subclass",
            ],
            "torch._tensor": ["_rebuild_from_type_v2"],
            "torch.tensor": ["_rebuild_from_type_v2"],
            "torch": [
                "Tensor", "Size", "device", "per_tensor_affine", "per_tensor_symmetric", "per_channel_affine",
                "per_channel_symmetric", "per_channel_affine_float_qparams",
            ],
            "torch.nn.parameter": ["Parameter", "Buffer"],
            "torch.nn": ["Parameter", "Buffer"],
            "torch.storage": ["UntypedStorage", "TypedStorage", "_load_from_bytes"],
            "torch.serialization": ["_get_layout"],
            "collections": ["OrderedDict", "Counter", "defaultdict"],
            "_codecs": ["encode"],
            "builtins": [
                "bytes", "bytearray", "set", "frozenset", "complex", "slice", "range", "xrange",
                // Factories of a defaultdict, which are kept as names.
                "int", "float", "str", "list", "dict", "tuple", "bool",
            ],
            "torch.jit._pickle": [
                "build_intlist", "build_doublelist", "build_boollist", "build_tensorlist", "restore_type_tag",
            ],
            "numpy": ["ndarray", "dtype"],
            "numpy.core.multiarray": numpy,
            "numpy._core.multiarray": numpy,
            "numpy.core.numeric": ["_frombuffer"],
            "numpy._core.numeric": ["_frombuffer"],
            "ml_dtypes": Set(NumPyElement.extended.keys),
        ]
    }()
}

extension String {
    /// The name, if it is that of a class of storages.
    fileprivate var storageClassName: String? { hasSuffix("Storage") ? self : nil }
}
