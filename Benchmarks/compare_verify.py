#!/usr/bin/env python3
"""Times `ckpt-tool verify --level checksums` beside reading the same file from front to back, cold and warm, in turn.

Usage: compare_verify.py [--tool PATH] [--folder FOLDER] [--mib 2048] [--runs 5] [--out VERIFY.md]

Cold means that the page cache was dropped before (as root), so the folder has to be on a disk. The file is read by dd in
pieces of 4 MiB, which is how fast a sequential reader is that does nothing with the bytes.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import tempfile
import time

import numpy


def seconds(command: list[str]) -> float:
    begin = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - begin


def drop_caches() -> None:
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as file:
        file.write("3")


def write_model(path: str, mebibytes: int) -> None:
    """A safetensors file of BF16 tensors of 16 MiB, normal as weights are."""
    count = mebibytes // 16
    size = 16 << 20
    header = json.dumps({
        f"layers.{number}.weight": {
            "dtype": "BF16", "shape": [4096, 2048], "data_offsets": [number * size, (number + 1) * size]}
        for number in range(count)}).encode()
    generator = numpy.random.default_rng(0)
    with open(path, "wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        for _ in range(count):
            weights = generator.standard_normal(size // 2, dtype=numpy.float32) * numpy.float32(0.02)
            file.write((weights.view(numpy.uint32) >> 16).astype(numpy.uint16).tobytes())


def main() -> None:
    here = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tool", default=os.path.join(here, "..", ".build", "release", "ckpt-tool"))
    parser.add_argument("--folder", default=os.path.join(here, ".."))
    parser.add_argument("--mib", type=int, default=2048)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--out", default=os.path.join(here, "VERIFY.md"))
    options = parser.parse_args()
    lines = [
        "# Verifying checksums beside reading the file", "",
        f"`ckpt-tool verify --level checksums` of {options.mib} MiB of BF16 weights, and `dd bs=4M` of the same file, in turn;",
        f"medians of {options.runs} runs. {platform.machine()}, {os.cpu_count()} processors, Linux {platform.release()}.",
        "Written by `compare_verify.py`.", "",
        "| container | page cache | dd, GB/s | verify, GB/s | of it |", "| --- | --- | --- | --- | --- |",
    ]
    with tempfile.TemporaryDirectory(prefix=".build-bench-verify-", dir=options.folder) as folder:
        model = os.path.join(folder, "model.safetensors")
        write_model(model, options.mib)
        for compression in ["none", "fast"]:
            file = os.path.join(folder, f"{compression}.nnck")
            subprocess.run([options.tool, "import", model, "-o", file, "--compression", compression], check=True,
                           stdout=subprocess.DEVNULL)
            read = ["dd", f"if={file}", "of=/dev/null", "bs=4M"]
            verify = [options.tool, "verify", "--level", "checksums", file]
            for cache in ["cold", "warm"]:
                times: dict[str, list[float]] = {"read": [], "verify": []}
                if cache == "warm":
                    seconds(read)
                for _ in range(options.runs):
                    for name, command in [("read", read), ("verify", verify)]:
                        if cache == "cold":
                            drop_caches()
                        times[name].append(seconds(command))
                speeds = [os.path.getsize(file) / statistics.median(times[name]) / 1e9 for name in ["read", "verify"]]
                lines.append(f"| {compression} | {cache} | {speeds[0]:.2f} | {speeds[1]:.2f} | {speeds[1] / speeds[0]:.2f} |")
                print(lines[-1], flush=True)
    with open(options.out, "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
