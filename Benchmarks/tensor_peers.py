"""Times what NNTensor is held against, and prints a row of JSON for each operation, in the shape of nntensor-bench.

    python tensor_peers.py numpy --runs 15 --threads 1     # with Debian's python3: the same OpenBLAS as ours
    python tensor_peers.py torch --runs 15 --threads 1     # with the benchmark's own environment

The numbers of threads are set before the libraries are loaded, because they look only then.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable

MIB = 1 << 20
COUNT = 64 * MIB // 4


def measure(peer: str, op: str, runs: int, threads: int, body: Callable[[], object], size: int = 0, flops: int = 0) -> None:
    for _ in range(3):
        body()
    start = time.perf_counter()
    body()
    once = time.perf_counter() - start
    # Small ones several times, so that a run takes milliseconds.
    repetitions = max(1, int(0.005 / max(once, 1e-9))) if once < 0.005 else 1
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        for _ in range(repetitions):
            body()
        times.append((time.perf_counter() - start) / repetitions)
    row = {"peer": peer, "op": op, "threads": threads, "median_s": statistics.median(times), "min_s": min(times)}
    print(json.dumps({**row, "bytes": size, "flops": flops}), flush=True)


def time_numpy(runs: int, threads: int) -> None:
    import numpy

    rng = numpy.random.default_rng(0)
    a, b = (rng.standard_normal((1024, 1024), dtype=numpy.float32) for _ in range(2))
    measure("numpy", "matmul 1024", runs, threads, lambda: a @ b, flops=2 << 30)
    x, y = (rng.standard_normal(COUNT, dtype=numpy.float32) for _ in range(2))
    out = numpy.empty_like(x)
    # What memory can do: every byte read once and written once, by the C library.
    measure("numpy", "copy 64 MiB", runs, threads, lambda: numpy.copyto(out, x), size=8 * COUNT)
    measure("numpy", "add 64 MiB", runs, threads, lambda: x + y, size=12 * COUNT)
    measure("numpy", "add 64 MiB in place", runs, threads, lambda: numpy.add(x, y, out=x), size=12 * COUNT)
    measure("numpy", "relu 64 MiB", runs, threads, lambda: numpy.maximum(x, 0), size=8 * COUNT)
    measure("numpy", "sum 64 MiB", runs, threads, lambda: x.sum(), size=4 * COUNT)


def time_torch(runs: int, threads: int) -> None:
    import torch
    from torch import nn

    torch.set_num_threads(threads)
    a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
    measure("torch", "matmul 1024", runs, threads, lambda: a @ b, flops=2 << 30)
    x, y = torch.randn(COUNT), torch.randn(COUNT)
    measure("torch", "add 64 MiB", runs, threads, lambda: x + y, size=12 * COUNT)
    measure("torch", "add 64 MiB in place", runs, threads, lambda: x.add_(y), size=12 * COUNT)
    measure("torch", "relu 64 MiB", runs, threads, lambda: torch.relu(x), size=8 * COUNT)
    measure("torch", "sum 64 MiB", runs, threads, lambda: x.sum(), size=4 * COUNT)

    net = nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10))
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)
    batch, classes = torch.randn(128, 784), torch.randint(0, 10, (128,))

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(batch), classes).backward()
        optimizer.step()

    measure("torch", "MLP step", runs, threads, step)

    def small() -> torch.Tensor:
        z = torch.ones(10)
        for _ in range(1000):
            z = z + 1
        return z

    measure("torch", "small add", runs, threads, small)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("peer", choices=["numpy", "torch"])
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(arguments.threads)
    {"numpy": time_numpy, "torch": time_torch}[arguments.peer](arguments.runs, arguments.threads)


if __name__ == "__main__":
    main()
