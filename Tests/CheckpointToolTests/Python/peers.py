"""What numpy, safetensors and gguf make of files, as JSON; and files that they write.

    peers.py read FILE           name -> dtype, shape, SHA-256 of the row-major little-endian elements
    peers.py write KIND FILE     a file of every dtype, order and value that the library has
"""

import hashlib
import json
import sys

import numpy as np

NAMES = {"b1": "BOOL", "i1": "I8", "i2": "I16", "i4": "I32", "i8": "I64", "u1": "U8", "u2": "U16", "u4": "U32",
         "u8": "U64", "f2": "F16", "f4": "F32", "f8": "F64", "c8": "C64", "c16": "C128"}


def fact(array, dtype=None):
    array = np.asarray(array)
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    return {
        "dtype": dtype or NAMES[array.dtype.str[1:]],
        "shape": list(array.shape),
        "sha256": hashlib.sha256(np.ascontiguousarray(little).tobytes()).hexdigest(),
    }


def read(path):
    if path.endswith(".npz"):
        with np.load(path, allow_pickle=False) as archive:
            return {name: fact(archive[name]) for name in archive.files}
    if path.endswith(".npy"):
        return {"": fact(np.load(path, allow_pickle=False))}
    if path.endswith(".gguf"):
        import gguf

        found = {}
        for tensor in gguf.GGUFReader(path).tensors:
            shape = [int(extent) for extent in reversed(tensor.shape)]
            digest = hashlib.sha256(tensor.data.tobytes()).hexdigest()
            found[tensor.name] = {"dtype": tensor.tensor_type.name, "shape": shape, "sha256": digest}
        return found
    from safetensors.numpy import load_file

    return {name: fact(array) for name, array in load_file(path).items()}


def arrays():
    numbers = np.random.default_rng(7)
    found = {}
    for name in NAMES:
        array = (numbers.standard_normal((3, 4, 5)) * 50).astype(name)
        found[name] = array
        found[name + " columns"] = np.asfortranarray(array)
        found[name + " big"] = array.astype(array.dtype.newbyteorder(">"))
        found[name + " slice"] = array[:, ::2]
        found[name + " scalar"] = array[1, 2, 3]
        found[name + " empty"] = array[:0]
    return found


def write(kind, path):
    if kind == "npz":
        np.savez(path, **arrays())
    elif kind == "npz-compressed":
        np.savez_compressed(path, **arrays())
    elif kind == "npy":
        np.save(path, arrays()["f4 columns"])
    elif kind == "gguf":
        import gguf

        writer = gguf.GGUFWriter(path, "llama")
        for name in ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"]:
            getattr(writer, "add_" + name)("test." + name, 100)
        writer.add_float32("test.float32", 0.1)
        writer.add_float64("test.float64", 0.1)
        writer.add_bool("test.bool", True)
        writer.add_string("test.string", "üñ✓")
        writer.add_array("test.integers", [1, 2, 3])
        writer.add_array("test.floats", [0.5, 1.5])
        writer.add_array("test.bools", [True, False])
        writer.add_array("test.strings", ["a", "", "ü"])
        numbers = np.random.default_rng(7)
        matrix = numbers.standard_normal((4, 256)).astype(np.float32)
        writer.add_tensor("f32", matrix)
        writer.add_tensor("f16", matrix.astype(np.float16))
        writer.add_tensor("i32", (matrix * 100).astype(np.int32))
        for kind in [gguf.GGMLQuantizationType.Q4_0, gguf.GGMLQuantizationType.Q8_0, gguf.GGMLQuantizationType.BF16]:
            writer.add_tensor(kind.name, gguf.quants.quantize(matrix, kind), raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    else:
        raise SystemExit(kind)


if sys.argv[1] == "read":
    print(json.dumps(read(sys.argv[2])))
else:
    write(sys.argv[2], sys.argv[3])
