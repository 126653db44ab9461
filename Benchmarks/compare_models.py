"""Holds saving and loading of a model with NNTensor against PyTorch and safetensors, and writes Benchmarks/MODELS.md.

    .build-bench-venv/bin/python Benchmarks/compare_models.py [--rounds 3] [--runs 3] [--dir .build-bench-models]

Each operation is a process of its own, on two cores, in turn with its peers; model_peers.py says what the operations are. A
ratio is the peer's median time divided by ours: above 1, ours is faster. The table has the median of the rounds, and the lowest
and highest round in brackets.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
from pathlib import Path

from compare_tensors import processor, version

HERE = Path(__file__).resolve().parent
PEERS = {"save+fsync": ["safetensors", "torch"], "load": ["safetensors", "torch", "torch-mmap"]}


def run(*command: str) -> dict[str, dict]:
    done = subprocess.run(["taskset", "-c", "0,1", *command], capture_output=True, text=True, timeout=900)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed with exit code {done.returncode}:\n{done.stderr}")
    return {row["op"]: row for row in map(json.loads, done.stdout.splitlines())}


def ms(row: dict) -> str:
    return f"{row['median_s'] * 1e3:.0f} ms"


def mib(row: dict) -> str:
    return f"{row['peak_extra_bytes'] / (1 << 20):,.0f} MiB"


def spread(values: list[float], form: str) -> str:
    ordered = sorted(values)
    return f"{statistics.median(ordered):{form}} [{ordered[0]:{form}}, {ordered[-1]:{form}}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", default=str(HERE / ".build/release/model-bench"))
    parser.add_argument("--dir", type=Path, default=HERE.parent / ".build-bench-models")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    arguments.dir.mkdir(exist_ok=True)
    options = ["--runs", str(arguments.runs), "--folder", str(arguments.dir)]
    lines = [
        "# Saving and loading a model of 1 GiB",
        "",
        f"Written by `compare_models.py`, which says how it measures. Two cores, {arguments.rounds} rounds in turn of "
        f"{arguments.runs} runs, each after a warm-up; the lowest and the highest round stand in brackets, times and memory are "
        "those of the last round. Memory is what the operation takes beside the model.",
        "",
        "| model | what | NNTensor | memory | peer | its time | its memory | ratio |",
        "| --- | --- | ---: | ---: | --- | ---: | ---: | ---: |",
    ]
    stops = []
    for dtype in ["F32", "BF16"]:
        rounds: list[dict[tuple[str, str], dict]] = []
        for _ in range(arguments.rounds):
            found: dict[tuple[str, str], dict] = {}
            for operation, op in [("save", "save+fsync"), ("load", "load")]:
                found["nntensor", op] = run(arguments.program, operation, "--dtype", dtype, *options)[op]
                for peer in PEERS[op]:
                    script = str(HERE / "model_peers.py")
                    found[peer, op] = run(sys.executable, script, peer, operation, "--dtype", dtype, *options)[op]
            for op, row in run(arguments.program, "async", "--dtype", dtype, *options).items():
                found["nntensor", op] = row
            rounds.append(found)
        last = rounds[-1]
        for op, peers in PEERS.items():
            for peer in peers:
                ratios = [found[peer, op]["median_s"] / found["nntensor", op]["median_s"] for found in rounds]
                ours, theirs = last["nntensor", op], last[peer, op]
                cells = [dtype, op, ms(ours), mib(ours), peer, ms(theirs), mib(theirs), spread(ratios, ".2f")]
                lines.append("| " + " | ".join(cells) + " |")
        for op in ["stop, first", "stop"]:
            times = [found["nntensor", op]["median_s"] * 1e3 for found in rounds]
            saves = [found["nntensor", "save+fsync"]["median_s"] / found["nntensor", op]["median_s"] for found in rounds]
            row = last["nntensor", op]
            what = "first `saveAsync`" if "first" in op else "each later one"
            stops.append(f"| {dtype} | {what} | {spread(times, '.0f')} ms | {spread(saves, '.1f')} | {mib(row)} |")
    lines += [
        "",
        "How long `saveAsync` stops the training, and how many times as long a `save` of the same model does, in the same round. "
        "The first one makes the memory for the snapshot, which the later ones use again.",
        "",
        "| model | what | stops for | `save` stops for × | memory |",
        "| --- | --- | ---: | ---: | ---: |",
        *stops,
        "",
        f"Machine: {processor()}, {platform.system()} {platform.release()}. PyTorch {version(sys.executable, 'torch')}, "
        f"safetensors {version(sys.executable, 'safetensors')}.",
        "",
    ]
    (HERE / "MODELS.md").write_text("\n".join(lines))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
