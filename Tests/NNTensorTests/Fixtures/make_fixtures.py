"""Writes what PyTorch answers to the questions that the tests of NNTensor ask, as JSON files beside this one.

    python make_fixtures.py        # with PyTorch 2.13; the files are part of the repository

Floats are written as the integers that their bits are, because JSON has neither NaN nor infinities.
"""

import json
import random
import struct
from pathlib import Path

import torch

HERE = Path(__file__).resolve().parent
DTYPES = {
    "BOOL": torch.bool, "U8": torch.uint8, "I8": torch.int8, "I16": torch.int16, "I32": torch.int32, "I64": torch.int64,
    "F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32, "F64": torch.float64,
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}


def write(name: str, value: object) -> None:
    (HERE / f"{name}.json").write_text(json.dumps(value, indent=None, separators=(",", ":")) + "\n")


def bits(tensor: torch.Tensor) -> list[int]:
    code = {torch.float32: ("f", "I"), torch.float64: ("d", "Q")}[tensor.dtype]
    return [struct.unpack("<" + code[1], struct.pack("<" + code[0], value))[0] for value in tensor.flatten().tolist()]


def promotion() -> list:
    """Result dtypes of torch.result_type: tensors with dimensions, without, and numbers."""
    rows = []
    for left in DTYPES.values():
        for right in DTYPES.values():
            for left_shape in ([1], []):
                for right_shape in ([1], []):
                    a, b = torch.ones(left_shape, dtype=left), torch.ones(right_shape, dtype=right)
                    rows.append([NAMES[left], len(left_shape), NAMES[right], len(right_shape), NAMES[torch.result_type(a, b)]])
        for shape in ([1], []):
            a = torch.ones(shape, dtype=left)
            for number, name in ((True, "Bool"), (1, "Int"), (1.0, "Double")):
                rows.append([NAMES[left], len(shape), name, 0, NAMES[torch.result_type(a, number)]])
    return rows


SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.5, 2.5, -2.5, 1e-3, -1e-3, 3.7, -3.7, 10.0, -10.0, 88.0, -88.0, 100.0, -104.0,
           1e-20, 1e20, -1e20, 1e-40, -1e-40, float("inf"), float("-inf"), float("nan"), 0.1, 0.9999, 6.25, -6.25, 20.0]
UNARY = {
    "abs": torch.abs, "sign": torch.sign, "exp": torch.exp, "log": torch.log, "sqrt": torch.sqrt, "tanh": torch.tanh,
    "sigmoid": torch.sigmoid, "relu": torch.relu, "gelu": torch.nn.functional.gelu, "erf": torch.erf, "sin": torch.sin,
    "cos": torch.cos, "floor": torch.floor, "ceil": torch.ceil, "round": torch.round, "negative": torch.neg,
}
BINARY = {
    "add": torch.add, "subtract": torch.sub, "multiply": torch.mul, "divide": torch.div, "maximum": torch.maximum,
    "minimum": torch.minimum, "pow": torch.pow,
}


def elementwise() -> dict:
    result = {}
    for name, dtype in (("F32", torch.float32), ("F64", torch.float64)):
        x = torch.tensor(SPECIAL, dtype=dtype)
        pairs = torch.cartesian_prod(x, x)
        left, right = pairs[:, 0].contiguous(), pairs[:, 1].contiguous()
        result[name] = {
            "x": bits(x),
            "unary": {op: bits(f(x)) for op, f in UNARY.items()},
            "binary": {op: bits(f(left, right)) for op, f in BINARY.items()},
        }
    return result


def conversions() -> list:
    """Values that every dtype can hold or that are rounded; floats that no integer holds are left out: C leaves them open."""
    rows = []
    values = [0, 1, 2, 3, 100, 127, 200, 255, 1000, 32767, 65504, 70000, -1, -2, -100, -128, -1000, 2**31 - 1, -(2**31), 2**40]
    fractions = [0.5, 1.5, 2.5, -0.5, -1.5, 0.1, 3.999, 1 / 3, 65519.9, 1e-7, 100.7]
    for origin, source in DTYPES.items():
        own = [value for value in values if source.is_floating_point or in_range(value, source)]
        x = torch.tensor(own, dtype=source)
        if source.is_floating_point:
            x = torch.cat([x, torch.tensor(fractions, dtype=source)])
        for target, dtype in DTYPES.items():
            kept = [v for v in x if dtype.is_floating_point or dtype == torch.bool or in_range(float(v), dtype)]
            if not kept:
                continue
            y = torch.stack(kept)
            rows.append([origin, target, bits(y.double()), bits(y.to(dtype).double())])
    return rows


def in_range(value: float, dtype: torch.dtype) -> bool:
    if dtype == torch.bool:
        return value in (0, 1)
    return torch.iinfo(dtype).min <= value <= torch.iinfo(dtype).max


def printing() -> list:
    generator = torch.Generator().manual_seed(1)
    tensors = [
        torch.tensor([]), torch.tensor(3.0), torch.tensor(7), torch.tensor(True), torch.tensor([1.0, 2, 3]),
        torch.tensor([1.5, 2.25, 100]), torch.tensor([1e-5, 1.0]), torch.tensor([1e10, 1.0]), torch.tensor([1e8, 2e8]),
        torch.tensor([0.0001, 0.001]), torch.tensor([float("nan"), 1.0]), torch.tensor([float("inf"), -1.5, float("nan")]),
        torch.tensor([float("inf"), float("-inf")]), torch.tensor([1, -20, 300]), torch.tensor([True, False]),
        torch.tensor([[1, 2], [3, 4]], dtype=torch.int32), torch.tensor([1.0, 2.0], dtype=torch.float64),
        torch.tensor([1.0, -2.5], dtype=torch.float16), torch.tensor([[1.0]], dtype=torch.bfloat16),
        torch.zeros(2, 0), torch.zeros(0, 3, dtype=torch.int64), torch.zeros(2, 3, 4), torch.arange(1001),
        torch.arange(24).reshape(2, 3, 4), torch.randn(3, 5, generator=generator), torch.randn(40, 40, generator=generator),
        torch.randn(2, 2, 2, 2, generator=generator), torch.arange(2000.0).reshape(2, 1000), torch.randn(12, generator=generator) * 1e-6,
        torch.randn(30, generator=generator), torch.arange(100), torch.tensor([123456.0, 0.5]), torch.tensor([99999999.0]),
        torch.tensor([1e-38, 1.0]), torch.tensor([-0.0, 0.0]), torch.tensor([0.1, 12345.678]), torch.tensor(1e-10), torch.tensor(1e20),
        torch.tensor([200, 3], dtype=torch.uint8), torch.randn(7, 7, 30, generator=generator) * 100, torch.full((1, 1), 2.0),
        torch.tensor([[1e3, 1e-3], [1.0, 10.0]]), torch.tensor([1000.0, 0.001]), torch.tensor([999.9, 0.01]), torch.tensor([2.0**40]),
    ]
    rows = []
    for tensor in tensors:
        text = str(tensor)
        for dtype, name in sorted(NAMES.items(), key=lambda item: -len(str(item[0]))):
            text = text.replace(str(dtype), name)
        rows.append([NAMES[tensor.dtype], list(tensor.shape), bits(tensor.double()), text])
    return rows


class Program:
    """Random steps on two leaves, x [3, 4] and v [4], in PyTorch; the same steps are run in Swift."""

    def __init__(self, seed: int):
        self.random = random.Random(seed)
        generator = torch.Generator().manual_seed(seed)
        self.x = torch.randn(3, 4, generator=generator, dtype=torch.float64)
        self.v = torch.randn(4, generator=generator, dtype=torch.float64)
        self.start = [bits(self.x), bits(self.v)]
        self.x.requires_grad_()
        self.v.requires_grad_()
        self.steps: list[list] = []

    def candidate(self, count: int) -> list:
        pick = lambda: self.random.randrange(count)
        number = round(self.random.uniform(-2, 2), 2)
        return self.random.choice([
            ["scale", pick(), number], ["multiply", pick(), pick()], ["add", pick(), pick()], ["tanh", pick()],
            ["row", pick(), self.random.randrange(3)], ["columns", pick(), 1, 3], ["transpose", pick()], ["flatten", pick()],
            ["detach", pick()], ["add in place", pick(), pick()], ["scale in place", pick(), number],
            ["multiply in place", pick(), pick()], ["set row", pick(), self.random.randrange(3), pick()],
            ["fill row", pick(), self.random.randrange(3), number],
        ])

    @staticmethod
    def writes(step: list) -> bool:
        return "in place" in step[0] or step[0] in ("set row", "fill row")

    def step(self, values: list[torch.Tensor], step: list) -> None:
        kind, a = step[0], values[step[1]]
        if kind == "scale": values.append(a * step[2])
        elif kind == "multiply": values.append(a * values[step[2]])
        elif kind == "add": values.append(a + values[step[2]])
        elif kind == "tanh": values.append(torch.tanh(a))
        elif kind == "row": values.append(a[step[2]])
        elif kind == "columns": values.append(a.narrow(1, step[2], step[3] - step[2]))
        elif kind == "transpose": values.append(a.t())
        elif kind == "flatten": values.append(a.reshape(-1))
        elif kind == "detach": values.append(a.detach())
        elif kind == "add in place": a += values[step[2]]
        elif kind == "scale in place": a *= step[2]
        elif kind == "multiply in place": a *= values[step[2]]
        elif kind == "set row": a[step[2]] = values[step[3]]
        elif kind == "fill row": a[step[2]] = step[3]

    def run(self) -> dict:
        values = [self.x, self.v, self.x * 2, self.v * 1]
        result = {"start": self.start, "steps": self.steps}
        while len(self.steps) < 9:
            step = self.candidate(len(values))
            # Writing to a leaf is refused: once in a while is enough.
            if self.writes(step) and values[step[1]].is_leaf and self.random.random() < 0.9:
                continue
            # A view of a scalar, or shapes that don't fit, are tried on copies first.
            try:
                with torch.no_grad():
                    self.step([value.clone() for value in values], step)
            except (RuntimeError, IndexError):
                continue
            self.steps.append(step)
            try:
                self.step(values, step)
            except RuntimeError:
                return {**result, "refused": True}
            if values[-1].dim() == 0:
                values.pop()
                self.steps.pop()
        try:
            loss = sum(value.sum() * (number + 1) for number, value in enumerate(values))
            loss.backward()
        except RuntimeError:
            return {**result, "failed": True}
        gradients = [leaf.grad if leaf.grad is not None else torch.zeros_like(leaf) for leaf in (self.x, self.v)]
        return {**result, "loss": bits(loss)[0], "gradients": [bits(gradient) for gradient in gradients]}


if __name__ == "__main__":
    write("promotion", promotion())
    write("elementwise", elementwise())
    write("conversions", conversions())
    write("printing", printing())
    write("programs", [Program(seed).run() for seed in range(300)])
