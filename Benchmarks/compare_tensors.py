"""Holds NNTensor against NumPy, PyTorch and memory's bandwidth, and writes the table to Benchmarks/TENSORS.md.

    .build-bench-venv/bin/python Benchmarks/compare_tensors.py [--rounds 3] [--runs 15]

Our program and tensor_peers.py run in turn on one core with one thread each, on an otherwise idle machine. NumPy is Debian's
(/usr/bin/python3), which calculates with the same OpenBLAS; PyTorch is that of the benchmark's environment. A ratio is the
peer's median time divided by ours: above 1, ours is faster. The table has the median of the rounds, and the lowest and highest
round in brackets.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Row:
    op: str
    peer: str
    target: float | None = None
    peer_op: str | None = None  # where it has another name; rates are compared then, bytes per second


ROWS = [
    Row("matmul 1024", "numpy", 0.9),
    Row("matmul 1024", "torch"),
    Row("add 64 MiB", "numpy", 0.7, "copy 64 MiB"),
    Row("relu 64 MiB", "numpy", 0.7, "copy 64 MiB"),
    Row("add 64 MiB", "numpy"),
    Row("add 64 MiB", "torch"),
    Row("add 64 MiB in place", "numpy"),
    Row("add 64 MiB in place", "torch"),
    Row("relu 64 MiB", "numpy"),
    Row("relu 64 MiB", "torch"),
    Row("sum 64 MiB", "numpy"),
    Row("sum 64 MiB", "torch"),
    Row("MLP step", "torch", 1.0),
    Row("small add", "torch"),
]

WORDS = {
    "matmul 1024": "product of two 1024 × 1024 matrices",
    "add 64 MiB": "x + y of 64 MiB each",
    "add 64 MiB in place": "x += y of 64 MiB each",
    "relu 64 MiB": "relu(x) of 64 MiB",
    "sum 64 MiB": "x.sum() of 64 MiB",
    "MLP step": "a training step of an MLP 784-512-512-10, batch 128, SGD",
    "small add": "1,000 times z + 1 of ten elements",
}


def run(command: list[str]) -> dict[tuple[str, str], dict]:
    done = subprocess.run(["taskset", "-c", "0", *command], capture_output=True, text=True, timeout=900)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed with exit code {done.returncode}:\n{done.stderr}")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    return {(row["peer"], row["op"]): row for row in rows}


def ratio(row: Row, found: dict[tuple[str, str], dict]) -> float:
    ours, theirs = found["nntensor", row.op], found[row.peer, row.peer_op or row.op]
    if row.peer_op:
        return (ours["bytes"] / ours["median_s"]) / (theirs["bytes"] / theirs["median_s"])
    return theirs["median_s"] / ours["median_s"]


def value(row: dict) -> str:
    text = f"{row['median_s'] * 1e3:.2f} ms"
    if row["flops"]:
        return f"{text}, {row['flops'] / row['median_s'] / 1e9:.0f} GF/s"
    return f"{text}, {row['bytes'] / row['median_s'] / 1e9:.1f} GB/s" if row["bytes"] else text


def table(rounds: list[dict[tuple[str, str], dict]]) -> list[str]:
    lines = ["| what | NNTensor | peer | its value | ratio | target |  |", "| --- | ---: | --- | ---: | ---: | ---: | --- |"]
    for row in ROWS:
        ratios = sorted(ratio(row, found) for found in rounds)
        median = statistics.median(ratios)
        last = rounds[-1]
        verdict = "" if row.target is None else "reached" if median >= row.target else "**MISSED**"
        peer = "memory (a copy of 64 MiB)" if row.peer_op else row.peer
        cells = [
            WORDS[row.op], value(last["nntensor", row.op]), peer, value(last[row.peer, row.peer_op or row.op]),
            f"{median:.2f} [{ratios[0]:.2f}, {ratios[-1]:.2f}]", f"≥ {row.target:g}" if row.target else "", verdict,
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return platform.processor()


def version(python: str, module: str) -> str:
    return subprocess.run([python, "-c", f"import {module}; print({module}.__version__)"], capture_output=True, text=True).stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", default=str(HERE / ".build/release/nntensor-bench"))
    parser.add_argument("--numpy-python", default="/usr/bin/python3")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--runs", type=int, default=15)
    arguments = parser.parse_args()
    peers = str(HERE / "tensor_peers.py")
    rounds = []
    for _ in range(arguments.rounds):
        found = run([arguments.program, "--runs", str(arguments.runs)])
        found |= run([arguments.numpy_python, peers, "numpy", "--runs", str(arguments.runs)])
        found |= run([sys.executable, peers, "torch", "--runs", str(arguments.runs)])
        rounds.append(found)
    lines = [
        "# Tensor benchmark results",
        "",
        "Written by `compare_tensors.py`, which says how it measures. One core, one thread each. A ratio is the peer's median "
        "time divided by ours, against memory that of the bytes read and written in a second: above 1, ours is faster. "
        f"{arguments.rounds} rounds in turn of {arguments.runs} runs; the lowest and the highest round stand in brackets, times are "
        "those of the last round.",
        "",
        *table(rounds),
        "",
        f"Machine: {processor()}, {platform.system()} {platform.release()}. NumPy {version(arguments.numpy_python, 'numpy')} "
        f"(Debian, OpenBLAS), PyTorch {version(sys.executable, 'torch')}.",
        "",
    ]
    (HERE / "TENSORS.md").write_text("\n".join(lines))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
