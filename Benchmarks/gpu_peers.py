"""Times what users would load weights to a GPU and calculate with: safetensors and PyTorch. Runs where both are, beside
gpu-check (scripts/bundle-gpu-check). Prints one JSON object a line."""

import argparse
import gc
import json
import os
import statistics
import time

import safetensors
import safetensors.torch
import torch


def weights(byte_count):
    """The same shapes and about the same values as gpu-check's."""
    width = 2048
    layer = (4 * width * width + 3 * width * 4 * width + 2 * width) * 2
    state = {}

    def add(name, *shape):
        state[name] = (torch.randn(shape, device="cuda") * 0.02).to(torch.bfloat16).cpu()

    for number in range(max(1, byte_count // layer)):
        prefix = f"layers.{number}."
        for name in ("query", "key", "value", "output"):
            add(f"{prefix}attention.{name}.weight", width, width)
        for name in ("gate", "up"):
            add(f"{prefix}feed.{name}.weight", 4 * width, width)
        add(f"{prefix}feed.down.weight", width, 4 * width)
        for name in ("norm1", "norm2"):
            add(f"{prefix}{name}.weight", width)
    return state


def measure(name, byte_count, rounds, body):
    times = []
    for _ in range(rounds + 1):
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.synchronize()
        begin = time.perf_counter()
        result = body()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - begin)
        del result
    # The first round is warm-up.
    seconds = statistics.median(times[1:])
    print(json.dumps({"phase": "peer", "name": name, "bytes": byte_count, "seconds": round(seconds, 4),
                      "gb_s": round(byte_count / seconds / 1e9, 3)}), flush=True)


def operations():
    """The operations of gpu-check's phase speed, by PyTorch."""
    x, y = torch.randn(64 << 20, device="cuda"), torch.randn(64 << 20, device="cuda")
    matrix, square = x.view(8192, 8192), x[:4096 * 4096].view(4096, 4096)
    words, attention = x[:1024 * 50257].view(1024, 50257), x.view(-1, 256)

    def seconds(body):
        for _ in range(3):
            body()
        torch.cuda.synchronize()
        begin = time.perf_counter()
        for _ in range(20):
            body()
        torch.cuda.synchronize()
        return (time.perf_counter() - begin) / 20

    def show(name, unit, value):
        print(json.dumps({"phase": "peer speed", "operation": name, unit: round(value, 3)}), flush=True)

    for name, byte_count, body in [
            ("add", 12 * x.numel(), lambda: x + y),
            ("exp", 8 * x.numel(), lambda: x.exp()),
            ("copy of a transposed matrix", 8 * x.numel(), lambda: matrix.T.contiguous()),
            ("sum of all", 4 * x.numel(), lambda: x.sum()),
            ("sum of rows", 4 * x.numel(), lambda: matrix.sum(1)),
            ("sum of columns", 4 * x.numel(), lambda: matrix.sum(0)),
            ("softmax", 8 * x.numel(), lambda: matrix.softmax(1)),
            ("logSoftmax of 1,024 long rows", 8 * words.numel(), lambda: words.log_softmax(1)),
            ("softmax of short rows", 8 * x.numel(), lambda: attention.softmax(1))]:
        show(name, "gb_s", byte_count / seconds(body) / 1e9)
    show("matmul", "tflop_s", 2 * 4096 ** 3 / seconds(lambda: square @ square) / 1e12)
    table = torch.nn.Parameter(torch.randn(50257, 768, device="cuda"))
    indices = torch.randint(0, 50257, (8192,), device="cuda")

    def embed():
        table.grad = None
        torch.nn.functional.embedding(indices, table).sum().backward()

    show("embedding, forward and backward", "milliseconds", seconds(embed) * 1e3)
    net = torch.nn.Sequential(
        torch.nn.Linear(1024, 4096), torch.nn.ReLU(), torch.nn.Linear(4096, 4096), torch.nn.ReLU(),
        torch.nn.Linear(4096, 1024)).cuda()
    optimizer = torch.optim.AdamW(net.parameters())
    batch = torch.randn(512, 1024, device="cuda")

    def step():
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(net(batch), batch).backward()
        optimizer.step()

    show("training step, 25 million parameters", "milliseconds", seconds(step) * 1e3)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", default="/tmp")
    parser.add_argument("--bytes", type=int, default=4 << 30)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    operations()
    torch.cuda.empty_cache()
    state = weights(options.bytes)
    size = sum(t.numel() * t.element_size() for t in state.values())
    print(json.dumps({"phase": "peers", "torch": torch.__version__, "safetensors": safetensors.__version__,
                      "gpu": torch.cuda.get_device_name(0)}), flush=True)
    safe = os.path.join(options.folder, "gpu-peer.safetensors")
    plain = os.path.join(options.folder, "gpu-peer.pt")

    def save_safe(tensors=state):
        safetensors.torch.save_file(tensors, safe)

    def save_plain(tensors=state):
        torch.save(tensors, plain)

    try:
        save_safe()
        save_plain()
        measure("safetensors load_file(device=cuda)", size, options.rounds,
                lambda: safetensors.torch.load_file(safe, device="cuda:0"))
        measure("torch.load(map_location=cuda)", size, options.rounds,
                lambda: torch.load(plain, map_location="cuda:0", weights_only=True))
        measure("torch.load(mmap, map_location=cuda)", size, options.rounds,
                lambda: torch.load(plain, map_location="cuda:0", weights_only=True, mmap=True))
        host = torch.empty(1 << 30, dtype=torch.uint8, pin_memory=True)
        device = torch.empty(1 << 30, dtype=torch.uint8, device="cuda")
        measure("torch pinned copy to the device", 1 << 30, options.rounds,
                lambda: device.copy_(host, non_blocking=True))
        on_device = {name: tensor.cuda() for name, tensor in state.items()}
        measure("safetensors save_file from cuda, not synced", size, options.rounds, lambda: save_safe(on_device))
        measure("torch.save from cuda, not synced", size, options.rounds, lambda: save_plain(on_device))
    finally:
        for path in (safe, plain):
            if os.path.exists(path):
                os.remove(path)


main()
