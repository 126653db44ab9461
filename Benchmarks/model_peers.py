"""Times what users take to save and load a model, and prints one JSON object for each operation.

    python model_peers.py torch save --dtype BF16 --runs 3 --folder SCRATCH

The model is a gibibyte of square matrices with normal values of deviation 0.02.

    save+fsync    ends when the bytes are on stable storage; there is no file before
    load          ends when the parameters of a model that is there have the file's values (warm page cache)

Each row has the median time and the most memory that the operation took beside the model: the peak of resident memory less
that before. Pages of mapped files count as resident.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

DTYPES = {"F32": torch.float32, "BF16": torch.bfloat16}


def make_model(dtype: torch.dtype) -> torch.nn.Module:
    count = (1 << 30) // (2048 * 2048 * dtype.itemsize)
    model = torch.nn.Sequential(*[torch.nn.Linear(2048, 2048, bias=False, dtype=dtype, device="meta") for _ in range(count)])
    model = model.to_empty(device="cpu")
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    return model


def status(name: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int("".join(filter(str.isdigit, line))) << 10


def sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def measure(peer: str, op: str, runs: int, body: Callable[[], object], before: Callable[[], object]) -> None:
    times, peak = [], 0
    for _ in range(runs + 1):
        before()
        Path("/proc/self/clear_refs").write_text("5")
        start = status("VmRSS")
        begin = time.perf_counter()
        body()
        times.append(time.perf_counter() - begin)
        peak = max(peak, status("VmHWM") - start)
    print(json.dumps({"peer": peer, "op": op, "median_s": statistics.median(times[1:]), "peak_extra_bytes": peak}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("peer", choices=["torch", "torch-mmap", "safetensors"])
    parser.add_argument("operation", choices=["save", "load"])
    parser.add_argument("--dtype", choices=DTYPES, default="F32")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path("."))
    arguments = parser.parse_args()
    model = make_model(DTYPES[arguments.dtype])
    path = arguments.folder / f"model.{arguments.peer}"

    def save() -> None:
        if arguments.peer == "safetensors":
            save_file(model.state_dict(), path)
        else:
            torch.save(model.state_dict(), path)
        sync_file(path)

    def load() -> None:
        if arguments.peer == "safetensors":
            model.load_state_dict(load_file(path))
        else:
            model.load_state_dict(torch.load(path, mmap=arguments.peer == "torch-mmap", weights_only=True))

    def before_saving() -> None:
        path.unlink(missing_ok=True)
        os.sync()

    if arguments.operation == "save":
        measure(arguments.peer, "save+fsync", arguments.runs, save, before_saving)
    else:
        save()
        measure(arguments.peer, "load", arguments.runs, load, lambda: None)
    path.unlink()


if __name__ == "__main__":
    main()
