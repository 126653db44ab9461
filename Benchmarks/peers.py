"""Times what a user would take instead of NNStore, on one state dict, and prints one JSON object a row.

    taskset -c 0 .build-bench-venv/bin/python Benchmarks/peers.py FILE.safetensors --dir SCRATCH
        [--runs 5] [--threads 1] [--only safetensors,torch] [--ops save+fsync,load] [--cold]

A row has peer, op, min_s, median_s, gbps (logical bytes / median / 1e9), logical_bytes, file_bytes and threads. Row
"ratio" has ratio (encoded / logical bytes) instead of times.

    save             ends when the file is closed
    save+fsync       ends when its bytes are on stable storage
    load             ends when every tensor is in fresh memory of this process, each page of it written
    open+one         opens the file and reads its smallest tensor
    list             opens the file and gets name, dtype and shape of every tensor
    encode, decode   memory to memory, without the tensors that ZipNN is not made for (integers, under 64 KiB)

Peers: safetensors, safetensors-pread (its other way to read), safetensors-json (a reader that parses the header alone),
torch, torch-mmap, zipnn, and lmz, which is a program, so that its rows include starting it. A peer that is not
installed is passed over. --ops takes an op's name with or without what stands in parentheses.

Each run begins afresh, and nothing of that is timed: before a save there is no file and nothing is left to be written
to the disk; before a load the memory of the last one went back to the system (the allocator would hand it out again,
and a load into memory that is there already takes half as long as the one load of a real process). Short and
memory-to-memory ops follow each other without a pause, which favours them, and encoded or decoded data is dropped at
once. The first run is not counted. Files are read from the page cache, unless --cold (root only) empties it.
"""

import argparse
import ctypes
import gc
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import safetensors
import torch
from safetensors.torch import load_file, save_file

StateDict = dict[str, torch.Tensor]

FLOATS = {torch.bfloat16: "bfloat16", torch.float16: "float16", torch.float32: "float32"}
SMALLEST_ENCODED = 64 * 1024


def fresh_copy(state: StateDict) -> StateDict:
    """Copies out of a mapping, which writes every page of the copies."""
    return {name: tensor.clone() for name, tensor in state.items()}


def sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def release_memory() -> None:
    """Gives freed memory back to the system, where the C library can (glibc)."""
    gc.collect()
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)


class Bench:
    """One state dict, where to write, what was asked for, and the clock."""

    def __init__(self, arguments: argparse.Namespace):
        self.arguments = arguments
        self.threads: int = arguments.threads
        self.state = fresh_copy(load_file(arguments.file))
        self.logical = sum(tensor.nbytes for tensor in self.state.values())
        self.smallest = min(self.state, key=lambda name: self.state[name].nbytes)
        self.made: set[Path] = set()

    def wants(self, peer: str, op: str | None = None) -> bool:
        only, ops = self.arguments.only, self.arguments.ops
        return (not only or peer in only) and (not ops or op is None or op in ops or op.split(" (")[0] in ops)

    def path(self, name: str) -> Path:
        path = self.arguments.dir / name
        self.made.add(path)
        return path

    def saves(self, peer: str, op: str, save: Callable[[Path], object], path: Path) -> None:
        """Times `save` where nothing stands at `path`."""

        def before() -> None:
            remove(path)
            gc.collect()
            os.sync()

        self.row(peer, op, lambda: save(path), before, file=path)

    def loads(self, peer: str, op: str, load: Callable[[Path], object], save: Callable[[Path], object], path: Path) -> None:
        """Times `load`, or another way to read, of what `save` made, unless it was made for an earlier row."""
        if not self.wants(peer, op):
            return
        if not path.exists():
            save(path)
        os.sync()
        self.row(peer, op, lambda: load(path), release_memory if op == "load" else None, file=path)

    def row(
        self,
        peer: str,
        op: str,
        run: Callable[[], object],
        before: Callable[[], object] | None = None,
        file: Path | None = None,
        logical: int | None = None,
    ) -> None:
        if not self.wants(peer, op):
            return
        times = []
        for _ in range(self.arguments.runs + 1):
            if before:
                before()
            if self.arguments.cold:
                Path("/proc/sys/vm/drop_caches").write_text("3")
            begin = time.perf_counter()
            result = run()
            times.append(time.perf_counter() - begin)
            del result
        times = times[1:]
        median = statistics.median(times)
        logical = self.logical if logical is None else logical
        self.emit(
            peer=peer,
            op=op,
            min_s=round(min(times), 6),
            median_s=round(median, 6),
            gbps=round(logical / median / 1e9, 3),
            logical_bytes=logical,
            file_bytes=file.stat().st_size if file else None,
            threads=self.threads,
        )

    def emit(self, **row: object) -> None:
        print(json.dumps(row), flush=True)

    def clean_up(self) -> None:
        for path in self.made:
            remove(path)


# --- safetensors


def list_with_library(path: Path) -> list:
    """What safe_open offers. Reading the tensors themselves, to ask those, takes five times as long."""
    with safetensors.safe_open(path, "pt") as file:
        return [(name, part.get_dtype(), part.get_shape()) for name in file.keys() for part in (file.get_slice(name),)]


def list_with_json(path: Path) -> list:
    """What a user writes who knows the format: length, then JSON. Checks nothing."""
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return [(name, entry["dtype"], entry["shape"]) for name, entry in header.items() if name != "__metadata__"]


def time_safetensors(bench: Bench) -> None:
    path = bench.path("peer.safetensors")

    def save(path: Path) -> None:
        save_file(bench.state, path)

    def save_and_sync(path: Path) -> None:
        save(path)
        sync_file(path)

    def open_one(path: Path) -> torch.Tensor:
        with safetensors.safe_open(path, "pt") as file:
            return file.get_tensor(bench.smallest).clone()

    bench.saves("safetensors", "save", save, path)
    bench.saves("safetensors", "save+fsync", save_and_sync, path)
    bench.loads("safetensors", "load", lambda path: fresh_copy(load_file(path)), save, path)
    bench.loads("safetensors-pread", "load", lambda path: load_file(path, backend="pread"), save, path)
    bench.loads("safetensors", "open+one", open_one, save, path)
    bench.loads("safetensors", "list", list_with_library, save, path)
    bench.loads("safetensors-json", "list", list_with_json, save, path)


# --- torch


def time_torch(bench: Bench) -> None:
    path = bench.path("peer.pt")

    def save(path: Path) -> None:
        torch.save(bench.state, path)

    def save_and_sync(path: Path) -> None:
        save(path)
        sync_file(path)

    def load(path: Path) -> StateDict:
        return torch.load(path, weights_only=True)

    def map_file(path: Path) -> StateDict:
        return torch.load(path, weights_only=True, mmap=True)

    bench.saves("torch", "save", save, path)
    bench.saves("torch", "save+fsync", save_and_sync, path)
    bench.loads("torch", "load", load, save, path)
    bench.loads("torch-mmap", "load", lambda path: fresh_copy(map_file(path)), save, path)
    bench.loads("torch-mmap", "open+one", lambda path: map_file(path)[bench.smallest].clone(), save, path)


# --- ZipNN


def time_zipnn(bench: Bench) -> None:
    if not any(bench.wants("zipnn", op) for op in ("encode (memory)", "decode (memory)", "ratio")):
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import zipnn
    except ImportError:
        print("zipnn is not installed", file=sys.stderr)
        return
    plain = {
        name: tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes()
        for name, tensor in bench.state.items()
        if tensor.dtype in FLOATS and tensor.nbytes >= SMALLEST_ENCODED
    }
    if not plain:
        return
    logical = sum(map(len, plain.values()))
    coders = {
        dtype: zipnn.ZipNN(method="HUFFMAN", bytearray_dtype=word, input_format="byte", threads=bench.threads)
        for dtype, word in FLOATS.items()
    }
    coder = {name: coders[bench.state[name].dtype] for name in plain}

    def packed(name: str) -> bytes:
        # ZipNN reorders the bits of a bytearray in place, and what it makes from bytes it does not decode to the same
        # bytes. So who needs the tensors afterwards copies them.
        return coder[name].compress(bytearray(plain[name]))

    encoded = {name: packed(name) for name in plain}
    for name, data in encoded.items():
        if bytes(coder[name].decompress(data)) != plain[name]:
            print(f"zipnn: {name} did not come back the same", file=sys.stderr)
            return

    def encode() -> None:
        for name in plain:
            packed(name)

    def decode() -> None:
        for name, data in encoded.items():
            coder[name].decompress(data)

    bench.row("zipnn", "encode (memory)", encode, logical=logical)
    bench.row("zipnn", "decode (memory)", decode, logical=logical)
    if bench.wants("zipnn", "ratio"):
        size = sum(map(len, encoded.values()))
        bench.emit(
            peer="zipnn",
            op="ratio",
            ratio=round(size / logical, 4),
            logical_bytes=logical,
            file_bytes=size,
            threads=bench.threads,
        )


# --- lmz


def time_lmz(bench: Bench) -> None:
    program = Path(sys.executable).parent / "lmz"
    if not any(bench.wants("lmz", op) for op in ("save (process)", "load (process)", "ratio")):
        return
    if not program.exists():
        print("lmz is not installed", file=sys.stderr)
        return
    source, packed, back = bench.path("peer.lmz-source.safetensors"), bench.path("peer.lmz"), bench.path("peer.lmz-back")
    save_file(bench.state, source)

    def lmz(command: str, origin: Path, destination: Path) -> None:
        words = [program, command, "--force", "--quiet", "--threads", str(bench.threads), origin, destination]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)

    def compress(path: Path) -> None:
        lmz("compress", source, path)

    bench.saves("lmz", "save (process)", compress, packed)
    if not packed.exists():
        compress(packed)
    bench.row("lmz", "load (process)", lambda: lmz("decompress", packed, back), before=lambda: remove(back), file=packed)
    if bench.wants("lmz", "ratio"):
        size = packed.stat().st_size
        bench.emit(
            peer="lmz",
            op="ratio",
            ratio=round(size / bench.logical, 4),
            logical_bytes=bench.logical,
            file_bytes=size,
            threads=bench.threads,
        )


# --- The command


def names(text: str) -> set[str]:
    return {word.strip() for word in text.split(",") if word.strip()}


def main() -> None:
    parser = argparse.ArgumentParser(description="Times what a user would take instead of NNStore.")
    parser.add_argument("file", type=Path, help="a state dict, as safetensors")
    parser.add_argument("--dir", type=Path, required=True, help="folder for the files that are written")
    parser.add_argument("--runs", type=int, default=5, help="timed runs of each row, after one that is dropped")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", type=names, default=set(), metavar="PEER,...")
    parser.add_argument("--ops", type=names, default=set(), metavar="OP,...")
    parser.add_argument("--cold", action="store_true", help="empty the page cache before each run")
    arguments = parser.parse_args()

    torch.set_num_threads(arguments.threads)
    bench = Bench(arguments)
    arguments.dir.mkdir(parents=True, exist_ok=True)
    try:
        for time_peer in (time_safetensors, time_torch, time_zipnn, time_lmz):
            time_peer(bench)
    finally:
        bench.clean_up()


if __name__ == "__main__":
    main()
