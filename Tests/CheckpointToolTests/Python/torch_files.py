"""What PyTorch makes of files that were imported and exported again.

    torch_files.py write FOLDER          files of many kinds
    torch_files.py compare (ONE OTHER)...  exits with 1 and says what differs, sharing of memory included
"""

import collections
import os
import sys
import warnings

import torch

warnings.simplefilter("ignore")


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(11, 6)
        self.body = torch.nn.Sequential(torch.nn.Linear(6, 6), torch.nn.BatchNorm1d(6), torch.nn.Linear(6, 6))
        self.head = torch.nn.Linear(6, 11, bias=False)
        self.head.weight = self.embedding.weight
        self.register_buffer("scale", torch.arange(6, dtype=torch.float64))


def dtypes():
    found = {}
    for name in ["float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool",
                 "complex128", "complex64", "uint16", "uint32", "uint64", "float8_e5m2", "float8_e4m3fn",
                 "float8_e5m2fnuz", "float8_e4m3fnuz", "float8_e8m0fnu"]:
        dtype = getattr(torch, name, None)
        if dtype is not None:
            raw = torch.arange(12 * dtype.itemsize, dtype=torch.int64).to(torch.uint8) % 2
            found[name] = raw.view(dtype).reshape(3, 4)
    return found


def special():
    parameter = torch.nn.Parameter(torch.ones(3))
    parameter.note = "kept"
    attributed = torch.ones(2)
    attributed.note = [1, 2]
    found = {
        "coo": torch.sparse_coo_tensor([[0, 1, 2], [2, 0, 1]], [1.0, 2.0, 3.0], (3, 3)).coalesce(),
        "csr": torch.eye(4).to_sparse_csr(), "bsc": torch.eye(4).to_sparse_bsc((2, 2)),
        "meta": torch.empty(3, 4, device="meta"), "storage": torch.arange(4.0).storage(),
        "parameter": parameter, "attributed": attributed, "buffer": torch.nn.Buffer(torch.ones(3)),
        "batch": torch.stack([torch.eye(3), torch.eye(3)]).to_sparse_csr(),
    }
    try:
        data = torch.randn(3, 4)
        found["quantised"] = torch.quantize_per_tensor(data, 0.1, 3, torch.qint8)
        found["channels"] = torch.quantize_per_channel(data, torch.ones(3) * 0.1, torch.zeros(3).long(), 0, torch.quint8)
    except RuntimeError as error:
        print("no quantised tensors:", error)
    return found


def values():
    torch.manual_seed(3)
    net = Net()
    base = torch.arange(48, dtype=torch.float32).reshape(6, 8)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    net.body(torch.randn(5, 6)).sum().backward()
    optimizer.step()
    complex_numbers = torch.tensor([1 + 2j, 3 - 4j])
    return {
        "state_dict": net.state_dict(),
        "parameters": dict(net.named_parameters()),
        "training": {"epoch": 3, "model": net.state_dict(), "optimizer": optimizer.state_dict(), "rng": torch.get_rng_state(),
                     "best": None, "name": "run-α", "size": torch.Size([2, 3]), "flags": (True, [1.5, -7, 2**70]),
                     "set": {1, 2}, "device": torch.device("cuda", 1), "dtype": torch.bfloat16, 5: "integer key",
                     "counter": collections.Counter(a=2), "pairs": {(1, 2): "tuple key"}, "bytes": b"\x00\xff"},
        "views": {"base": base, "t": base.t(), "part": base[1:4, 2:6], "expanded": base[0].expand(4, 8), "strided": base[::2, ::3]},
        "dtypes": dtypes(),
        # Only those without a class of storages of their own may lie over one.
        "two_dtypes": {"halves": base.view(torch.uint16), "words": base.view(torch.uint32), "bytes": base.view(torch.float8_e5m2)},
        "signs": {"plain": complex_numbers, "conj": complex_numbers.conj(), "neg": complex_numbers.clone().conj().imag},
        "special": special(),
        "empty": {"none": torch.empty(0, 3), "scalar": torch.tensor(1.5), "list": [], "dict": {}},
        "bare": torch.arange(5),
        "list": [torch.ones(2), {"a": torch.zeros(1, requires_grad=True)}],
    }


def write(folder):
    for name, value in values().items():
        torch.save(value, os.path.join(folder, name + ".pt"))
        if name not in ("dtypes", "two_dtypes", "special"):
            torch.save(value, os.path.join(folder, name + ".legacy.pt"), _use_new_zipfile_serialization=False)
    torch.save(values()["training"]["model"], os.path.join(folder, "protocol4.pt"), pickle_protocol=4)


def tensors(value, path=""):
    if isinstance(value, torch.Tensor):
        if value.layout == torch.strided and not value.is_meta and not value.is_quantized:
            yield path, value
    elif isinstance(value, dict):
        for key, part in value.items():
            yield from tensors(part, f"{path}.{key}")
    elif isinstance(value, (list, tuple)):
        for index, part in enumerate(value):
            yield from tensors(part, f"{path}.{index}")


def sharing(value):
    groups = collections.defaultdict(list)
    for path, tensor in tensors(value):
        if tensor.numel():
            groups[tensor.untyped_storage()._cdata].append(path)
    return sorted(map(sorted, groups.values()))


def same(one, other, path=""):
    if type(one) is not type(other):
        raise SystemExit(f"{path}: {type(one)} is not {type(other)}")
    if isinstance(one, (torch.storage.TypedStorage, torch.UntypedStorage)):
        if one.tolist() != other.tolist():
            raise SystemExit(f"{path}: storages differ")
    elif isinstance(one, torch.Tensor):
        if getattr(one, "__dict__", None) != getattr(other, "__dict__", None):
            raise SystemExit(f"{path}: attributes {one.__dict__} are not {other.__dict__}")
        if (one.layout, one.shape, one.dtype, one.device) != (other.layout, other.shape, other.dtype, other.device):
            raise SystemExit(f"{path}: layout, shape, dtype or device differ")
        if one.layout != torch.strided:
            return same(one.to_dense(), other.to_dense(), path)
        if one.is_meta:
            return
        if one.is_quantized:
            if one.qscheme() != other.qscheme():
                raise SystemExit(f"{path}: schemes differ")
            same(one.dequantize(), other.dequantize(), path)
            return same(one.int_repr(), other.int_repr(), path)
        facts = [(t.dtype, t.shape, t.stride() if t.numel() > 1 else None, t.requires_grad) for t in (one, other)]
        if facts[0] != facts[1]:
            raise SystemExit(f"{path}: {facts}")
        bits = [t.detach().resolve_conj().resolve_neg().contiguous().reshape(-1).view(torch.uint8) for t in (one, other)]
        if not torch.equal(*bits):
            raise SystemExit(f"{path}: values differ")
    elif isinstance(one, dict):
        if list(one) != list(other) or getattr(one, "_metadata", None) != getattr(other, "_metadata", None):
            raise SystemExit(f"{path}: keys or metadata differ")
        for key in one:
            same(one[key], other[key], f"{path}.{key}")
    elif isinstance(one, (list, tuple)):
        if len(one) != len(other):
            raise SystemExit(f"{path}: lengths differ")
        for index, (left, right) in enumerate(zip(one, other)):
            same(left, right, f"{path}.{index}")
    elif one != other:
        raise SystemExit(f"{path}: {one!r} is not {other!r}")


def compare(one, other):
    # The first may be of a protocol that the safe loader does not read; this program has written it.
    left = torch.load(one, weights_only=False, map_location="cpu")
    right = torch.load(other, weights_only=True)
    same(left, right)
    # Conjugates and negatives have memory of their own once they are values.
    if "signs" not in one and sharing(left) != sharing(right):
        raise SystemExit(f"sharing: {sharing(left)} is not {sharing(right)}")


if sys.argv[1] == "write":
    write(sys.argv[2])
else:
    for one, other in zip(sys.argv[2::2], sys.argv[3::2]):
        try:
            compare(one, other)
        except SystemExit as difference:
            raise SystemExit(f"{other}: {difference}")
